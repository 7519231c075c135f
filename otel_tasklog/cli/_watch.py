"""Several processes followed at once, those too that begin meanwhile.

A thread reads each of them and one looks for new ones; whoever asks for the records
does all else. The threads wait when nobody asks, and then the processes count what is
missed, as for any slow reader.
"""

from __future__ import annotations

import queue
import threading
from itertools import chain
from typing import TYPE_CHECKING, Final

import click  # noqa: TID253 - see _commands

from otel_tasklog._errors import TaskLogError
from otel_tasklog.cli._ask_all import ask_all
from otel_tasklog.cli._choose import Chosen
from otel_tasklog.cli._client import ANSWER_SECONDS
from otel_tasklog.cli._failures import Unreachable, complain
from otel_tasklog.cli._merge import WINDOW_SECONDS, Reorder
from otel_tasklog.cli._peer_source import PeerSource, PeerTail

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from otel_tasklog.cli._client import Peer
    from otel_tasklog.cli._source import Entry
    from otel_tasklog.store._query import Query
    from otel_tasklog.viewer._places import Place

__all__ = ["Watch"]

LOOK_SECONDS: Final = 1.0
"""How often it is looked for new processes."""

NAP_SECONDS: Final = 1.0
"""So long a wait for records may be: until its end a signal may not be heard."""

WAITING_RECORDS: Final = 1_000
"""So many may have been read that nobody has asked for yet."""


class Watch:
    """Follows the processes that were chosen, and those that come in their place.

    A process that begins is followed if it is one of those chosen, or of the service of
    one that has ended; one of those chosen that is there now, and does not answer yet,
    when it does. Others that are there now are left alone.

    Args:
        chosen: The processes.
        query: Which records.

    Attributes:
        several: Whether there has been more than one process.
    """

    def __init__(self, chosen: Chosen, query: Query) -> None:
        self._chosen = chosen
        self._query = query
        self._came: queue.Queue[Entry] = queue.Queue(WAITING_RECORDS)
        self._late = {*chosen.places()}
        self._known = self._places() - self._late
        self._ended_services: set[str] = set()
        self._told = ""
        self._closed = threading.Event()
        self.several = False

    def start(self, tails: Iterable[PeerTail]) -> None:
        """Follow these, and look for others from now on."""
        tails = [*tails]
        # Their threads go on when the command ends, and must not find them closed.
        self._chosen.release({tail.source.peer for tail in tails})
        for number, tail in enumerate(tails):
            self.several = number > 0
            self._follow(tail)
        threading.Thread(target=self._look_out, name="look-out", daemon=True).start()

    def entries(self, reorder: Reorder) -> Iterator[Entry | None]:
        """Yield records as they come, by time; None where more is waited for.

        Args:
            reorder: Brings them into the order of time.
        """
        while True:
            reorder.window_seconds = WINDOW_SECONDS if self.several else 0.0
            wait = reorder.wait_seconds()
            try:
                reorder.add(
                    self._came.get(timeout=NAP_SECONDS if wait is None else wait)
                )
                for _ in range(self._came.qsize()):
                    reorder.add(self._came.get_nowait())
            except queue.Empty:
                pass
            yield from reorder.due()
            yield None

    def look(self) -> None:
        """Follow the processes that have begun since the last look."""
        try:
            places = self._places()
            own = {*self._chosen.places()}
        except Unreachable as failure:
            self._tell(failure.message)
            return
        new = places - self._known
        self._known &= places
        self._late &= new  # a file of the same name may be the next one's
        for place, peer in ask_all(new, ANSWER_SECONDS):
            if isinstance(peer, Unreachable):
                continue  # it may be about to begin: the next look tells
            self._known.add(place)
            chosen = place in own and self._chosen.takes(peer)
            if chosen or peer.info.service_name in self._ended_services:
                self._join(peer, late=place in self._late)
            else:
                peer.close()

    def _join(self, peer: Peer, *, late: bool) -> None:
        try:
            tail = PeerTail(PeerSource(peer), self._query)
        except Unreachable as failure:
            peer.close()
            complain(failure.message)
            return
        complain(
            f"{peer.name} {'answers now' if late else 'is followed from its start on'}"
        )
        self.several = True
        self._follow(tail, backlog=late)

    def close(self) -> None:
        """Look for others no more."""
        self._closed.set()

    def _look_out(self) -> None:
        while not self._closed.wait(LOOK_SECONDS):
            self.look()

    def _places(self) -> set[Place]:
        return {*self._chosen.places(), *Chosen().places()}

    def _tell(self, text: str) -> None:
        if text != self._told:
            self._told = text
            complain(text)

    def _follow(self, tail: PeerTail, *, backlog: bool = False) -> None:
        place = tail.source.peer.place
        if place is not None:
            self._known.add(place)
        name = f"tail of {tail.source.name}"
        threading.Thread(
            target=self._read, args=(tail, place, backlog), name=name, daemon=True
        ).start()

    def _read(self, tail: PeerTail, place: Place | None, backlog: bool) -> None:  # noqa: FBT001
        try:
            for entry in chain(tail.backlog() if backlog else (), tail.follow()):
                self._came.put(entry)
        except (click.ClickException, TaskLogError) as failure:
            complain(f"{tail.source.name}: {failure}")
        else:
            complain(f"{tail.source.name} has ended")
        finally:
            tail.source.peer.close()
        self._ended_services.add(tail.source.peer.info.service_name)
        # The next one may have a file of the same name, as in containers.
        if place is not None:
            self._known.discard(place)
