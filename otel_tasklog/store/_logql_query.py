r"""A query as LogQL, with everything of it that LogQL can express.

::

    {service_name="shop"} |~ "(?i)refused" | task_id="import-42" | severity_number >= 13
     labels                line filters      what is stored beside the line

What is cheapest for Loki comes first: labels, then what looks at the line alone, then
the other fields. A text that may also be in a traceback looks at both, which Loki can
only do where the line has a name: it gets one, in the end, and loses it again.

LogQL finds at least what the query asks for, never less: whoever reads the answer
tests each record once more. What adds no condition at all is listed in `Compiled.here`.
A part of it is negated here, never in LogQL, and only where the part finds exactly what
it should: letters without case and with several lower-case forms are where Loki finds
more, and numbers, where it counts what is no number as a match.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from otel_tasklog.store._attributes import Attribute, AttributeLike
from otel_tasklog.store._expression import And, Expression, Not, Or
from otel_tasklog.store._logql import (
    LINE,
    Condition,
    Group,
    alternatives,
    group,
    is_filterable,
)
from otel_tasklog.store._logql_terms import (
    comparison,
    glob_of,
    level_of,
    like,
    line_filter,
    texts,
)
from otel_tasklog.store._loki_records import FIXED, OneOf
from otel_tasklog.store._matching import Glob
from otel_tasklog.store._terms import (
    Hex,
    Level,
    Like,
    Message,
    Regex,
    Text,
    Time,
    Under,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from otel_tasklog.store._logql import Tree

__all__ = ["Compiled", "compiled", "inside"]

SERVICE: Final = "service_name"
"""The one label that each stream has, whatever Loki's configuration."""

IDS_BYTES: Final = 40_000
"""With more for the jobs inside a job, LogQL would be longer than Loki takes it."""

_SWAPPED: Final = {">=": "<", ">": "<=", "<": ">=", "<=": ">"}


class Compiled(NamedTuple):
    """What to ask Loki for a query.

    Attributes:
        selector: The labels, as LogQL.
        lines: Line filters, as LogQL.
        fields: Conditions of fields.
        since_ns: No record is older; None if the query does not say.
        until_ns: Every record is older; likewise.
        here: Terms of which LogQL knows nothing, as the query spells them.
    """

    selector: str
    lines: tuple[str, ...]
    fields: tuple[Tree, ...]
    since_ns: int | None
    until_ns: int | None
    here: tuple[str, ...]

    def logql(self, *more: Condition) -> str:
        """Return it as LogQL.

        Args:
            *more: Further conditions.
        """
        fields = (*self.fields, *more)
        stages = [self.selector, *self.lines]
        stages += [f"| {each}" for each in fields if not each.reads_line]
        of_line = [f"| {each}" for each in fields if each.reads_line]
        if of_line:
            stages += [f"| label_format {LINE}=`{{{{__line__}}}}`", *of_line]
            stages.append(f"| drop {LINE}")
        return " ".join(stages)


def compiled(
    expression: Expression | None,
    *,
    now_ns: int,
    families: Mapping[str, Collection[str]],
    labels: Mapping[str, str],
) -> Compiled:
    """Return what to ask Loki.

    Args:
        expression: The query, in Loki's names; None for every record.
        now_ns: From when durations count back.
        families: By a job of ``under:``, it and the jobs inside it. Of one that is not
            there, every record of a job inside another is asked for.
        labels: Of the streams to look at, besides.
    """
    return _Compiler(now_ns, families).run(expression, labels)


def inside(jobs: Collection[str], labels: Mapping[str, str]) -> Compiled:
    """Return what to ask for the records of all jobs directly inside some.

    Args:
        jobs: Their ids.
        labels: As for `compiled`.
    """
    ids = alternatives(jobs)
    fits = len(ids.encode()) <= IDS_BYTES
    parent = Condition("task_parent_id", "=~" if fits else "!=", ids if fits else "")
    everything = compiled(None, now_ns=0, families={}, labels=labels)
    return everything._replace(fields=(parent,))


