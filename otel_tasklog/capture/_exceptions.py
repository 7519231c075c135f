"""Exceptions: a few references in the call, the text on the worker.

``traceback.TracebackException`` is never built in the call. It costs
22 microseconds and more, milliseconds for an AttributeError on Python 3.12
(it runs the application's ``__dir__``), and it stats files. The call takes the
texts that only the live exception has and, for each frame, its code object and
instruction offset. Neither exception nor frame is kept: their last reference
would die, with all their locals, on a thread that is not theirs.

The worker rebuilds stand-ins of the same names and texts and lets the standard
library format them, so the text is ``traceback.format_exception``'s, of the
running Python version, but for its "Did you mean" hints, which need the live
objects.
"""

from __future__ import annotations

import linecache
import traceback
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias, cast

from otel_tasklog.capture._values import VALUE_CHARACTERS, cut

if TYPE_CHECKING:
    from types import CodeType, TracebackType

__all__ = [
    "CapturedException",
    "RenderedException",
    "capture_exception",
    "render_exception",
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

_SYNTAX_FIELDS: Final = (
    "filename", "lineno", "text", "offset", "end_lineno", "end_offset", "msg",
)  # fmt: skip


class CapturedException(NamedTuple):
    """What a live exception says of itself, and nothing that keeps it alive."""

    module: str
    qualname: str
    text: str
    notes: tuple[str, ...]
    frames: Frames
    cause: CapturedException | None
    context: CapturedException | None
    suppress_context: bool
    members: tuple[CapturedException, ...] | None
    syntax: tuple[object, ...] | None
    size_bytes: int
    """What all of it takes, estimated."""

    @property
    def type_name(self) -> str:
        """The fully-qualified name, as ``exception.type`` has it."""
        if self.module in {"builtins", "__main__"}:
            return self.qualname
        return f"{self.module}.{self.qualname}"


class RenderedException(NamedTuple):
    """What is known of an exception whose stack trace is a text already."""

    type_name: str
    text: str
    stacktrace: str


def _text(value: object, what: str = "exception") -> str:
    try:
        text = str(value)
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
    if not isinstance(error, BaseExceptionGroup):
        return None
    return cast("BaseExceptionGroup[BaseException]", error).exceptions


def _syntax(error: BaseException) -> tuple[object, ...] | None:
    if not isinstance(error, SyntaxError):
        return None
    fields = (getattr(error, name, None) for name in _SYNTAX_FIELDS)
    return tuple(f if isinstance(f, int | None) else _text(f) for f in fields)


def capture_exception(
    error: BaseException, link: TracebackType | None
) -> CapturedException:
    """Take from a live exception what rendering it later needs. Never raises.

    Args:
        error: The exception.
        link: Where its traceback begins.
    """
    if (
        error.__cause__ is None
        and error.__context__ is None
        and not issubclass(type(error), BaseExceptionGroup)
    ):
        return _captured(error, link)
    return _capture_tree(error, link)


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
) -> CapturedException:
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
            room = max(MAX_CHAIN - len(nodes), 1)
            node.members = tuple(add(member) for member in members[:room])
        reached = (node.cause, node.context, *(node.members or ()))
        queue += [each for each in reached if each is not None]
    finished: dict[int, CapturedException] = {}

    def of(node: _Node | None) -> CapturedException | None:
        return finished[id(node)] if node is not None else None

    for node in reversed(nodes):  # what a node refers to was added after it
        followed = None
        if node.members is not None:
            followed = tuple(finished[id(member)] for member in node.members)
        cause, context = of(node.cause), of(node.context)
        others = [e for e in (cause, context, *(followed or ())) if e is not None]
        finished[id(node)] = _captured(
            node.error, node.link, cause, context, followed,
            size=sum([other.size_bytes for other in others]),
        )  # fmt: skip
    return finished[id(root)]


