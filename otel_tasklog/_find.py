"""Which task a word means, and which records are its own."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn

from otel_tasklog._errors import ConfigError, TaskNotFoundError
from otel_tasklog._text import visible
from otel_tasklog.capture._record import WHO, Who
from otel_tasklog.capture._tasks import known_cell
from otel_tasklog.live._alive import is_at, is_inside
from otel_tasklog.live._await_chain import name_of
from otel_tasklog.live._slices import in_slices
from otel_tasklog.live._tasks import Rows, number_of
from otel_tasklog.store._expression import Or
from otel_tasklog.store._matching import Glob
from otel_tasklog.store._query import Query
from otel_tasklog.store._tallies import add_up, tallied
from otel_tasklog.store._terms import Hex, Like

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from otel_tasklog.live._await_chain import Task
    from otel_tasklog.live._tasks import Said, Seen
    from otel_tasklog.live._waits import AwaitedTask
    from otel_tasklog.store._expression import Evaluation, Expression, Test
    from otel_tasklog.store._memory import Ring

__all__ = ["Finder", "FoundTask", "Meaning"]

LOWEST_ADDRESS: Final = 1 << 24
"""Digits at or above this can be an ``id(task)``; our numbers start at 1."""

_DIGITS: Final = re.compile(r"[0-9]{1,20}")
_TRACE_ID: Final = re.compile(r"[0-9a-fA-F]{32}")
_NUMBER: Final = Who._fields.index("number")
_NAME: Final = Who._fields.index("name")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class FoundTask:
    """What a word means.

    Attributes:
        what: A phrase for it, harmless on a terminal, such as ``job order-1`` or
            ``task #4 worker-1, which has ended``.
        where: Which records are its own, to be given as ``where=`` to `TaskLog.query`
            or `TaskLog.follow`; its text is that of a query. None if there can be
            none: of a task that has no number yet.
        live: The live tasks that it means, by number.
        hint: What else it could have meant, or the empty text.
    """

    what: str
    where: Expression | None
    live: tuple[AwaitedTask, ...]
    hint: str


class Meaning(NamedTuple):
    """The same, with the tasks themselves, and with those that the hint is of."""

    what: str
    where: Expression | None
    tasks: Sequence[Seen]
    hint: str = ""
    also: Sequence[Seen] = ()


class _AnyTask(Or):
    """One of many asyncio tasks; as any OR of their numbers, but found in a set."""

    __slots__ = ()

    @classmethod
    def of(cls, numbers: Collection[int]) -> Expression:
        """Return an expression for the records of one or more tasks."""
        first, *others = (Like("asyncio", Glob((str(n),))) for n in sorted(numbers))
        return cls((first, *others)) if others else first

    def compile(self, evaluation: Evaluation) -> Test:  # noqa: ARG002
        """Return the test of the task's number."""
        texts = {part.glob.literal for part in self.parts if isinstance(part, Like)}
        return lambda record: str(record[WHO][_NUMBER]) in texts


