"""How a Loki is reached: its address, who asks, and a request at a time.

The settings are checked before anything is asked. What is wrong with an answer is
decided by `_loki_search`; here a request becomes a `Reply`, whatever happens.
"""

from __future__ import annotations

import asyncio
import dataclasses
import importlib.util
import ssl
import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from otel_tasklog._connection import (
    HTTP,
    LONGEST_TIMEOUT_SECONDS,
    check_endpoint,
    check_files,
    check_headers,
)
from otel_tasklog._errors import ConfigError, MissingExtraError
from otel_tasklog.store._logql import is_filterable
from otel_tasklog.store._loki_answers import Reply
from otel_tasklog.store._loki_search import Ask, Pause, Search, advance

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    import httpx2

    from otel_tasklog._connection import FilePath
    from otel_tasklog.store._loki_records import Stored
    from otel_tasklog.store._loki_search import Steps

__all__ = ["AsyncConnection", "Connection", "Settings"]

TENANT_HEADER: Final = "X-Scope-OrgID"
CATEGORIES: Final = {"X-Loki-Response-Encoding-Flags": "categorize-labels"}
"""Without it, each record is a stream of its own, and the order among them is lost."""

MOST_RECORDS: Final = 1_000_000
MOST_ATTEMPTS: Final = 100


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Settings:
    """Where a Loki is, and how it is asked; `LokiStorage` says what each means."""

    url: str
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    tenant: str | None = None
    username: str | None = None
    password: str | None = None
    token: str | None = None
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    certificate_file: FilePath | None = None
    client_certificate_file: FilePath | None = None
    client_key_file: FilePath | None = None
    timeout_seconds: float = 30.0
    attempts: int = 4
    page_records: int = 5_000
    history_seconds: float = 7 * 86_400.0

    def __post_init__(self) -> None:
        self._check_address()
        headers = self._headers()
        check_headers(headers, HTTP)
        for name, value in headers.items():  # httpx2 sends no others
            if not value.isascii():
                raise ConfigError("headers", {name: "..."}, "a text in ASCII")
        check_files(
            certificate_file=self.certificate_file,
            client_key_file=self.client_key_file,
            client_certificate_file=self.client_certificate_file,
        )
        for name, most in (
            ("timeout_seconds", LONGEST_TIMEOUT_SECONDS),
            ("history_seconds", 1e9),
            ("page_records", MOST_RECORDS),
            ("attempts", MOST_ATTEMPTS),
        ):
            value = getattr(self, name)
            is_whole = name in ("page_records", "attempts")
            least = 1 if is_whole else 1e-3
            kind = int if is_whole else (int, float)
            if not isinstance(value, kind) or not least <= value <= most:
                what = "a whole number" if is_whole else "a number"
                raise ConfigError(name, value, f"{what} from {least:g} to {most:g}")
        if importlib.util.find_spec("httpx2") is None:
            raise MissingExtraError("LokiStorage", "loki")

    def _check_address(self) -> None:
        try:
            check_endpoint(self.url, HTTP)
        except ConfigError as error:
            expected = error.expected
            if "credentials" in expected:
                expected = "no credentials; use username= and password="
            elif "URL" in expected:
                expected = "a URL such as 'http://localhost:3100'"
            raise ConfigError("url", error.got, expected) from None
        if urlsplit(self.url).query or urlsplit(self.url).path.endswith("/api/v1"):
            expected = "Loki's address alone: what comes before /loki/api"
            raise ConfigError("url", self.url, expected)
        for name, value in self.labels.items():
            if not (is_filterable(name) and value):
                raise ConfigError("labels", {name: value}, "names and texts of labels")
        if self.token is not None and self.username is not None:
            raise ConfigError("token", "...", "either token, or username and password")
        if (self.username is None) != (self.password is None):
            raise ConfigError("username", self.username, "username and password both")

    @property
    def address(self) -> str:
        """The URL without a slash at its end."""
        return self.url.rstrip("/")

    def search(self) -> Search:
        """Return how to search there."""
        return Search(
            url=self.address,
            labels=self.labels,
            history_seconds=self.history_seconds,
            page_records=self.page_records,
            attempts=self.attempts,
        )

    def client_options(self) -> dict[str, Any]:
        """Return what either of httpx2's clients is made with."""
        options: dict[str, Any] = {
            "headers": self._headers(),
            "timeout": self.timeout_seconds,
            "follow_redirects": False,
        }
        if self.username is not None:
            options["auth"] = (self.username, self.password or "")
        if self.certificate_file is not None or self.client_key_file is not None:
            options["verify"] = self._tls()
        return options

    def _headers(self) -> dict[str, str]:
        headers = {**CATEGORIES, **self.headers}
        if self.tenant is not None:
            headers[TENANT_HEADER] = self.tenant
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        return headers

    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.certificate_file)
        if self.client_certificate_file is not None:
            context.load_cert_chain(self.client_certificate_file, self.client_key_file)
        return context


class Connection:
    """Asks a Loki, in a thread.

    Args:
        settings: Which, and how.
    """

    def __init__(self, settings: Settings) -> None:
        import httpx2

        self._address = settings.address
        self.client: Final[httpx2.Client] = httpx2.Client(**settings.client_options())

    def run(self, steps: Steps) -> Iterator[list[Stored]]:
        """Do what the steps say; yield what they find.

        Raises:
            StorageError: As the steps.
        """
        reply: Reply | None = None
        while (step := advance(steps, reply)) is not None:
            reply = None
            match step:
                case Ask(path, form):
                    reply = self._reply(path, form)
                case Pause(seconds):
                    time.sleep(seconds)
                case _:
                    yield step

    def _reply(self, path: str, form: dict[str, str]) -> Reply:
        import httpx2

        try:
            response = self.client.post(self._address + path, data=form)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            return _unanswered(error)
        return _read(response)

    def close(self) -> None:
        """Hang up."""
        self.client.close()


class AsyncConnection:
    """Asks a Loki, in an event loop.

    Args:
        settings: Which, and how.
    """

    def __init__(self, settings: Settings) -> None:
        import httpx2

        self._address = settings.address
        options = settings.client_options()
        self.client: Final[httpx2.AsyncClient] = httpx2.AsyncClient(**options)

    async def run(self, steps: Steps) -> AsyncIterator[list[Stored]]:
        """Do what the steps say; yield what they find.

        Raises:
            StorageError: As the steps.
        """
        reply: Reply | None = None
        while (step := advance(steps, reply)) is not None:
            reply = None
            match step:
                case Ask(path, form):
                    reply = await self._reply(path, form)
                case Pause(seconds):
                    await asyncio.sleep(seconds)
                case _:
                    yield step

    async def _reply(self, path: str, form: dict[str, str]) -> Reply:
        import httpx2

        try:
            response = await self.client.post(self._address + path, data=form)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            return _unanswered(error)
        return _read(response)

    async def close(self) -> None:
        """Hang up."""
        await self.client.aclose()


def _unanswered(error: Exception) -> Reply:
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return Reply(0, said.encode("utf-8", "replace"))


def _read(response: httpx2.Response) -> Reply:
    return Reply(
        response.status_code,
        response.content,
        response.headers.get("retry-after", ""),
    )