def _captured(
    error: BaseException,
    link: TracebackType | None,
    cause: CapturedException | None = None,
    context: CapturedException | None = None,
    members: tuple[CapturedException, ...] | None = None,
    *,
    size: int = 0,
) -> CapturedException:
    frames: list[CodeType | int] = []
    while link is not None:
        frames.append(link.tb_frame.f_code)
        frames.append(link.tb_lasti)
        link = link.tb_next
    if len(frames) > 2 * MAX_FRAMES:  # a runaway recursion: its ends tell the story
        frames = frames[:MAX_FRAMES] + frames[-MAX_FRAMES:]
    kind = type(error)
    text = _text(error)
    size += len(text) + 50 * len(frames)
    notes: tuple[str, ...] = ()
    if hasattr(error, "__notes__"):
        notes = _notes(error)
        size += sum(map(len, notes))
    # As the class itself would, but in a third of the time.
    return tuple.__new__(  # pyright: ignore[reportUnknownMemberType]
        CapturedException,
        (
            str(kind.__module__),
            kind.__qualname__,
            text,
            notes,
            tuple(frames),
            cause,
            context,
            error.__suppress_context__,
            members,
            _syntax(error) if issubclass(kind, SyntaxError) else None,
            size,
        ),
    )


class _StandIn(Exception):  # noqa: N818 - it is named after what it stands for
    text = ""

    def __str__(self) -> str:
        return self.text


class _SyntaxStandIn(SyntaxError):  # noqa: N818 - likewise
    pass


class _GroupStandIn(BaseExceptionGroup[BaseException]):
    own_text = ""

    def __str__(self) -> str:
        return self.own_text


def _named(base: type[BaseException], of: CapturedException) -> type[BaseException]:
    return type(of.qualname, (base,), {"__module__": of.module})


def _stand_in(captured: CapturedException) -> BaseException:
    """Build an exception without frames that prints as the captured one did."""
    error: BaseException
    if captured.members:
        members = [_stand_in(member) for member in captured.members]
        error = _named(_GroupStandIn, captured)("", members)
        error.own_text = captured.text  # type: ignore[attr-defined]
    elif captured.syntax is not None:
        error = _named(_SyntaxStandIn, captured)()
        for name, value in zip(_SYNTAX_FIELDS, captured.syntax, strict=True):
            setattr(error, name, value)
    else:
        error = _named(_StandIn, captured)()
        error.text = captured.text  # type: ignore[attr-defined]
    if captured.notes:
        error.__notes__ = list(captured.notes)
    error.__cause__ = _stand_in(captured.cause) if captured.cause else None
    error.__context__ = _stand_in(captured.context) if captured.context else None
    error.__suppress_context__ = captured.suppress_context
    return error


def _stack(frames: Frames) -> traceback.StackSummary:
    summaries: list[traceback.FrameSummary] = []
    codes = cast("tuple[CodeType, ...]", frames[::2])
    offsets = cast("tuple[int, ...]", frames[1::2])
    for code, offset in zip(codes, offsets, strict=True):
        # One position for each two bytes of code; a tb_lasti counts bytes.
        position = next(islice(code.co_positions(), offset // 2, None), None)
        line, end_line, column, end_column = position or (None, None, None, None)
        linecache.checkcache(code.co_filename)
        summaries.append(
            traceback.FrameSummary(
                code.co_filename,
                line if line is not None else code.co_firstlineno,
                code.co_name,
                lookup_line=False,
                end_lineno=end_line,
                colno=column,
                end_colno=end_column,
            )
        )
    return traceback.StackSummary.from_list(summaries)


def _place_stacks(
    printed: traceback.TracebackException, captured: CapturedException
) -> None:
    printed.stack = _stack(captured.frames)
    pairs = [
        (printed.__cause__, captured.cause),
        (printed.__context__, captured.context),
        *zip(printed.exceptions or (), captured.members or (), strict=False),
    ]
    for inner_printed, inner_captured in pairs:
        if inner_printed is not None and inner_captured is not None:
            _place_stacks(inner_printed, inner_captured)


def render_exception(captured: CapturedException | RenderedException) -> str:
    """Return the text of ``traceback.format_exception`` for a captured exception."""
    if isinstance(captured, RenderedException):
        return captured.stacktrace
    printed = traceback.TracebackException.from_exception(_stand_in(captured))
    _place_stacks(printed, captured)
    return "".join(printed.format())
