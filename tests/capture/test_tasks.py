"""Task identity: whose record it is, in every way that asyncio nests work."""

from __future__ import annotations

import asyncio
import contextvars
from typing import TYPE_CHECKING, Any

import pytest

import otel_tasklog
from otel_tasklog import ConfigError, bind, current_task_id, new_task_id, task

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from conftest import Harness


def test_outside_asyncio_and_scopes_there_is_no_task(harness: Harness) -> None:
    harness.log.info("x")
    assert harness.last().who == (None, None, None, None, None)
    assert current_task_id() is None


def test_the_scope_names_the_job_and_restores_on_exit(harness: Harness) -> None:
    with task("outer") as outer_id:
        assert outer_id == "outer"
        with task(0):
            harness.log.info("inner")
            assert (harness.last().task_id, harness.last().task_parent_id) == (
                "0",
                "outer",
            )
        harness.log.info("outer")
        assert (harness.last().task_id, harness.last().task_parent_id) == (
            "outer",
            None,
        )
    harness.log.info("none")
    assert harness.last().task_id is None


@pytest.mark.parametrize("empty", [None, ""])
def test_an_empty_id_keeps_the_enclosing_one(harness: Harness, empty: object) -> None:
    with task("a"), task(empty, attributes={"k": 1}):
        harness.log.info("x", extra={"task_id": empty})
    assert harness.last().task_id == "a"
    assert harness.last().attributes == {"k": 1}


def test_the_order_of_what_names_a_job(harness: Harness) -> None:
    async def main() -> list[str | None]:
        seen = []

        def log(message: object = "x", **extra: object) -> None:
            harness.log.info(message, extra=extra)
            seen.append(harness.last().task_id)

        log()
        log(job_id="job")
        log(asyncz_task_id="az", job_id="job")
        log({"event": "e", "task_id": "bound"}, job_id="job")
        with task("scope"):
            log({"event": "e", "task_id": "bound"})
            log(task_id="extra", job_id="job")
        return seen

    name = "the task's own name, verbatim: 日本"
    seen = asyncio.run(_named(main(), name))
    assert seen == [name, "job", "job", "bound", "scope", "extra"]


async def _named(coroutine: object, name: str) -> object:
    return await asyncio.create_task(coroutine, name=name)  # type: ignore[arg-type]


def test_an_extra_id_inside_a_scope_has_the_scope_as_parent(harness: Harness) -> None:
    with task("a"):
        harness.log.info("x", extra={"task_id": 7})
        assert harness.last().who[:2] == ("7", "a")
        harness.log.info("x", extra={"task_id": "a"})
        assert harness.last().who[:2] == ("a", None)
    assert "task_id" not in harness.last().attributes


def test_each_asyncio_task_has_a_number_and_its_parent(harness: Harness) -> None:
    async def child() -> None:
        harness.log.info("child")

    async def silent() -> None:
        await asyncio.create_task(child(), name="grandchild")

    async def main() -> None:
        harness.log.info("main")
        await asyncio.create_task(child(), name="child")
        await asyncio.create_task(silent(), name="silent")

    asyncio.run(main())
    grandchild, only_child, root = harness.tasklog.query()
    assert root.asyncio_task_parent_number is None
    assert only_child.asyncio_task_parent_number == root.asyncio_task_number
    # The one between never logged and has no number.
    assert grandchild.asyncio_task_parent_number == root.asyncio_task_number
    assert grandchild.asyncio_task_name == "grandchild"
    numbers = [r.asyncio_task_number for r in (root, only_child, grandchild)]
    assert len(set(numbers)) == 3


def test_numbers_are_never_reused(harness: Harness) -> None:
    async def one() -> None:
        harness.log.info("x")

    async def main() -> None:
        for _ in range(200):
            await asyncio.create_task(one())

    asyncio.run(main())
    records = harness.tasklog.query(limit=None)
    assert len({r.asyncio_task_number for r in records}) == 200


def test_a_name_set_later_shows_from_then_on(harness: Harness) -> None:
    async def main() -> None:
        harness.log.info("x")
        current = asyncio.current_task()
        assert current is not None
        current.set_name("renamed")
        harness.log.info("x")

    asyncio.run(main())
    after, before = harness.tasklog.query()
    assert after.asyncio_task_name == after.task_id == "renamed"
    assert before.asyncio_task_name != "renamed"
    assert before.asyncio_task_number == after.asyncio_task_number


def test_children_and_threads_inherit_the_scope(harness: Harness) -> None:
    async def child(message: str) -> None:
        harness.log.info(message)

    async def main() -> None:
        async with task("job", attributes={"user": "bob"}):
            await asyncio.gather(child("a"), child("b"))
            await asyncio.to_thread(harness.log.info, "c")

    asyncio.run(main())
    records = harness.tasklog.query(task_id="job")
    assert {r.message for r in records} == {"a", "b", "c"}
    assert all(r.attributes == {"user": "bob"} for r in records)


