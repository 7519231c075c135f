"""Who waits for whom and who made whom, as a tree."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loops import LOOPS

from otel_tasklog import ConfigError, TaskPlace
from otel_tasklog.live._tree import places

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from conftest import Harness
    from loops import Run

run_in = pytest.mark.parametrize("run", LOOPS)


def drawn(tree: list[TaskPlace]) -> list[str]:
    """Return a tree of which the names show the depth."""
    return [
        f"{'  ' * p.depth}{p.name}{f' ({p.again})' if p.again else ''}" for p in tree
    ]


async def ask(harness: Harness, by: str = "waits", **kwargs: Any) -> list[TaskPlace]:
    loop = asyncio.get_running_loop()
    for _ in range(10):
        await asyncio.sleep(0)
    return await asyncio.to_thread(
        lambda: harness.tasklog.task_tree(by, loop=loop, **kwargs)  # type: ignore[arg-type]
    )


async def forever() -> None:
    await asyncio.Event().wait()


def started(awaiting: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
    return asyncio.create_task(awaiting, name=name)


async def ended(*tasks: asyncio.Task[Any]) -> None:
    for each in tasks:
        each.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def gathering(*tasks: asyncio.Task[Any]) -> None:
    await asyncio.gather(*tasks)


async def waiting(*tasks: asyncio.Task[Any]) -> None:
    await asyncio.wait(tasks)


async def one(task: asyncio.Task[Any]) -> None:
    await task


async def shielding(task: asyncio.Task[Any]) -> None:
    await asyncio.shield(task)


async def timed(task: asyncio.Task[Any]) -> None:
    await asyncio.wait_for(task, 60)


async def grouping(name: str) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(forever(), name=name)


@run_in
def test_below_a_task_stand_those_that_it_waits_for(harness: Harness, run: Run) -> None:
    async def main() -> list[str]:
        a, b, c, d = [started(forever(), name) for name in "abcd"]
        tasks = [
            started(gathering(a, b), "gathering"),
            started(waiting(c), "waiting"),
            started(shielding(d), "shielding"),
            started(grouping("e"), "grouping"),
        ]
        outer = started(one(tasks[0]), "outer")
        tree = await ask(harness)
        await ended(outer, *tasks, a, b, c, d)
        return drawn([each for each in tree if each.name[:4] != "Task"])

    assert run(main()) == [
        "grouping", "  e",
        "outer", "  gathering", "    a", "    b",
        "shielding", "  d",
        "waiting", "  c",
    ]  # fmt: skip


@run_in
def test_what_wait_for_waits_for_stands_below(harness: Harness, run: Run) -> None:
    async def main() -> list[str]:
        inner = started(forever(), "inner")
        outer = started(timed(inner), "outer")
        tree = await ask(harness)
        await ended(outer, inner)
        return drawn([each for each in tree if each.name in {"inner", "outer"}])

    assert run(main()) == ["outer", "  inner"]


async def nested_gather(task: asyncio.Task[Any]) -> None:
    await asyncio.gather(asyncio.gather(task))


async def shield_of_gather(task: asyncio.Task[Any]) -> None:
    await asyncio.shield(asyncio.gather(task))


async def gather_of_shield(task: asyncio.Task[Any]) -> None:
    await asyncio.gather(asyncio.shield(asyncio.shield(task)))


async def wait_for_gather(task: asyncio.Task[Any]) -> None:
    await asyncio.wait_for(asyncio.gather(task), 60)


async def wait_for_shield(task: asyncio.Task[Any]) -> None:
    await asyncio.wait_for(asyncio.shield(task), 60)


async def wait_of_gather(task: asyncio.Task[Any]) -> None:
    await asyncio.wait([asyncio.gather(asyncio.shield(task))])


async def completed(task: asyncio.Task[Any]) -> None:
    for each in asyncio.as_completed([task]):
        await each


async def completed_gather(task: asyncio.Task[Any]) -> None:
    for each in asyncio.as_completed([asyncio.gather(asyncio.shield(task))]):
        await each


NESTED = [
    nested_gather, shield_of_gather, gather_of_shield, wait_for_gather,
    wait_for_shield, wait_of_gather, completed, completed_gather,
]  # fmt: skip


@run_in
@pytest.mark.parametrize("outer", NESTED, ids=[each.__name__ for each in NESTED])
def test_who_waits_through_several_of_asyncios_functions_is_told(
    harness: Harness, run: Run, outer: Callable[..., Coroutine[Any, Any, None]]
) -> None:
    async def main() -> tuple[list[str], list[str]]:
        inner = started(forever(), "inner")
        waiter = started(outer(inner), "outer")
        tree = await ask(harness)
        loop = asyncio.get_running_loop()
        report = await asyncio.to_thread(harness.tasklog.why, "inner", loop=loop)
        await ended(waiter, inner)
        shown = [each for each in tree if each.name in {"inner", "outer"}]
        return drawn(shown), [each.name for each in report.awaited_by]

    assert run(main()) == (["outer", "  inner"], ["outer"])


@run_in
def test_a_cycle_is_marked_and_ends_there(harness: Harness, run: Run) -> None:
    async def main() -> list[str]:
        tasks: dict[str, asyncio.Task[Any]] = {}

        async def after(name: str) -> None:
            await asyncio.sleep(0)
            await asyncio.wait([tasks[name]])

        for name, other in [("a", "b"), ("b", "c"), ("c", "a"), ("d", "b")]:
            tasks[name] = started(after(other), name)
        tree = await ask(harness)
        await ended(*tasks.values())
        return drawn([each for each in tree if each.name in "abcd"])

    assert run(main()) == ["d", "  b", "    c", "      a", "        b (cycle)"]


def test_a_task_that_awaits_itself_through_others_alone_is_a_root(
    harness: Harness,
) -> None:
    async def main() -> list[str]:
        tasks: dict[str, asyncio.Task[Any]] = {}

        async def after(name: str) -> None:
            await asyncio.sleep(0)
            await asyncio.wait([tasks[name]])

        tasks["a"] = started(after("b"), "a")
        tasks["b"] = started(after("a"), "b")
        tree = await ask(harness)
        await ended(*tasks.values())
        return drawn([each for each in tree if each.name in "ab"])

    assert asyncio.run(main()) == ["a", "  b", "    a (cycle)"]


def test_what_several_wait_for_is_told_once_with_what_is_below(
    harness: Harness,
) -> None:
    async def main() -> list[str]:
        last = started(forever(), "last")
        middle = started(one(last), "middle")
        tasks = [started(waiting(middle), name) for name in ("first", "second")]
        tree = await ask(harness)
        await ended(*tasks, middle, last)
        return drawn([each for each in tree if each.name[:4] != "Task"])

    assert asyncio.run(main()) == [
        "first", "  middle", "    last",
        "second", "  middle (above)",
    ]  # fmt: skip


def test_a_chain_of_thousands_is_told(harness: Harness) -> None:
    """No step of it is a call of the one before."""

    async def main() -> list[TaskPlace]:
        chain = [started(forever(), "chain 0")]
        for number in range(1, 3_000):
            chain.append(started(one(chain[-1]), f"chain {number}"))
        tree = await ask(harness, limit=None)
        chain[0].cancel()  # which passes on to the others
        await asyncio.gather(*chain, return_exceptions=True)
        return [each for each in tree if each.name.startswith("chain")]

    tree = asyncio.run(main())
    assert [each.depth for each in tree] == list(range(3_000))
    assert tree[-1].name == "chain 0"


def test_a_place_tells_what_the_task_waits_on(harness: Harness) -> None:
    async def numbered() -> None:
        harness.log.info("numbered")
        await forever()

    async def main() -> None:
        waits = started(numbered(), "waits")
        [place] = [each for each in await ask(harness) if each.name == "waits"]
        assert place.number == harness.last().asyncio_task_number
        assert place.coroutine.endswith("numbered")
        assert place.address == id(waits)
        assert place.wait is not None
        assert place.wait.kind == "event"
        await ended(waits)

    asyncio.run(main())


@run_in
def test_below_a_task_stand_those_that_it_made(harness: Harness, run: Run) -> None:
    async def child() -> None:
        harness.log.info("numbered")
        await forever()

    async def parent() -> None:
        harness.log.info("numbered")
        async with asyncio.TaskGroup() as group:
            for number in range(2):
                group.create_task(child(), name=f"child-{number}")

    async def main() -> list[str]:
        first, second = started(parent(), "parent"), started(forever(), "silent")
        tree = await ask(harness, by="parents")
        await ended(first, second)
        return drawn([each for each in tree if each.name[:4] != "Task"])

    assert run(main()) == ["parent", "  child-0", "  child-1", "silent"]


def test_of_a_parent_that_ended_the_children_are_roots(harness: Harness) -> None:
    async def child() -> None:
        harness.log.info("numbered")
        await forever()

    async def parent() -> asyncio.Task[None]:
        harness.log.info("numbered")
        return asyncio.create_task(child(), name="orphan")

    async def main() -> list[str]:
        orphan = await asyncio.create_task(parent())
        tree = await ask(harness, by="parents")
        await ended(orphan)
        return drawn([each for each in tree if each.name == "orphan"])

    assert asyncio.run(main()) == ["orphan"]


def test_the_limit_is_of_places(harness: Harness) -> None:
    async def main() -> None:
        tasks = [started(forever(), f"A-{number}") for number in range(5)]
        loop = asyncio.get_running_loop()
        found = harness.tasklog.task_tree(loop=loop, limit=2)
        assert drawn(found) == ["A-0", "A-1"]
        assert (found.total, found.complete) == (6, True)
        await ended(*tasks)

    asyncio.run(main())


@pytest.mark.parametrize(
    "arguments", [{"by": "names"}, {"limit": -1}], ids=["by", "limit"]
)
def test_a_question_that_means_nothing_is_refused(
    harness: Harness, arguments: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError):
        harness.tasklog.task_tree(**arguments)


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="it cannot be set there")
def test_what_asyncio_itself_knows_is_believed(harness: Harness) -> None:
    """From Python 3.14 on; a future between two tasks is passed."""

    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        inner, outer = started(forever(), "inner"), started(forever(), "outer")
        between: Any = loop.create_future()
        between._asyncio_awaited_by = {outer, between}
        known: Any = inner
        known._asyncio_awaited_by = frozenset([between])
        tree = await ask(harness)
        del known._asyncio_awaited_by, between._asyncio_awaited_by
        await ended(inner, outer)
        return drawn([each for each in tree if each.name in {"inner", "outer"}])

    assert asyncio.run(main()) == ["outer", "  inner"]


graphs = st.integers(1, 8).flatmap(
    lambda count: st.tuples(
        st.just(count),
        st.dictionaries(
            st.integers(0, count - 1),
            st.lists(st.integers(0, count - 1), unique=True, max_size=4),
        ),
    )
)


@given(graphs)
def test_each_task_is_told_once_with_all_that_is_below_it(
    graph: tuple[int, dict[int, list[int]]],
) -> None:
    count, below = graph
    tree = list(places(count, below))
    assert sorted(task for _, task, again in tree if again is None) == list(
        range(count)
    )
    path: list[int] = []
    told: dict[int, list[int]] = {task: [] for task in range(count)}
    for depth, task, again in tree:
        assert depth <= len(path)
        del path[depth:]
        if path:
            told[path[-1]].append(task)
        assert (again == "cycle") == (task in path)
        path.append(task)
    assert told == {task: below.get(task, []) for task in range(count)}
