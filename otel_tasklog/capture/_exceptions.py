"""Exceptions: a few references in the call, the text on the worker.

``traceback.TracebackException`` is never built in the call. It costs
22 microseconds and more, milliseconds for an AttributeError on Python 3.12
(it runs the application's ``__dir__``), and it stats files. The call takes the
texts that only the live exception has and, for each frame, its code object and
instruction offset. Neither exception nor frame is kept: their last reference
would die, with all their locals, on a thread that is not theirs.

What they say may be anything; what cannot be read is left out or marked.
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, cast

from otel_tasklog.capture._plain import VALUE_CHARACTERS, cut, describe, names_of

if TYPE_CHECKING:
    from types import CodeType

__all__ = [
    "CapturedException",
    "RenderedException",
    "capture_exception",
]

MAX_CHAIN: Final = 32
"""Causes, contexts and group members beyond this many are left out."""

MAX_FRAMES: Final = 1_000
"""Frames of one exception beyond this many, in the middle, are left out."""

MAX_NOTES: Final = 100
"""Notes of one exception beyond this many are left out."""

Frames: TypeAlias = "tuple[CodeType | int, ...]"
"""Each frame's code object and instruction offset, in turn. Not in pairs: each
tuple kept for the worker costs the collector, which runs in some later call."""

Parts: TypeAlias = tuple[Any, ...]
"""The first fields of a `CapturedException`, as a plain tuple."""

SYNTAX_FIELDS: Final = (
    "filename", "lineno", "text", "offset", "end_lineno", "end_offset", "msg",
)  # fmt: skip


_MORE: Final[tuple[type, ...]] = (BaseExceptionGroup, SyntaxError)
"""Exceptions that have more to say than the others."""

_LINK: Final = TracebackType


class CapturedException(NamedTuple):
    """What a live exception says of itself, and nothing that keeps it alive.

    The call makes plain tuples, which cost a fifth, and leaves off the end what
    most have not: ``CapturedException(*parts)`` names them.
    """

    kind: type[BaseException]
    text: str
    notes: tuple[str, ...]
    frames: Frames
    cause: Parts | None = None
    context: Parts | None = None
    suppress_context: bool = False
    members: tuple[Parts, ...] | None = None
    syntax: tuple[object, ...] | None = None

    @property
    def type_name(self) -> str:
        """The fully-qualified name, as ``exception.type`` has it."""
        module, name = names_of(self.kind)
        return name if module in {"builtins", "__main__"} else f"{module}.{name}"


class RenderedException(NamedTuple):
    """What is known of an exception whose stack trace is a text already."""

    type_name: str
    text: str
    stacktrace: str


def _text(value: object, what: str = "exception") -> str:
    try:
        text = str(value)
        if type(text) is not str:  # but one of the application's kind
            text = str.__str__(text)
    except Exception:  # noqa: BLE001 - what traceback prints for such a one
        return f"<{what} str() failed>"
    return text if len(text) <= VALUE_CHARACTERS else cut(text, VALUE_CHARACTERS)


def _notes(error: BaseException) -> tuple[str, ...]:
    notes = getattr(error, "__notes__", None)
    if notes is None:
        return ()
    if isinstance(notes, list | tuple):
        each = cast("list[object] | tuple[object, ...]", notes)
        return tuple(_text(note, "note") for note in each[:MAX_NOTES])
    try:
        return (repr(notes),)
    except Exception:  # noqa: BLE001 - what traceback prints for such a one
        return ("<__notes__ repr() failed>",)


def _members(error: BaseException) -> tuple[BaseException, ...] | None:
    if not issubclass(type(error), BaseExceptionGroup):
        return None
    try:
        return tuple(cast("BaseExceptionGroup[BaseException]", error).exceptions)
    except Exception:  # noqa: BLE001 - a property of the application's
        return ()


def _syntax(error: BaseException) -> tuple[object, ...]:
    fields = (getattr(error, name, None) for name in SYNTAX_FIELDS)
    return tuple(f if isinstance(f, int | None) else _text(f) for f in fields)


def capture_exception(
    error: BaseException, link: TracebackType | None
) -> tuple[Parts, int]:
    """Take from a live exception what rendering it later needs. Never raises.

    Args:
        error: The exception.
        link: Where its traceback begins.

    Returns:
        The parts of a `CapturedException`, and what they take, estimated, in bytes.
    """
    try:
        if (
            error.__cause__ is None
            and error.__context__ is None
            and not issubclass(type(error), _MORE)
        ):
            return _captured(error, link)
        return _capture_tree(error, link)
    except Exception as problem:  # noqa: BLE001 - of a property of the application's
        text, frames = describe(error, problem), _frames(link)
        return (type(error), text, (), frames), len(text) + 50 * len(frames)


class _Node:
    """One exception of a tree, while it is walked."""

    __slots__ = ("cause", "context", "error", "link", "members")

    def __init__(self, error: BaseException, link: TracebackType | None) -> None:
        self.error = error
        self.link = link
        self.cause: _Node | None = None
        self.context: _Node | None = None
        self.members: tuple[_Node, ...] | None = None


def _capture_tree(
    error: BaseException, link: TracebackType | None
) -> tuple[Parts, int]:
    # In traceback's order, which decides where an exception that is reached twice
    # is printed: last in, first out; a cause and a context once each, and the
    # members of a group always.
    root = _Node(error, link)
    nodes = [root]
    seen = {id(error)}

    def add(other: BaseException) -> _Node:
        seen.add(id(other))
        nodes.append(_Node(other, other.__traceback__))
        return nodes[-1]

    def unseen(other: BaseException | None) -> _Node | None:
        if other is None or id(other) in seen or len(nodes) >= MAX_CHAIN:
            return None
        return add(other)

    queue = [root]
    while queue:
        node = queue.pop()
        node.cause = unseen(node.error.__cause__)
        if node.cause is None and not node.error.__suppress_context__:
            node.context = unseen(node.error.__context__)
        members = _members(node.error)
        if members is not None:
            room = MAX_CHAIN - len(nodes)
            node.members = tuple(add(member) for member in members[:room])
        reached = (node.cause, node.context, *(node.members or ()))
        queue += [each for each in reached if each is not None]
    finished: dict[int, Parts] = {}

    def of(node: _Node | None) -> Parts | None:
        return finished[id(node)] if node is not None else None

    whole = 0
    for node in reversed(nodes):  # what a node refers to was added after it
        error = node.error
        followed = None
        if node.members is not None:
            followed = tuple(finished[id(member)] for member in node.members)
        syntax = _syntax(error) if issubclass(type(error), SyntaxError) else None
        own, size = _captured(error, node.link)
        finished[id(node)] = (
            *own, of(node.cause), of(node.context), error.__suppress_context__,
            followed, syntax,
        )  # fmt: skip
        whole += size
    return finished[id(root)], whole


def _frames(first: TracebackType | None) -> Frames:
    frames: list[CodeType | int] = []
    # A mock of one has no end. Compiled, a typed number would be made twice.
    link: Any = first if type(first) is _LINK else None
    while link is not None:
        frames.append(link.tb_frame.f_code)
        frames.append(link.tb_lasti)
        link = link.tb_next
    if len(frames) > 2 * MAX_FRAMES:  # a runaway recursion: its ends tell the story
        frames = frames[:MAX_FRAMES] + frames[-MAX_FRAMES:]
    return tuple(frames)


def _captured(error: BaseException, link: TracebackType | None) -> tuple[Parts, int]:
    """Take what every exception has, and its size."""
    text, frames = _text(error), _frames(link)
    size = len(text) + 50 * len(frames)
    notes: tuple[str, ...] = ()
    try:
        if hasattr(error, "__notes__"):
            notes = _notes(error)
            size += sum(map(len, notes))
    except Exception:  # noqa: BLE001 - a property, which traceback does not survive
        notes = ("<__notes__ failed>",)
    return (type(error), text, notes, frames), size
