"""Exceptions and stacks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from e2e.odd_values.case import NOTHING, Case, at, cut, show, text_at
from e2e.odd_values.objects import RaisingError, Saying, raising
from e2e.odd_values.texts import made, made_of

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

    from e2e.odd_values.case import Look, Seen

__all__ = ["EXCEPTIONS", "EXC_INFOS", "STACKS"]


def shown(*parts: str) -> Look:
    """Show type, message, and whether the stack trace has these parts, in order."""

    def look(seen: Seen) -> str:
        found = seen.attributes
        kind, message = found.get("exception.type"), found.get("exception.message")
        if kind is None:
            return NOTHING
        trace = (
            found["exception.stacktrace"].string_value
            if "exception.stacktrace" in found
            else ""
        )
        at = 0
        for part in parts:
            at = trace.find(part, at)
            if at < 0:
                return f"{show(kind)}, {show(message)}, no {part!r}"
        return f"{show(kind)}, {show(message)}"

    return look


def raised(
    name: str, error: Callable[[], BaseException], becomes: str, *parts: str
) -> Case:
    """Return the case of an exception that is logged where it is caught."""

    def log(logger: logging.Logger) -> None:
        try:
            raise error()  # noqa: TRY301
        except BaseException:
            logger.exception("odd")

    return Case(name, log, becomes, shown(*parts))


def _noted(*notes: object, every: object = None) -> BaseException:
    error = ValueError("bad")
    vars(error)["__notes__"] = list(notes) if every is None else every
    return error


def _chain(length: int) -> BaseException:
    error = ValueError("1")
    for number in range(2, length + 1):
        outer = ValueError(str(number))
        outer.__cause__ = error
        error = outer
    return error


def _cycle() -> BaseException:
    one, other = ValueError("one"), KeyError("other")
    one.__cause__, other.__cause__ = other, one
    return one


def _in_context() -> BaseException:
    error = ValueError("outer")
    error.__context__ = KeyError("inner")
    return error


def _deep(levels: int) -> BaseException:
    def descend(level: int) -> None:
        if level:
            descend(level - 1)
        raise ValueError("deep")

    try:
        descend(levels)
    except ValueError as error:
        return error
    raise AssertionError


def _alternating(levels: int) -> BaseException:
    """Return an error from so many frames that no two in a row are of one line."""
    calls: dict[int, Any] = {}
    for number in range(200):
        text = "def function(n):\n    calls[n % 200](n - 1)\n"
        space: dict[str, Any] = {"calls": calls}
        exec(compile(text, f"module_{number:0100}.py", "exec"), space)  # noqa: S102
        calls[number] = space["function"]
    try:
        calls[0](levels)
    except RecursionError as error:
        return error
    raise AssertionError


def _syntax_error() -> BaseException:
    try:
        compile("x = (", "odd.py", "exec")
    except SyntaxError as error:
        return error
    raise AssertionError


def _odd_syntax_error() -> BaseException:
    error = SyntaxError("bad", ("odd.py", 1, 1, "text"))
    error.lineno, error.text, error.offset = "one", object(), -5  # type: ignore[assignment]
    return error


def _decoding() -> BaseException:
    try:
        b"\xff".decode()
    except UnicodeDecodeError as error:
        return error
    raise AssertionError


def _group() -> BaseException:
    inner = ExceptionGroup("inner", [KeyError("b")])
    return ExceptionGroup("outer", [ValueError("a"), inner])


class ModuleError(Exception):
    """Has a module that is named."""


class _LyingError(Exception):
    @property
    def __notes__(self) -> list[str]:  # type: ignore[override]
        raise ValueError


_X: Final = 5_000_000 * "x"
_CUT: Final = "cut to no more than 16,424 bytes, with a mark"


def _log_large(logger: logging.Logger) -> None:
    logger.info("odd", exc_info=ValueError(_X))


def _trace_size(seen: Seen) -> str:
    size = len(text_at("exception.stacktrace")(seen).encode())
    return f"{'no ' if size <= 32_768 else ''}more than 32 KiB"


EXCEPTIONS: Final = (
    raised("`KeyError('k')`", lambda: KeyError("k"), "\"KeyError\", \"'k'\"", "KeyError: 'k'"),
    raised("`KeyError()`", KeyError, '"KeyError", ""', "KeyError"),
    raised("`OSError(2, ...)`", lambda: OSError(2, "No such file", "f"), "\"FileNotFoundError\", \"[Errno 2] No such file: 'f'\"", "No such file"),
    raised("`UnicodeDecodeError`", _decoding, "\"UnicodeDecodeError\", \"'utf-8' code…ff in position 0: invalid start byte\", 70 characters", "invalid start"),
    raised("`KeyboardInterrupt`", KeyboardInterrupt, '"KeyboardInterrupt", ""', "KeyboardInterrupt"),
    raised("of a module", lambda: ModuleError("bad"), '"e2e.odd_values.exceptions.ModuleError", "bad"', "ModuleError: bad"),
    raised("`__str__` raises", RaisingError, '"e2e.odd_values.objects.RaisingError", "<exception str() failed>"', "<exception str() failed>"),
    raised("of an argument whose `__str__` raises", lambda: ValueError(Saying(raising(KeyError()))), '"ValueError", "<exception str() failed>"', "<exception str() failed>"),
    raised("with a lone surrogate", lambda: ValueError("a\ud800"), r'"ValueError", "a\\ud800"', r"ValueError: a\ud800"),
    Case("with 5 MB", _log_large, _CUT, cut(_X, 16_424, text_at("exception.message"))),
    Case("its stack trace", _log_large, "no more than 32 KiB", _trace_size),
    raised("with notes", lambda: _noted("one", 2), '"ValueError", "bad"', "ValueError: bad", "one", "2"),
    raised("with notes that are no list", lambda: _noted(every=5), '"ValueError", "bad"', "ValueError: bad", "5"),
    raised("with a note whose `__str__` raises", lambda: _noted(Saying(raising(KeyError()))), '"ValueError", "bad"', "<note str() failed>"),
    raised("`__notes__` raises", _LyingError, '"e2e.odd_values.exceptions._LyingError", ""', "_LyingError"),
    raised("a group in a group", _group, '"ExceptionGroup", "outer (2 sub-exceptions)"', "outer", "ValueError: a", "inner", "KeyError: 'b'"),
    raised("a group of 10,000", lambda: ExceptionGroup("g", 10_000 * [ValueError("m")]), '"ExceptionGroup", "g (10000 sub-exceptions)"', "ValueError: m"),
    raised("in the context of another", _in_context, '"ValueError", "outer"', "KeyError: 'inner'", "During handling", "ValueError: outer"),
    raised("a chain of 3 causes", lambda: _chain(3), '"ValueError", "3"', "ValueError: 1", "direct cause", "ValueError: 2", "direct cause", "ValueError: 3"),
    raised("a chain of 3,000 causes", lambda: _chain(3000), '"ValueError", "3000"', "ValueError: 2999", "direct cause", "ValueError: 3000"),
    raised("two that cause each other", _cycle, '"ValueError", "one"', "KeyError: 'other'", "direct cause", "ValueError: one"),
    raised("900 frames of one function", lambda: _deep(900), '"ValueError", "deep"', "descend", "repeated", "ValueError: deep"),
    raised("900 frames of 200 functions", lambda: _alternating(10_000), '"RecursionError", "maximum recursion depth exceeded"', "cut]", "RecursionError"),
    raised("`SyntaxError`", _syntax_error, "\"SyntaxError\", \"'(' was never closed (odd.py, line 1)\"", "x = (", "SyntaxError: '(' was never closed"),
    raised("`SyntaxError` with odd fields", _odd_syntax_error, '"SyntaxError", "bad (odd.py)"', "SyntaxError: bad"),
)  # fmt: skip


class _Undecided:
    def __bool__(self) -> bool:
        raise ValueError


def info(name: str, value: Callable[[], object], becomes: str) -> Case:
    """Return the case of an ``exc_info``, logged where an exception is handled."""

    def log(logger: logging.Logger) -> None:
        try:
            raise KeyError("handled")  # noqa: TRY301
        except KeyError:
            made_of(lambda: {"exc_info": value()})(logger)

    return Case(f"`exc_info`: {name}", log, becomes, shown())


_BAD: Final = '"ValueError", "bad"'


def _bad() -> ValueError:
    return ValueError("bad")


EXC_INFOS: Final = (
    info("`True`", lambda: True, "\"KeyError\", \"'handled'\""),
    info("an exception", _bad, _BAD),
    info("a tuple", lambda: (ValueError, _bad(), None), _BAD),
    info("`(None, None, None)`", lambda: (None, None, None), NOTHING),
    info("`(ValueError, None, None)`", lambda: (ValueError, None, None), NOTHING),
    info("`(1, 2, 3)`", lambda: (1, 2, 3), NOTHING),
    info("a tuple with a text for a traceback", lambda: (ValueError, _bad(), "tb"), _BAD),
    info("the empty tuple", lambda: (), NOTHING),
    info("a text", lambda: "text", NOTHING),
    info("an object whose `__bool__` raises", _Undecided, NOTHING),
)  # fmt: skip


def _stack(seen: Seen) -> str:
    trace = text_at("code.stacktrace")(seen)
    whole = trace.startswith("Stack (most recent") and "stack_info=True" in trace
    return "the stack" if whole else NOTHING


def _stack_size(seen: Seen) -> str:
    size = len(text_at("code.stacktrace")(seen).encode())
    return f"{'no ' if size <= 32_768 else ''}more than 32 KiB" if size else NOTHING


STACKS: Final = (
    Case(
        "`stack_info=True`",
        lambda log: log.info("odd", stack_info=True),
        "the stack",
        _stack,
    ),
    Case(
        "`stack_info` of 5 MB",
        made({"stack_info": _X}),
        "no more than 32 KiB",
        _stack_size,
    ),
    Case(
        "`stack_info` whose `__str__` raises",
        made({"stack_info": Saying(raising(ValueError()))}),
        '"<Saying: ValueError while reading>"',
        at("code.stacktrace"),
    ),
)