class Finder:
    """Looks for tasks among those that are alive and in the records. Use it once.

    Args:
        ring: The records.
        alive: The live tasks.
        clean: Makes of a name or an id what its records have.
    """

    def __init__(
        self, ring: Ring, alive: Sequence[Seen], clean: Callable[[str], str]
    ) -> None:
        self._ring = ring
        self._alive = alive
        self._clean = clean

    def find(self, wanted: int | str) -> Meaning:
        """Return what a word means.

        The application's own names come first, for ``#4`` always means the number: a
        job's id, a task's name, then the Task ID of ``ps``, then a number without its
        ``#``, then a trace. A Task ID counts only while its task is alive. It is a
        memory address, which the next task is likely to get.

        Args:
            wanted: The word; or a number.

        Raises:
            TaskNotFoundError: It means nothing.
            ConfigError: It is neither a text nor a number.
        """
        if isinstance(wanted, int):
            found = self._of_number(wanted) or self._of_address(wanted)
            text = str(wanted) if wanted >= LOWEST_ADDRESS else f"#{wanted}"
            return found or _refuse(text)
        if not isinstance(wanted, str):
            raise ConfigError("task", wanted, "a text, a number or an asyncio.Task")
        if wanted.startswith("#"):
            return self._of_number(_number(wanted[1:])) or _refuse(wanted)
        number = _number(wanted)
        named = self._of_job(wanted) or self._of_name(wanted)
        if named is not None:
            numbered = self._of_number(number)
            if numbered is None or number in map(number_of, named.tasks):
                return named
            hint = f"#{number} is the task of that number"
            return named._replace(hint=hint, also=numbered.tasks)
        return (
            self._of_address(number)
            or self._of_number(number)
            or self._of_trace(wanted)
            or _refuse(wanted)
        )

    def _of_job(self, job: str) -> Meaning | None:
        said = self._said(Query(task_id=job, limit=None))
        clean = self._clean
        tasks = self._those(
            lambda seen, task: (
                (number_of(seen) in said and is_at(task, job, clean))
                or is_inside(known_cell(task), job, clean)
            )
        )
        if not tasks and not self._ring.select(Query(task_id=job, limit=1)):
            return None
        return Meaning(f"job {visible(job)}", Like("task", Glob((job,))), tasks)

    def _of_name(self, name: str) -> Meaning | None:
        tasks = self._those(lambda _, task: self._clean(name_of(task)) == name)
        said = add_up(self._ring.tallied())
        numbers = {n for n, own in said.items() if own[2][WHO][_NAME] == name}
        own = [*map(number_of, tasks)]
        numbers |= {number for number in own if number is not None}
        if not tasks and not numbers:
            return None
        where = _AnyTask.of(numbers) if numbers else None
        unnumbered = own.count(None)
        count = len(numbers) + unnumbered
        if count > 1:
            return Meaning(f"{count} tasks called {visible(name)}", where, tasks)
        return Meaning(_phrase(next(iter(numbers), None), name, tasks), where, tasks)

    def _of_number(self, number: int | None) -> Meaning | None:
        if number is None:
            return None
        for seen in self._those(lambda seen, _: number_of(seen) == number):
            return self.of_task(seen)
        said = add_up(self._ring.tallied(), [number]).get(number)
        if said is None:
            return None
        name = said[2][WHO][_NAME] or ""
        return Meaning(_phrase(number, name, []), _AnyTask.of([number]), [])

    def _of_address(self, address: int | None) -> Meaning | None:
        if address is None:
            return None
        for seen in self._those(lambda _, task: id(task) == address):
            return self.of_task(seen)
        return None

    def of_task(self, seen: Seen) -> Meaning:
        """Return the meaning of a live task itself."""
        task = seen()
        name = self._clean(name_of(task)) if task is not None else ""
        number = number_of(seen)
        where = _AnyTask.of([number]) if number is not None else None
        return Meaning(_phrase(number, name, [seen]), where, [seen])

    def _of_trace(self, trace_id: str) -> Meaning | None:
        if not _TRACE_ID.fullmatch(trace_id):
            return None
        query = Query(trace_id=trace_id, limit=None)
        if not self._ring.select(dataclasses.replace(query, limit=1)):
            return None
        said = self._said(query)
        tasks = [seen for seen in self._alive if number_of(seen) in said]
        return Meaning(f"trace {trace_id.lower()}", Hex("trace", trace_id), tasks)

    def _those(self, test: Callable[[Seen, Task], bool]) -> list[Seen]:
        return [seen for seen in in_slices(self._alive) if _passes(seen, test)]

    def _said(self, query: Query) -> Mapping[int, Said]:
        """Return what the records say of each live task that a query finds."""
        numbers = Rows.of(self._alive).numbers
        return add_up(tallied(self._ring.search(query)), numbers)


def _passes(seen: Seen, test: Callable[[Seen, Task], bool]) -> bool:
    task = seen()
    return task is not None and test(seen, task)


def _number(text: str) -> int | None:
    return int(text) if _DIGITS.fullmatch(text) else None


def _phrase(number: int | None, name: str, alive: Collection[Seen]) -> str:
    called = visible(name) if number is None else f"#{number} {visible(name)}"
    return f"task {called.rstrip()}{'' if alive else ', which has ended'}"


def _refuse(wanted: str) -> NoReturn:
    shown, number = visible(wanted), _number(wanted)
    if number is not None and number >= LOWEST_ADDRESS:
        raise TaskNotFoundError(
            f"no live task has the Task ID {shown}: its task has ended, and another "
            "may get the same ID; ask by job, name or #number"
        )
    if wanted.startswith("#"):
        raise TaskNotFoundError(
            f"no live task and no record in memory has the number {shown}"
        )
    raise TaskNotFoundError(
        f"nothing is called {shown}: tried jobs, task names and traces of the records "
        "in memory, and names, numbers and Task IDs of live tasks"
    )
