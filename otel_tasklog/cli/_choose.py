"""Which processes a command asks: ``--pid``, ``--service`` and ``--socket``."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click  # noqa: TID253 - see _commands

from otel_tasklog._errors import TaskLogError
from otel_tasklog._text import visible
from otel_tasklog.cli._ask_all import Answer, ask_all, no_place, no_service, nobody
from otel_tasklog.cli._background import begin
from otel_tasklog.cli._client import ANSWER_SECONDS, Peer
from otel_tasklog.cli._failures import FAILED, Failure, Unreachable, complain
from otel_tasklog.viewer._places import Place, find_places, forget, is_running

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from click.shell_completion import CompletionItem

    from otel_tasklog.cli._client import ProcessInfo

__all__ = ["Answer", "Chosen", "choosing"]


COMPLETION_SECONDS: Final = 0.5
"""Somebody waits, with a finger on the Tab key."""

_PID: Final = re.compile(r"([0-9]{1,10})-", re.ASCII)

T = TypeVar("T")


class Chosen:
    """The processes that the options choose; all of this user's if they choose none.

    Args:
        pids: Of ``--pid``.
        services: Of ``--service``.
        sockets: Of ``--socket``.

    Attributes:
        failed: Whether one of them could not be asked. The command then ends with
            status 1, whatever it did with the others.
    """

    def __init__(
        self,
        pids: Collection[int] = (),
        services: Collection[str] = (),
        sockets: Iterable[Path] = (),
    ) -> None:
        self._pids = frozenset(pids)
        self._services = frozenset(services)
        self._sockets = {path: Place(_pid_in(path.name), path) for path in sockets}
        self._opened: list[Peer] = []
        self.failed = False

    def only_services(self, option: str) -> frozenset[str]:
        """Return the services, for a command that asks no processes.

        Args:
            option: The option that says so.

        Raises:
            click.UsageError: Processes were chosen in another way.
        """
        if self._pids or self._sockets:
            raise click.UsageError(f"--pid and --socket do not go with {option}")
        return self._services

    def places(self) -> list[Place]:
        """Return the access points that there are now, dead ones' too.

        With ``--service`` a process has to be asked whether it is meant; see `takes`.

        Raises:
            Unreachable: The directory is not to be trusted, or cannot be read.
        """
        sockets = [*self._sockets.values()]
        if sockets and not self._pids and not self._services:
            return sockets
        try:
            found = find_places(os.environ)
        except OSError as error:
            raise Unreachable(str(error), state="refused") from None
        if self._pids and not self._services:
            found = [place for place in found if place.pid in self._pids]
        return [*{place.path: place for place in [*found, *sockets]}.values()]

    def takes(self, peer: Peer) -> bool:
        """Return whether a process is one of those chosen, now that it says who it is.

        Args:
            peer: One at a place that `places` returned.
        """
        if not self._services or peer.info.service_name in self._services:
            return True
        place = peer.place
        return place is not None and (
            place.pid in self._pids or place.path in self._sockets
        )

    def answers(self, seconds: float = ANSWER_SECONDS) -> list[Answer]:
        """Ask all of them at once who they are; return what becomes of each.

        There is at least one answer. The file of a process that is dead is removed,
        unless somebody named it.

        Args:
            seconds: How long to wait, for all together.

        Raises:
            Unreachable: As for `places`.
        """
        asked = [
            (place, answer)
            for place, answer in ask_all(self.places(), seconds)
            if isinstance(answer, Peer) or not self._forgets(place, answer)
        ]
        self._opened += [answer for _, answer in asked if isinstance(answer, Peer)]
        answers: list[Answer] = [
            (place, answer)
            for place, answer in asked
            if isinstance(answer, Unreachable) or self.takes(answer)
        ]
        answers += [(None, each) for each in self._missing(asked)]
        return answers or [(None, nobody())]

    def report(self, answers: Iterable[Answer]) -> list[Peer]:
        """Print a line on stderr for each that cannot be asked; return the others.

        Args:
            answers: What `answers` returned.

        Raises:
            Unreachable: There are no others.
        """
        peers: list[Peer] = []
        failures: list[Failure] = []
        for _, answer in answers:
            if isinstance(answer, Peer):
                peers.append(answer)
            else:
                failures.append(answer)
        self.go_on_after(failures, nothing_left=not peers)
        return peers

    def peers(self) -> list[Peer]:
        """Ask all of them at once who they are; return those that answer.

        For each that does not, there is a line on stderr.

        Raises:
            Unreachable: None answers.
        """
        return self.report(self.answers())

    def ask(self, path: str, **parameters: object) -> list[tuple[Peer, Any]]:
        """Ask all of them at once the same; return what each answers that does.

        For each that does not, there is a line on stderr. All are hung up on.

        Args:
            path: As for `Peer.get`.
            **parameters: Likewise.

        Raises:
            QueryError: The text of the query, ``q``, means nothing.
            Failure: All refuse something else that was asked for.
            Unreachable: None answers.
        """
        return self.each(lambda peer: peer.get(path, **parameters))

    def each(self, ask: Callable[[Peer], T]) -> list[tuple[Peer, T]]:
        """Likewise, if more is to be done for each than to ask once.

        Args:
            ask: Asks one, on a thread of its own. A `Failure` that it raises concerns
                this one alone.
        """
        begun = [(peer, begin(partial(ask, peer))) for peer in self.peers()]
        answered: list[tuple[Peer, T]] = []
        failures: list[Failure] = []
        for peer, answer in begun:
            try:
                answered.append((peer, answer.result()))
            except Failure as failure:
                failures.append(failure)
        self.close()
        self.go_on_after(failures, nothing_left=not answered)
        return answered

    def go_on_after(self, failures: list[Failure], *, nothing_left: bool) -> None:
        """Print a line on stderr for each; raise the last if that is all there is."""
        last = failures.pop() if failures and nothing_left else None
        for failure in failures:
            self.note(failure)
        if last is not None:
            raise last

    def note(self, failure: click.ClickException) -> None:
        """Print a line on stderr for a failure that the command goes on after."""
        self.failed = True
        complain(failure.format_message())

    def release(self, peers: Collection[Peer]) -> None:
        """Leave some to who goes on asking them: `close` does not hang up on these."""
        self._opened = [each for each in self._opened if each not in peers]

    def close(self) -> None:
        """Hang up on all that were asked."""
        while self._opened:
            self._opened.pop().close()

    def _forgets(self, place: Place, answer: Unreachable) -> bool:
        named = place.path in self._sockets
        # One that has not begun to listen yet is there, and so is one that is alive
        # in another container, whose process numbers mean nothing here.
        if named or answer.state != "gone" or is_running(place.pid):
            return False
        forget(place)
        return True

    def _missing(self, asked: Iterable[Answer]) -> Iterator[Unreachable]:
        """Yield what to say of those that were named, and are not there."""
        pids: set[int] = set()
        services: set[str] = set()
        silent = False
        for place, answer in asked:
            if place is not None:
                pids.add(place.pid)
            if isinstance(answer, Peer):
                services.add(answer.info.service_name)
            silent = silent or isinstance(answer, Unreachable)
        for pid in sorted(self._pids - pids):
            yield no_place(pid)
        if not silent:  # one of those that do not answer may be the one
            for service in sorted(self._services - services):
                yield no_service(service, services)


def _pid_in(name: str) -> int:
    found = _PID.match(name)
    return int(found[1]) if found is not None else 0


def choosing(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that choose processes to a click command.

    The command gets them as ``chosen``, a `Chosen`. If one of them could not be asked,
    it ends with status 1.

    Args:
        command: The function below ``@click.command``.
    """

    @click.option(
        "--pid",
        "pids",
        multiple=True,
        type=click.IntRange(min=1),
        metavar="PID",
        shell_complete=_complete_pids,
        help="Ask this process; may be given more than once.",
    )
    @click.option(
        "--service",
        "services",
        multiple=True,
        metavar="NAME",
        shell_complete=_complete_services,
        help="Ask the processes of this service; may be given more than once.",
    )
    @click.option(
        "--socket",
        "sockets",
        multiple=True,
        type=click.Path(readable=False, path_type=Path),
        metavar="PATH",
        help="Ask the process at this access point, a socket or the file that is in "
        "its place; may be given more than once.",
    )
    @functools.wraps(command)
    def asking(
        *args: object,
        pids: tuple[int, ...],
        services: tuple[str, ...],
        sockets: tuple[Path, ...],
        **kwargs: object,
    ) -> None:
        with contextlib.closing(Chosen(pids, services, sockets)) as chosen:
            command(*args, chosen=chosen, **kwargs)
        if chosen.failed:
            sys.exit(FAILED)

    return asking


def _complete_pids(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    names = {str(each.pid): each.service_name for each in _answering()}
    return [
        CompletionItem(pid, help=visible(name))
        for pid, name in names.items()
        if pid.startswith(incomplete)
    ]


def _complete_services(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    names = {each.service_name for each in _answering()}
    return [
        CompletionItem(name)
        for name in sorted(names)
        if name.startswith(incomplete) and name.isprintable()
    ]


def _answering() -> list[ProcessInfo]:
    with contextlib.closing(Chosen()) as chosen:
        try:
            answers = chosen.answers(COMPLETION_SECONDS)
        except (click.ClickException, TaskLogError):
            return []  # nothing is said while somebody types
        return [answer.info for _, answer in answers if isinstance(answer, Peer)]
