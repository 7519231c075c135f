"""Secrets in each shape that a record can have, every one with a text of its own."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import linecache
import logging
import threading
from collections import namedtuple
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider

import otel_tasklog
from otel_tasklog.capture.structlog import TaskLogSink

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FORMS", "NAMES", "TEXTS", "found", "plant"]

log = logging.getLogger("shop")
_FILLER = "x" * 20_000


def _secret(name: str) -> str:
    return "S" + hashlib.sha256(name.encode()).hexdigest()[:16]


# What is known by its form, behind a prefix; and what is looked for.
FORMS: dict[str, tuple[str, str]] = {
    "a JSON Web Token": ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.", _secret("jwt") * 2),
    "a vendor's token": ("ghp_", _secret("vendor") * 3),
    "an AWS key id": ("", "AKIAIOSFODNN7EXAMPLE"),
    "an AWS secret key": ("aws ", "wJalrXUtnFEMIaK7MDENGbbPxRfiCYEXAMPLEKEY"),
    "a bearer's token": ("Bearer ", _secret("bearer")),
    "a card's number": ("", "4111111111111111"),
    "a private key": (
        "-----BEGIN PRIVATE KEY-----\n",
        _secret("private"),
    ),
    "a URL's password": ("postgres://bob:", f"{_secret('url')}@db.example/shop"),
}

# What is known by the word before it.
TEXTS: dict[str, str] = {
    "an assignment": "password={}",
    "JSON": '{{"api_key": "{}", "n": 1}}',
    "a mapping's repr": "{{'user': {{'client_secret': '{}'}}}}",
    "a URL's query": "GET /pay?page=2&token={}&user=bob",
    "a header": "Authorization: Digest username='bob', response='{}'",
    "a cookie": "Cookie: a=1; b={}",
    "pairs of bytes": "[(b'authorization', b'{}'), (b'host', b'shop')]",
    "pairs in lists": '[["Cookie", "a=1; b={}"], ["Host", "shop"]]',
    "a command": "login --password {} --user bob",
    "escaped JSON": '"{{\\"password\\": \\"{}\\"}}"',
}


@dataclass
class Login:
    user: str
    password: str


Pair = namedtuple("Pair", ["user", "token"])  # noqa: PYI024 - the untyped one, too


class Vault:
    def __init__(self, secret: str) -> None:
        self._secret = secret

    def __str__(self) -> str:
        return f"Vault(secret='{self._secret}')"


def _tasklog() -> otel_tasklog.TaskLog:
    tasklog = otel_tasklog.current()
    assert tasklog is not None
    return tasklog


def _raise(error: BaseException) -> None:
    raise error


def _failing(error: Callable[[], BaseException], **extra: Any) -> None:
    try:
        _raise(error())
    except Exception:
        log.exception("failed", extra=extra)


def _chain(secret: str) -> None:
    try:
        try:
            _raise(KeyError({"password": secret}))
        except KeyError as error:
            raise ValueError(error.args) from error
    except ValueError:
        log.exception("failed")


def _noted(secret: str) -> BaseException:
    error = ValueError("bad")
    error.add_note(f"with token={secret}")
    return ExceptionGroup("several", [error])


def _source(secret: str, *, stack: bool) -> None:
    """Log from a file whose source has the secret."""
    path = Path(f"source_{stack}.py").absolute()
    path.write_text(
        "import logging\n"
        "log = logging.getLogger('shop')\n"
        "def connect(password, *, stack):\n"
        "    if not stack: raise OSError('refused')\n"
        "    log.warning('connecting', stack_info=True)\n"
        f"def run(stack): connect(password='{secret}', stack=stack)\n"
    )
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    linecache.checkcache(str(path))
    try:
        module.run(stack)
    except OSError:
        log.exception("failed")


def _syntax(secret: str) -> None:
    try:
        compile(f"password = '{secret}' (", "config.py", "exec")
    except SyntaxError:
        log.exception("failed")


def _bound(secret: str) -> None:
    with otel_tasklog.task("job"), otel_tasklog.bind(api_key=secret):
        log.warning("bound")


def _of_job(secret: str) -> None:
    with otel_tasklog.task("job", attributes={"auth": {"deep": [secret]}}):
        log.warning("in a job")


def _named_job(secret: str) -> None:
    with otel_tasklog.task(f"order?token={secret}", lifecycle=log):
        log.warning("in a named job")


def _named_thread(secret: str) -> None:
    thread = threading.Thread(
        target=lambda: log.warning("in a thread"), name=f"worker?token={secret}"
    )
    thread.start()
    thread.join()


def _named_task(secret: str) -> None:
    async def say() -> None:
        log.warning("in a task")

    async def main() -> None:
        await asyncio.create_task(say(), name=f"charge?token={secret}")

    # In a thread, for there may be a loop here.
    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    thread.join()


def _uncaught_in_thread(secret: str) -> None:
    def fail() -> None:
        _raise(ValueError(f"password={secret}"))

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()


def _by_structlog(secret: str) -> None:
    logger = structlog.wrap_logger(None, processors=[TaskLogSink()])
    logger.warning("by structlog", user={"password": secret})


def _by_a_provider(secret: str) -> None:
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(otel_tasklog.TaskLogProcessor(_tasklog()))
    provider.get_logger("shop").emit(
        LogRecord(
            severity_number=SeverityNumber.WARN,
            body={"token": secret},
            attributes={
                "secret": secret,
                "url": f"redis://:{secret}@db",
                "exception.type": "shop.Error",
                "exception.message": f"token={secret}",
                "exception.stacktrace": f"shop.Error: token={secret}",
            },
        )
    )


def _made_by_hand(secret: str) -> None:
    _tasklog().handler.handle(
        logging.makeLogRecord(
            {"name": f"shop?token={secret}", "msg": f"token={secret}", "levelno": None}
        )
    )


_PLANTS: dict[str, Callable[[str], object]] = {
    # By the key.
    "attribute": lambda s: log.warning("x", extra={"password": s}),
    "a number": lambda s: log.warning("x", extra={"pin": {int(s[1:], 16), s}}),
    "bytes": lambda s: log.warning("x", extra={"db.passphrase": s.encode()}),
    "an object": lambda s: log.warning("x", extra={"jwt": Vault(s)}),
    "a nested key": lambda s: log.warning("x", extra={"a": {"b": {"dbPassword": s}}}),
    "list of mappings": lambda s: log.warning(
        "x", extra={"a": [{"n": 1}, {"token": s}]}
    ),
    "deeply mixed": lambda s: log.warning(
        "x", extra={"a": [({"b": [{"c": ({"set-cookie": [s]},)}]},)]}
    ),
    "headers": lambda s: log.warning(
        "x", extra={"headers": {"Host": "y", "X-Api-Key": s}}
    ),
    "pairs": lambda s: log.warning("x", extra={"h": [("Host", "y"), ("Cookie", s)]}),
    "raw pairs": lambda s: log.warning(
        "x", extra={"h": [(b"authorization", s.encode())]}
    ),
    "a key of bytes": lambda s: log.warning("x", extra={"a": {b"sessionid": s}}),
    "whole mapping": lambda s: log.warning("x", extra={"credentials": {"a": {"b": s}}}),
    "a dataclass": lambda s: log.warning("x", extra={"login": Login("bob", s)}),
    "a named tuple": lambda s: log.warning("x", extra={"login": [Pair("bob", s)]}),
    "body": lambda s: log.warning(
        {"event": "login", "user": {"pass_word": 1, "pwd": s}}
    ),
    "list in a body": lambda s: log.warning({"users": [{"private_key": s}]}),
    "pair in a body": lambda s: log.warning({"headers": [["authorization", s]]}),
    "bound": _bound,
    "a job's": _of_job,
    "structlog": _by_structlog,
    # By what stands in a text.
    "text of an attribute": lambda s: log.warning("x", extra={"a": f"password={s}"}),
    "text in a list": lambda s: log.warning("x", extra={"a": [[f"token={s}"]]}),
    "text in bytes": lambda s: log.warning("x", extra={"a": f"?token={s}".encode()}),
    "text of an object": lambda s: log.warning("x", extra={"a": Vault(s)}),
    "text in a body": lambda s: log.warning({"note": f"password={s}"}),
    "message object": lambda s: log.warning(Vault(s)),
    "argument": lambda s: log.warning("token=%s for %s", s, "bob"),
    "arguments that do not fit": lambda s: log.warning("%d", {"token": s}),
    "long text": lambda s: log.warning("%s token=%s %s", _FILLER, s, _FILLER * 10),
    "text cut in the middle": lambda s: log.warning(
        "x", extra={"a": f"{_FILLER[:16_328]}token={s}{_FILLER}"}
    ),
    "access log": lambda s: logging.getLogger("uvicorn.access").warning(
        '%s - "%s %s HTTP/%s" %d', "127.0.0.1:1", "GET", f"/pay?token={s}", "1.1", 200
    ),
    "event name": lambda s: log.warning("x", extra={"event.name": f"token={s}"}),
    "job's name": _named_job,
    "logger's name": lambda s: logging.getLogger(f"shop.password={s}").warning("x"),
    "thread's name": _named_thread,
    "task's name": _named_task,
    "provider": _by_a_provider,
    "fields": _made_by_hand,
    # Exceptions.
    "exception": lambda s: _failing(lambda: ValueError(f"password={s}")),
    "exception's mapping": lambda s: _failing(lambda: KeyError({"password": s})),
    "chain": _chain,
    "note of a group's member": lambda s: _failing(lambda: _noted(s)),
    "file's name": lambda s: _failing(
        lambda: OSError(2, "No such file", f"https://bob:{s}@shop/x")
    ),
    "exception as a value": lambda s: log.warning(
        "x", extra={"a": OSError(f"pwd={s}")}
    ),
    "syntax error": _syntax,
    "source": lambda s: _source(s, stack=False),
    "stack": lambda s: _source(s, stack=True),
    "uncaught in a thread": _uncaught_in_thread,
    **{
        f"text: {name}": lambda s, text=text: log.warning(text.format(s))  # type: ignore[misc]
        for name, text in TEXTS.items()
    },
}
NAMES = {
    **{name: _secret(name)[:9] for name in _PLANTS},  # half of one is found, too
    **{name: secret for name, (_, secret) in FORMS.items()},
}
"""What is looked for, by the name of its shape."""


def plant() -> None:
    """Log each secret in its shape."""
    for name, each in _PLANTS.items():
        each(_secret(name))
    for prefix, secret in FORMS.values():
        log.warning("got %s%s", prefix, secret)
        log.warning("x", extra={"got": {"it": f"{prefix}{secret}"}})


def found(text: str | bytes) -> set[str]:
    """Return the names of the shapes whose secret is there to be read."""
    data = text.encode() if isinstance(text, str) else text
    return {name for name, secret in NAMES.items() if secret.encode() in data}
