"""A Loki as a source of records, by ``--loki URL``."""

from __future__ import annotations

import contextlib
import hashlib
import os
from typing import TYPE_CHECKING, Final

import click  # noqa: TID253 - see _commands

from otel_tasklog._errors import ConfigError, MissingExtraError, StorageError
from otel_tasklog._text import visible
from otel_tasklog.capture._record import TIMESTAMP_NS
from otel_tasklog.cli._failures import Unreachable, complain
from otel_tasklog.cli._source import Entry, Found
from otel_tasklog.store._query import Query
from otel_tasklog.store.loki import LokiStorage

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence

    from otel_tasklog.cli._choose import Chosen
    from otel_tasklog.store._loki_records import Stored

__all__ = ["LokiSource", "loki_sources"]

OPTION: Final = "--loki"
HOUR_NS: Final = 3_600 * 10**9
PROCESS: Final = ("service_name", "service_namespace", "service_instance_id")
"""What tells processes apart, by Loki's names."""


class LokiSource:
    """A Loki, or one service there.

    Args:
        storage: Asks it.
        service: The service; None for all.
    """

    def __init__(self, storage: LokiStorage, service: str | None) -> None:
        self._storage = storage
        self.name: Final = "loki" if service is None else f"loki/{visible(service)}"

    def select(self, query: Query) -> Iterator[Entry]:
        """Yield what a query asks for, in its order.

        Raises:
            click.ClickException: Loki refuses, or does not answer.
        """
        self._say_what_is_tested_here(query)
        with _told():
            yield from self._entries(self._storage.stored(query))

    def select_with_context(self, query: Query, records: int) -> Iterator[Found]:
        """Yield the same, each with so many records of its process around it.

        Those are looked for up to an hour away: Loki reads whatever is asked for.

        Raises:
            click.ClickException: As `select`.
        """
        for entry in self.select(query):
            if not records:
                yield Found(entry, [entry])
                continue
            at = entry.timestamp_ns
            before = self._around(entry, (at - HOUR_NS, at), records, newest_first=True)
            hour = at, at + HOUR_NS
            after = self._around(entry, hour, records + 1, newest_first=False)
            after = [each for each in after if each.key != entry.key][:records]
            yield Found(entry, [*before[::-1], entry, *after])

    def _around(
        self, entry: Entry, hour: tuple[int, int], records: int, *, newest_first: bool
    ) -> list[Entry]:
        """Return records of the process that has logged another."""
        query = Query(
            attributes={k: v for k, v in entry.resource.items() if k in PROCESS},
            limit=records,
            newest_first=newest_first,
        )
        with _told():
            return [*self._entries(self._storage.stored(query, hour))]

    def follow(self, query: Query) -> Generator[Entry]:
        """Yield what a query asks for, and then what comes; blocks its thread.

        Raises:
            click.ClickException: As `select`.
        """
        self._say_what_is_tested_here(query)
        with _told():
            yield from self._entries(self._storage.stored_as_they_come(query))

    def _entries(self, records: Iterable[Stored]) -> Iterator[Entry]:
        """Yield entries, each with an id of its own: Loki keeps one of two equal ones."""
        for each in records:
            whole = repr((each.whole, sorted(each.resource.items())))
            digest = hashlib.blake2b(whole.encode("utf-8", "replace"), digest_size=6)
            at = each.whole[TIMESTAMP_NS]
            name = f"{at}-{digest.hexdigest()}"
            yield Entry(each.sealed, name, self.name, each.resource)

    def _say_what_is_tested_here(self, query: Query) -> None:
        terms = self._storage.logql_of(query).tested_here
        if terms:
            complain(f"LogQL cannot express {', '.join(terms)}: more is fetched, and "
                     "tested here")  # fmt: skip


def loki_sources(
    url: str, chosen: Chosen, files: Sequence[str] = ()
) -> list[LokiSource]:
    """Return a source for each service that was chosen, or one for all.

    Args:
        url: Of ``--loki``.
        chosen: The services.
        files: Of ``--file``.

    Raises:
        click.UsageError: Something of it cannot be.
    """
    if files:
        raise click.UsageError(f"--file does not go with {OPTION}")
    services: list[str | None] = [*sorted(chosen.only_services(OPTION))]
    services = services or [None]
    return [LokiSource(_open(url, service), service) for service in services]


def _open(url: str, service: str | None) -> LokiStorage:
    """Return a Loki, until the command ends."""
    tenant, token, username, password = (
        os.environ.get(f"OTEL_TASKLOG_LOKI_{name}") or None  # empty is as not set
        for name in ("TENANT", "TOKEN", "USERNAME", "PASSWORD")
    )
    try:
        storage = LokiStorage(
            url,
            labels={} if service is None else {"service_name": service},
            tenant=tenant,
            token=token,
            username=username,
            password=password,
        )
    except (ConfigError, MissingExtraError) as error:
        raise click.UsageError(f"{OPTION}: {error}") from None
    click.get_current_context().call_on_close(storage.close)
    return storage


@contextlib.contextmanager
def _told() -> Generator[None]:
    try:
        yield
    except StorageError as error:
        raise Unreachable(str(error)) from None
