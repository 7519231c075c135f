"""Exceptions as they come: empty, in chains, groups and circles, and out to do harm."""

from __future__ import annotations

import codecs
import sys
from typing import TYPE_CHECKING, Any, Final, NoReturn

from hostile_values import HOSTILE, Logging, refuse

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["EXCEPTIONS"]


class Odd(Exception):  # noqa: N818 - it is no error
    """Takes what it is told to be."""

    def __init__(self, *args: object, **attributes: Any) -> None:
        super().__init__(*args)
        for name, value in attributes.items():
            setattr(self, name, value)


class Textless(Exception):  # noqa: N818
    __str__ = __repr__ = refuse


class Homeless(Exception):  # noqa: N818
    __module__ = None  # type: ignore[assignment]
    __qualname__ = "\udc80 <b>"


class Unequal(Exception):  # noqa: N818
    __eq__ = __hash__ = refuse


class Logs(Exception):  # noqa: N818
    def __str__(self) -> str:
        return str(Logging())


class Group(ExceptionGroup[Exception]):
    exceptions = property(refuse)


def raised(error: BaseException, *, depth: int = 0) -> BaseException:
    """Return an exception with a traceback."""
    try:
        _raise(error, depth)
    except BaseException as caught:  # noqa: BLE001 - whatever it is
        return caught


def _raise(error: BaseException, depth: int) -> NoReturn:
    if depth:
        _raise(error, depth - 1)
    raise error


def _chain(length: int) -> BaseException:
    error: BaseException = ValueError("the first")
    for number in range(length):
        outer = RuntimeError(f"number {number}")
        outer.__cause__ = error if number % 2 else None
        outer.__context__ = error
        error = outer
    return raised(error)


def _circle() -> BaseException:
    one, other = raised(ValueError("one")), raised(KeyError("other"))
    one.__cause__, other.__context__ = other, one
    one.__context__ = one
    return one


def _tree(depth: int) -> Exception:
    if not depth:
        return OSError(2, "No such file", "\udc80")
    return ExceptionGroup(
        "g\n\udc80", [_tree(depth - 1), ValueError("é"), _chain_link()]
    )


def _chain_link() -> Exception:
    error = KeyError()
    error.__cause__ = Textless()
    return error


def _group_in_itself() -> BaseException:
    group = ExceptionGroup("round", [ValueError("leaf")])
    group.exceptions[0].__cause__ = group
    return raised(group)


def _recursion() -> BaseException:
    def deeper() -> None:
        deeper()

    try:
        deeper()
    except RecursionError as error:
        return error
    raise AssertionError


def _syntax() -> BaseException:
    try:
        compile("def f(:\n  '\udc80'", "<\udc80>", "exec")
    except (SyntaxError, UnicodeError) as error:
        return error
    raise AssertionError


def _odd_syntax() -> BaseException:
    error = SyntaxError("odd", ("f", 1, 2, "text"))
    error.text, error.offset, error.lineno = 5, "x", []  # type: ignore[assignment]
    error.filename = HOSTILE[1]()  # type: ignore[assignment]
    return error


def _decode() -> BaseException:
    try:
        codecs.decode(b"\xff" * 1_000, "utf-8")
    except UnicodeDecodeError as error:
        return error
    raise AssertionError


def _name() -> BaseException:
    try:
        sys.no_such_thing  # type: ignore[attr-defined]  # noqa: B018
    except AttributeError as error:
        error.obj = HOSTILE[1]()
        error.name = HOSTILE[0]()  # type: ignore[assignment]
        return error
    raise AssertionError


EXCEPTIONS: Final[tuple[Callable[[], BaseException], ...]] = (
    lambda: raised(ValueError("v")),
    ValueError,
    KeyError,
    lambda: KeyError("\udc80"),
    lambda: OSError(2, "No such file or directory", "a"),
    _decode,
    _syntax,
    _odd_syntax,
    _name,
    _recursion,
    lambda: raised(ValueError("deep"), depth=300),
    lambda: ValueError("x" * 1_000_000),
    lambda: ValueError(*range(10_000)),
    lambda: ValueError("\x1b[31m\n\udc80\u202e", {"password": 1}),
    lambda: ValueError(HOSTILE[1]()),
    lambda: raised(Textless()),
    Homeless,
    Unequal,
    Logs,
    lambda: Odd(__notes__=["a note", "\udc80", 5, HOSTILE[1]()]),
    lambda: Odd(__notes__="no list"),
    lambda: Odd(__notes__=HOSTILE[6]()),
    lambda: Odd(__suppress_context__=True),
    lambda: raised(_tree(4)),
    lambda: Group("g", [ValueError()]),
    lambda: ExceptionGroup("wide", [ValueError(n) for n in range(2_000)]),
    _group_in_itself,
    lambda: _chain(20),
    lambda: _chain(3_000),
    _circle,
    type("Numb", (Exception,), {"__str__": lambda _: 5}),
    KeyboardInterrupt,
    lambda: SystemExit(3),
)
"""Each makes a new one."""
