"""The text of a captured exception, as the standard library would have it.

Stand-ins of the same names and texts are formatted by ``traceback``, so the text is
``traceback.format_exception``'s, of the running Python version, but for its "Did you
mean" hints, which need the live objects.
"""

from __future__ import annotations

import linecache
import stat
import traceback
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, cast

from otel_tasklog.capture._exceptions import (
    SYNTAX_FIELDS,
    CapturedException,
    RenderedException,
)
from otel_tasklog.capture._plain import names_of

if TYPE_CHECKING:
    from types import CodeType

    from otel_tasklog.capture._exceptions import Frames

__all__ = ["render_exception", "render_frames"]


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
    module, qualname = names_of(of.kind)
    name = qualname.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
    return type(name, (base,), {"__module__": module})


def _stand_in(captured: CapturedException) -> BaseException:
    """Build an exception without frames that prints as the captured one did."""
    error: BaseException
    if captured.members:
        members = [_stand_in(CapturedException(*each)) for each in captured.members]
        error = _named(_GroupStandIn, captured)("", members)
        error.own_text = captured.text  # type: ignore[attr-defined]
    elif captured.syntax is not None:
        error = _named(_SyntaxStandIn, captured)()
        for name, value in zip(SYNTAX_FIELDS, captured.syntax, strict=True):
            setattr(error, name, value)
    else:
        error = _named(_StandIn, captured)()
        error.text = captured.text  # type: ignore[attr-defined]
    if captured.notes:
        error.__notes__ = list(captured.notes)
    cause, context = captured.cause, captured.context
    error.__cause__ = _stand_in(CapturedException(*cause)) if cause else None
    error.__context__ = _stand_in(CapturedException(*context)) if context else None
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
        readable = _can_read(code.co_filename)
        if readable:
            linecache.checkcache(code.co_filename)
        summaries.append(
            traceback.FrameSummary(
                code.co_filename,
                line if line is not None else code.co_firstlineno,
                code.co_name,
                lookup_line=False,
                line=None if readable else "",
                end_lineno=end_line,
                colno=column,
                end_colno=end_column,
            )
        )
    return traceback.StackSummary.from_list(summaries)


def render_frames(frames: Frames) -> str:
    """Return the text of ``traceback.format_stack`` for some frames. Reads files.

    Args:
        frames: The outermost first.
    """
    return "".join(_stack(frames).format())


def _can_read(name: str) -> bool:
    """Say whether ``linecache`` can be asked for a file: it would wait for a pipe."""
    try:
        return stat.S_ISREG(Path(name).stat().st_mode)
    except OSError:  # not there; it looks elsewhere
        return True
    except ValueError:  # no file can have that name, and it does not survive it
        return False


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
            _place_stacks(inner_printed, CapturedException(*inner_captured))


def render_exception(captured: CapturedException | RenderedException) -> str:
    """Return the text of ``traceback.format_exception`` for a captured exception.

    What that cannot format, a SyntaxError without a line number for example, has its
    stack and one line of its own.
    """
    if isinstance(captured, RenderedException):
        return captured.stacktrace
    try:
        printed = traceback.TracebackException.from_exception(_stand_in(captured))
        _place_stacks(printed, captured)
        return "".join(printed.format())
    except Exception:  # noqa: BLE001 - any of them, for anything may be in there
        stack = "".join(_stack(captured.frames).format())
        last = f"{captured.type_name}: {captured.text}\n"
        return f"Traceback (most recent call last):\n{stack}{last}"
