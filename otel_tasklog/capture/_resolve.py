"""From `Captured` to `Sealed`: everything that the call left for later.

Runs on the worker for each record once, and in a query for a record that the
worker has not reached yet, with equal results. Pure but for three bounded
tables that let records share what repeats; at worst two threads fill in the
same entry. What a `Cleaner` has to look at, and most records have nothing of it, is
known by a record's size and by the types of its values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from otel_tasklog.capture._exceptions import CapturedException, RenderedException
from otel_tasklog.capture._levels import severity_number
from otel_tasklog.capture._names import AttributeNames
from otel_tasklog.capture._plain import named, text_of
from otel_tasklog.capture._record import NO_REST, ORIGIN, SPECIAL, Origin, Rest
from otel_tasklog.capture._shape import EVENT_NAMES, Layout, Shape, Shapes, redacted
from otel_tasklog.capture._sizes import LARGE_BYTES, RECORD_BYTES
from otel_tasklog.capture._stamp import STAMP, span_of, unstamped
from otel_tasklog.capture._tasks import as_task_id
from otel_tasklog.capture._traces import render_exception
from otel_tasklog.capture._values import Value, shown, snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from otel_tasklog.capture._clean import Cleaner
    from otel_tasklog.capture._exceptions import Parts
    from otel_tasklog.capture._record import Captured, Sealed

__all__ = [
    "Resolver",
    "bare",
    "replacement",
]

# As a name of this module's own: compiled, one of another that is not has to be
# looked up each time.
_NO_REST: Final = NO_REST
_isascii: Final = str.isascii
_NUMBERS: Final = frozenset({float, bool, type(None)})
_NESTED: Final = frozenset({dict, tuple})
NOTHING: Final[Mapping[str, Any]] = {}
# What contexts and origins became, with those, by their ids, which tell them apart as
# long as they live.
_Seen: TypeAlias = "dict[int, Any]"
_SHARED_PARTS: Final = 8_192
_NO_ATTRIBUTES: Final = Shape((), AttributeNames()).layout


class Resolver:
    """Resolves records of one TaskLog. Safe to call from any thread.

    Args:
        cleaner: Sees to what a record may hold.
        names: Decides what the keys of attributes become.
    """

    def __init__(self, cleaner: Cleaner, names: AttributeNames) -> None:
        self._clean = cleaner
        limits = cleaner.limits
        # What is smaller has nothing in it that is too large.
        small = min(
            LARGE_BYTES - RECORD_BYTES,
            limits.value_characters,
            limits.attributes_bytes // 2,
            limits.body_bytes,
        )
        self._light = RECORD_BYTES + small if not cleaner.redacts else 0
        self._most = limits.attributes
        self._names_bytes = limits.attributes_bytes // 2
        self._origins: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        self._whos: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        self._shapes = Shapes(names)  # of records with attributes of a scope

    def __call__(self, batch: Iterable[Captured]) -> list[Sealed]:
        """Return the finished form of some records, in their order."""
        seen: _Seen = {}
        finished: list[Sealed] = []
        for captured in batch:
            try:
                sealed = self._resolve(captured, seen)
            except Exception as error:  # noqa: BLE001 - one must not cost the rest
                sealed = self._salvaged(captured, error, seen)
            finished.append(sealed)
        return finished

    def _salvaged(self, captured: Captured, error: Exception, seen: _Seen) -> Sealed:
        """Resolve as much of a record as can be: one made by hand holds anything."""
        try:
            origin = tuple(
                [
                    part
                    if part is None or type(part) is str or type(part) is int
                    else str(snapshot(part))
                    for part in captured[ORIGIN]
                ]
            )
            mended = (*captured[:ORIGIN], origin, *captured[ORIGIN + 1 :])
            return self._resolve(cast("Captured", mended), seen)
        except Exception:  # noqa: BLE001 - what the first one said is said
            return self._resolve(replacement(captured, error), seen)

    def _resolve(self, captured: Captured, seen: _Seen) -> Sealed:
        special = captured[SPECIAL]
        if special is not None and STAMP in special:
            captured = unstamped(captured)
        (
            sequence, timestamp_ns, origin, message, layout, values, _,
            numbers, name, told, context, error, size,
        ) = captured  # fmt: skip
        task_id = parent = number = above = span = body = None
        if told is not None:
            task_id, parent = told[0], told[1]
            if len(told) > 3:
                layout, values = self._with_bound(told[3:], layout, values)
                size += told[2]
        if numbers is not None:
            number, above = numbers
        _, names, names_bytes, secrets = layout
        if context is not None:
            known = seen.get(id(context)) or _remember(context, span_of(context), seen)
            span = known[0]
        shared = seen.get(id(origin)) or _remember(origin, self._origin(origin), seen)
        odd = (
            size > self._light
            or len(values) > self._most
            or names_bytes > self._names_bytes
        )
        if odd or type(message) is not str or not _isascii(message):
            message, body = self._text_and_body(message)
        rest = _NO_REST
        said = self._said(special) if special is not None else NOTHING
        if special is not None or body is not None:
            task_id, parent = _job(said, body, task_id, parent)
        if special is not None or error is not None:
            rest = self._rest(said, error)
        who = (task_id or name, parent, number, name, above)
        if secrets is not None:
            values = redacted(values, secrets)
        if odd or not _plain(values):
            names, values, rest = self._cleaned(names, values, rest)
        return (
            sequence,
            timestamp_ns,
            shared[0],
            self._whos.get(who) or self._new_who(who),
            span,
            message,
            body,
            names,
            values,
            rest,
        )

    def _cleaned(
        self, names: tuple[str, ...], values: tuple[Any, ...], rest: tuple[Any, ...]
    ) -> tuple[tuple[str, ...], tuple[Any, ...], tuple[Any, ...]]:
        taken = sum([len(t.encode()) for t in rest if type(t) is str])
        names, values, dropped = self._clean.attributes(names, values, taken)
        if dropped:
            rest = tuple(Rest._make(rest)._replace(dropped_attributes=dropped))
        return names, values, rest

    def _said(self, special: Mapping[str, Any]) -> Mapping[str, Any]:
        # What becomes a text of its own must not show what its attribute hides.
        return {
            key: self._clean.shown(value) if type(value) in _NESTED else value
            for key, value in special.items()
        }

    def _text_and_body(
        self, logged: str | dict[str, Value]
    ) -> tuple[str, dict[str, Value] | None]:
        if type(logged) is dict:
            return self._clean.body(logged)
        return self._clean.message(str(logged)), None

    def _rest(
        self,
        special: Mapping[str, Any],
        parts: Parts | RenderedException | None,
    ) -> tuple[Any, ...]:
        error = parts
        if error is not None and not isinstance(error, RenderedException):
            error = CapturedException(*error)
        event = special.get(EVENT_NAMES[0]) or special.get(EVENT_NAMES[1])
        stack = special.get("stack_info")
        if event is None and error is None and not stack:
            return _NO_REST
        clean = self._clean
        # The traces may take half of what is there, and leave the rest to others.
        traces = clean.limits.attributes_bytes // (4 if stack and error else 2)
        texts = clean.limits.attributes_bytes // 6
        return tuple(
            Rest(
                clean.name(text_of(event)) if event else None,
                clean.name(error.type_name) if error else None,
                clean.message(error.text, texts) if error else None,
                clean.middle(render_exception(error), traces) if error else None,
                clean.middle(str(stack), traces) if stack else None,
                None,
            )
        )

    def _with_bound(
        self,
        bound: tuple[Any, ...],
        layout: Layout,
        values: tuple[Any, ...],
    ) -> tuple[Layout, tuple[Any, ...]]:
        """Add the attributes of a scope; those of the record win."""
        merged = dict(zip(bound[::2], bound[1::2], strict=True))
        merged.update(zip(layout[0], values, strict=True))
        whole = self._shapes[(*merged,)]
        return whole.layout, whole.pick(merged)

    def _origin(self, part: tuple[Any, ...]) -> tuple[Any, ...]:
        known = self._origins.get(part)
        if known is not None:
            return known
        if len(self._origins) >= _SHARED_PARTS:
            self._origins.clear()
        origin = self._origins[part] = _clean_origin(part, self._clean.name)
        return origin

    def _new_who(self, part: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(self._whos) >= _SHARED_PARTS:
            self._whos.clear()
        who = tuple(
            p if p is None or type(p) is int else self._clean.name(named(p))
            for p in part
        )
        self._whos[part] = who
        return who


def _plain(values: tuple[Any, ...]) -> bool:
    """Say whether values go out as they are, if they are not too large."""
    for value in values:
        if type(value) is str:
            if not _isascii(value):
                return False
        elif type(value) is int:
            if value.bit_length() > 64:
                return False
        elif type(value) not in _NUMBERS:
            return False
    return True


def replacement(captured: Captured, error: Exception) -> Captured:
    """Return a record that stands in for one that could not be resolved."""
    sequence, timestamp_ns, origin, message, *_, size = captured
    rest = f"<the rest could not be resolved: {type(error).__name__}>"
    return bare(
        sequence, timestamp_ns, f"{shown(message)} {rest}", origin=origin, size=size
    )


def bare(
    sequence: int,
    timestamp_ns: int,
    message: str,
    *,
    origin: Sequence[object],
    size: int,
) -> Captured:
    """Return a record of which little is known.

    Args:
        sequence: Its number.
        timestamp_ns: When it was logged.
        message: Its text.
        origin: Of its `ORIGIN_FIELDS` at least the first three, of any type.
        size: What it takes.
    """
    name, level, severity, *_ = origin
    known = (
        named(name) if issubclass(type(name), str) else "",
        level if type(level) is int else 0,
        severity if type(severity) is str else "NOTSET",
    )
    return (
        sequence, timestamp_ns, (*known, "", 0, "", 0, "", 0), message,
        _NO_ATTRIBUTES, (), None, None, None, None, None, None, size,
    )  # fmt: skip


def _clean_origin(
    part: tuple[Any, ...], clean: Callable[[str], str]
) -> tuple[Any, ...]:
    def text(value: object) -> str:
        return clean(named(value) if issubclass(type(value), str) else str(value or ""))

    def number(value: object) -> int:  # no bool, and none that the wire has not
        return value if type(value) is int and value.bit_length() < 64 else 0

    name, level, severity, path, line, function, thread, thread_name, process = part
    return tuple(
        Origin(
            logger=text(name),
            level=level,  # an int: the handler saw to it
            severity_number=severity_number(level),
            severity_text=text(severity),
            path=text(path),
            line=number(line),
            function=text(function),
            thread_id=number(thread),
            thread_name=text(thread_name),
            process_id=number(process),
        )
    )


def _job(
    special: Mapping[str, Any], body: Value, task_id: str | None, parent: str | None
) -> tuple[str | None, str | None]:
    """Return the ids of a record's job and of the one around it."""
    own = as_task_id(special.get("task_id"))
    if own is not None and own != task_id:
        return own, task_id
    if task_id is None and type(body) is dict:
        task_id = as_task_id(body.get("task_id"))
    if task_id is None:
        task_id = as_task_id(special.get("job_id")) or as_task_id(
            special.get("asyncz_task_id")
        )
    return task_id, parent


def _remember(part: object, found: object, seen: _Seen) -> tuple[Any, ...]:
    kept = seen[id(part)] = found, part
    return kept