class _Compiler:
    def __init__(self, now_ns: int, families: Mapping[str, Collection[str]]) -> None:
        self._now_ns = now_ns
        self._families = families
        self._here: list[str] = []
        self._since: list[int] = []
        self._until: list[int] = []

    def run(self, expression: Expression | None, labels: Mapping[str, str]) -> Compiled:
        selector = {name: Condition(name, "=", each) for name, each in labels.items()}
        lines: list[str] = []
        fields: list[Tree] = []
        for part, wanted in _conjuncts(expression, wanted=True):
            match part:
                case Time():
                    self._bound(part, wanted=wanted)
                case Message(text):
                    lines.append(line_filter(text, wanted=wanted))
                case OneOf(name="service_name", texts=(text,)) if wanted:
                    selector.setdefault(SERVICE, Condition(SERVICE, "=", text))
                    fields.append(Condition(SERVICE, "=", text))
                case _:
                    tree = self._tree(part, wanted=wanted)
                    fields += [tree] if tree is not None else []
        chosen = [*selector.values()] or [Condition(SERVICE, "=~", ".+")]
        # What a label says already needs no condition.
        fields = [each for each in fields if each not in chosen]
        return Compiled(
            f"{{{', '.join(map(str, chosen))}}}",
            tuple(lines),
            tuple(fields),
            max(self._since, default=None),
            min(self._until, default=None),
            tuple(dict.fromkeys(self._here)),
        )

    def _bound(self, time: Time, *, wanted: bool) -> None:
        at = time.when.at(self._now_ns)
        operator = time.operator if wanted else _SWAPPED[time.operator]
        bounds = self._since if operator in (">", ">=") else self._until
        bounds.append(at + (operator in (">", "<=")))

    def _tree(self, part: Expression, *, wanted: bool) -> Tree | None:
        """Return conditions for at least what a part finds, or for what it does not.

        None if there are none.
        """
        match part:
            case Not(inner):
                return self._tree(inner, wanted=not wanted)
            case And(parts) if wanted:
                return self._all(parts, wanted=True)
            case Or(parts) if not wanted:
                return self._all(parts, wanted=False)
            case And(parts) | Or(parts):
                return self._any(part, parts, wanted=wanted)
            case Level():
                return level_of(part, wanted=wanted)
            case Text() | Regex() | Message():
                return texts(part, wanted=wanted)
            case _:
                tree, is_exact_one = self._term(part)
                if tree is not None and not wanted:
                    tree = tree.opposite if is_exact_one else None
                if tree is None or not (is_exact_one or _says_all(part)):
                    self._here.append(str(part if wanted else Not(part)))
                return tree

    def _all(self, parts: Iterable[Expression], *, wanted: bool) -> Tree | None:
        found = [self._tree(part, wanted=wanted) for part in parts]
        return group("and", [each for each in found if each is not None])

    def _any(
        self, whole: Expression, parts: Iterable[Expression], *, wanted: bool
    ) -> Tree | None:
        said = len(self._here)
        found = [self._tree(part, wanted=wanted) for part in parts]
        trees = [each for each in found if each is not None]
        if len(trees) == len(found):
            return group("or", trees)
        del self._here[said:]  # all of it, then
        self._here.append(str(whole if wanted else Not(whole)))
        return None

    def _term(self, part: Expression) -> tuple[Tree | None, bool]:
        """Return conditions for at least a term, and whether they are exact."""
        match part:
            case Like():
                return like(part), True
            case Under(task_id):
                return self._under(task_id)
            case Hex(field, digits):
                name, most = ("trace_id", 32) if field == "trace" else ("span_id", 16)
                if len(digits) == most:
                    return Condition(name, "=", digits), True
                return glob_of(name, Glob((digits, ""))), field == "trace"
            case OneOf(name, texts) if _is_attribute(name):
                trees = [Condition(name, "=", text) for text in texts]
                return group("or", trees), "" not in texts
            case AttributeLike(name, glob) if _is_attribute(name):
                return glob_of(name, glob), glob.literal != ""
            case Attribute(name) if _is_attribute(name):
                return comparison(part), False
            case _:  # a time among alternatives, any attribute, a name of LogQL's own
                return None, False

    def _under(self, task_id: str) -> tuple[Tree, bool]:
        ids = alternatives(self._families.get(task_id, ()))
        if not 0 < len(ids.encode()) <= IDS_BYTES:
            inside = Condition("task_parent_id", "!=", "")
            return Group("or", (Condition("task_id", "=", task_id), inside)), False
        names = ("task_id", "task_parent_id")
        return Group("or", tuple(Condition(n, "=~", ids) for n in names)), True


def _conjuncts(
    expression: Expression | None, *, wanted: bool
) -> Iterator[tuple[Expression, bool]]:
    """Yield what must all hold, or not hold."""
    match expression:
        case None:
            return
        case Not(part):
            yield from _conjuncts(part, wanted=not wanted)
        case And(parts) if wanted:
            for part in parts:
                yield from _conjuncts(part, wanted=True)
        case Or(parts) if not wanted:
            for part in parts:
                yield from _conjuncts(part, wanted=False)
        case _:
            yield expression, wanted


def _is_attribute(name: str) -> bool:
    return is_filterable(name) and name not in FIXED


def _says_all(part: Expression) -> bool:
    """Return whether conditions for more than a term leave next to nothing to test."""
    return isinstance(part, Under | Hex | OneOf | AttributeLike) or (
        isinstance(part, Attribute) and isinstance(part.constant.value, int | float)
    )
