"""Who may ask: the check that every request passes first.

Guarantees: without a token nobody is answered, unless the application says that
everybody is. A page of another site gets nothing in either case: not by a request
that its script makes, for that names its origin; and not by a name of its own that
it has resolve to the loopback address, for that is in the ``Host`` header.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from otel_tasklog._errors import ConfigError
from otel_tasklog.viewer._problem import Problem

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

__all__ = ["TOKEN_CHARACTERS", "URL_BYTES", "Access"]

TOKEN_CHARACTERS: Final = 16
"""A token has at least so many."""

URL_BYTES: Final = 8_192
"""Of the path and the query string of a request, at most."""

_TOKEN: Final = re.compile(rf"[A-Za-z0-9._~+/=-]{{{TOKEN_CHARACTERS},}}")
_HOST: Final = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]*)?")
_OURS: Final = frozenset({"same-origin", "none"})


class Access:
    """Who may ask, checked once when it is made.

    Args:
        token: What every request has to show, or None.
        open_to_all: Whether none has to.
        allowed_hosts: Names in the ``Host`` header, beside the loopback's.

    Raises:
        ConfigError: There is neither token nor *open_to_all*, or both; the token is
            too short to be a secret, or a header cannot hold it; a host is none.
    """

    def __init__(
        self, *, token: str | None, open_to_all: bool, allowed_hosts: Collection[str]
    ) -> None:
        if token is None and open_to_all is not True:
            raise ConfigError(
                "token",
                None,
                "a secret, such as secrets.token_urlsafe() makes; or pass "
                "open_to_all=True, and whoever reaches the server can read the records",
            )
        if token is not None and open_to_all:
            expected = "no token, or not open_to_all: it is one or the other"
            raise ConfigError("open_to_all", open_to_all, expected)
        if token is not None and not _can_be_sent(token):
            raise ConfigError(
                "token",
                "...",
                f"at least {TOKEN_CHARACTERS} letters, digits or any of ._~+/=-, such "
                "as secrets.token_urlsafe() makes",
            )
        self._token = token.encode() if token is not None else None
        self._allowed = frozenset(_checked(allowed_hosts))
        # Who shows the token is let in by whatever name it found us.
        self._checks_host = open_to_all or bool(self._allowed)

    def check(
        self, method: str, url_bytes: int, headers: Iterable[tuple[bytes, bytes]]
    ) -> None:
        """Let a request pass, or refuse it.

        Raises:
            Problem: It is refused.
        """
        fields: dict[str, list[str]] = {}
        for name, value in headers:
            fields.setdefault(name.decode("latin-1").lower(), []).append(
                value.decode("latin-1").strip()
            )
        if url_bytes > URL_BYTES:
            raise Problem(414, f"the URL is too long: at most {URL_BYTES} bytes")
        host = fields.get("host", [""])
        if self._checks_host and not self._is_ours(host):
            raise Problem(
                403,
                "the Host header names another host: ask 127.0.0.1 or localhost, or "
                "have the application pass allowed_hosts= to asgi()",
            )
        self._refuse_other_origins(host, fields)
        if self._token is not None:
            self._refuse_without_token(fields.get("authorization", []))
        if method != "GET":
            raise Problem(405, "only GET is served here", headers={"Allow": "GET"})

    def _is_ours(self, hosts: list[str]) -> bool:
        match = _HOST.fullmatch(hosts[0].lower()) if len(hosts) == 1 else None
        if match is None:
            return False
        name = match[1].strip("[]").removesuffix(".")
        return name in self._allowed or _is_loopback(name)

    def _refuse_other_origins(
        self, host: list[str], fields: dict[str, list[str]]
    ) -> None:
        origins = [_authority(each) for each in fields.get("origin", [])]
        sites = fields.get("sec-fetch-site", [])
        foreign = any(not each or each != host[0].lower() for each in origins)
        if foreign or not _OURS.issuperset(sites):
            raise Problem(
                403, "a page of another origin asks: only this host's own pages may"
            )

    def _refuse_without_token(self, given: list[str]) -> None:
        scheme, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        right = hmac.compare_digest(token.strip().encode(), self._token or b"")
        if scheme.lower() != "bearer" or not right:
            raise Problem(
                401,
                "send the header 'Authorization: Bearer TOKEN' with the token that "
                "the application passes to asgi()",
                headers={"WWW-Authenticate": "Bearer"},
            )


def _can_be_sent(token: object) -> bool:
    return isinstance(token, str) and _TOKEN.fullmatch(token) is not None


def _authority(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _is_loopback(name: str) -> bool:
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _checked(hosts: Collection[str]) -> Iterable[str]:
    if isinstance(hosts, str):
        raise ConfigError("allowed_hosts", hosts, "a list of names")
    for host in hosts:
        match = _HOST.fullmatch(host.lower())
        if match is None or match[2] is not None:
            expected = "names or addresses without scheme and port, IPv6 in brackets"
            raise ConfigError("allowed_hosts", host, expected)
        yield match[1].strip("[]").removesuffix(".")