def test_a_cancelled_scope_restores(harness: Harness) -> None:
    async def job(entered: asyncio.Event) -> None:
        try:
            async with task("job"):
                entered.set()
                await asyncio.Event().wait()
        finally:
            harness.log.info("after")

    async def main() -> None:
        entered = asyncio.Event()
        running = asyncio.create_task(job(entered), name="outer")
        await entered.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(main())
    assert harness.last().task_id == "outer"


def test_leaving_in_another_context_never_raises() -> None:
    """As an async generator's clean-up or a sync yield-dependency does."""

    def dependency() -> Iterator[None]:
        with task("job"), bind(k=1):
            yield

    steps = dependency()
    contextvars.copy_context().run(next, steps)
    contextvars.copy_context().run(next, steps, None)

    async def rows() -> AsyncIterator[int]:
        async with task("rows"):
            yield 1
            yield 2

    async def main() -> None:
        generator = rows()
        assert await asyncio.create_task(anext(generator)) == 1  # type: ignore[arg-type]
        await asyncio.create_task(generator.aclose())  # type: ignore[attr-defined]

    asyncio.run(main())


def test_one_scope_object_can_be_entered_again(harness: Harness) -> None:
    scope = task("again")
    with scope, scope:
        harness.log.info("x")
    assert harness.last().who[:2] == ("again", "again")
    with scope:
        assert current_task_id() == "again"
    assert current_task_id() is None


def test_decorated_functions_run_each_call_in_a_scope_of_its_own() -> None:
    @task(lambda order, **_: f"order-{order}")
    async def charge(order: int, *, wait: asyncio.Event) -> str | None:
        await wait.wait()
        return current_task_id()

    @task("fixed")
    def plain() -> str | None:
        """The docstring stays."""
        return current_task_id()

    async def main() -> list[str | None]:
        wait = asyncio.Event()
        calls = asyncio.gather(*(charge(i, wait=wait) for i in range(3)))
        asyncio.get_running_loop().call_soon(wait.set)
        return list(await calls)

    assert asyncio.run(main()) == ["order-0", "order-1", "order-2"]
    assert plain() == "fixed"
    assert plain.__doc__ == "The docstring stays."


def test_misused_scopes_say_what_to_do() -> None:
    with pytest.raises(ConfigError, match="as a decorator"), task(lambda: "x"):
        pass

    with pytest.raises(ConfigError, match="no generator"):

        @task("x")
        def generator() -> Iterator[int]:
            yield 1


def test_what_is_bound_is_never_taken_for_what_a_record_has(harness: Harness) -> None:
    numbered: dict[Any, object] = {1: "a"}
    with task("job", attributes=numbered), bind(message="m", asctime="t", name="n"):
        harness.log.info("text")
    assert harness.last().attributes == {
        "1": "a", "extra.message": "m", "extra.asctime": "t", "name": "n",
    }  # fmt: skip


def test_bind_lasts_for_the_context_or_the_block(harness: Harness) -> None:
    def in_context() -> None:
        bind(a=1)
        with bind(b=[2]):
            harness.log.info("x", extra={"a": "extra wins"})
        harness.log.info("y")

    contextvars.copy_context().run(in_context)
    harness.log.info("z")
    z, y, x = harness.tasklog.query()
    assert x.attributes == {"a": "extra wins", "b": (2,)}
    assert y.attributes == {"a": 1}
    assert z.attributes == {}


def test_a_job_is_named_by_task_alone() -> None:
    with pytest.raises(ConfigError, match=r"task\(id\)"):
        bind(task_id="x")
    with pytest.raises(ConfigError, match=r"task\(id\)"):
        task("a", attributes={"task_id": "x"})


def test_one_scope_object_serves_several_tasks_at_once(harness: Harness) -> None:
    scope = task("shared")

    async def job(both: asyncio.Barrier) -> str | None:
        async with scope:
            await both.wait()
        await both.wait()
        return current_task_id()

    async def main() -> list[str | None]:
        both = asyncio.Barrier(2)
        async with asyncio.TaskGroup() as group:
            jobs = [group.create_task(job(both), name=f"n{i}") for i in range(2)]
        return [job.result() for job in jobs]

    assert asyncio.run(main()) == ["n0", "n1"]


def test_bound_values_are_copied(harness: Harness) -> None:
    items = [1]
    with bind(items=items):
        items.append(2)
        harness.log.info("x")
    assert harness.last().attributes == {"items": (1,)}


def test_new_ids_differ_and_carry_their_prefix() -> None:
    first, second = new_task_id("job"), new_task_id("job")
    assert first != second
    assert first.startswith("job-")
    assert otel_tasklog.new_task_id().startswith("task-")
