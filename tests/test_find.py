"""Which task a word means, and which records are its own."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Self

import pytest
from opentelemetry.sdk.trace import TracerProvider

import otel_tasklog
from otel_tasklog import ConfigError, FoundTask, Query, TaskNotFoundError, task
from otel_tasklog._find import LOWEST_ADDRESS

if TYPE_CHECKING:
    from conftest import Harness


async def forever() -> None:
    await asyncio.Event().wait()


class Shop:
    """A worker, live or not, whose records are of a job of another name."""

    def __init__(self, harness: Harness) -> None:
        self.log = harness.log
        self.tasklog = harness.tasklog
        self.tasks: list[asyncio.Task[Any]] = []

    async def work(self, job: str | None, *, on: bool = True) -> None:
        with task(job):
            self.log.info("working")
            if on:
                await forever()

    async def start(self, name: str, job: str | None = None, *, on: bool = True) -> int:
        """Return the number of a new worker."""
        self.tasks.append(asyncio.create_task(self.work(job, on=on), name=name))
        for _ in range(3):
            await asyncio.sleep(0)
        number = self.tasklog.query(limit=1)[0].asyncio_task_number
        assert number is not None
        return number

    def find(self, wanted: Any) -> FoundTask:
        return self.tasklog.find_task(wanted, loop=asyncio.get_running_loop())

    def messages(self, found: FoundTask) -> list[tuple[str | None, str | None]]:
        """Return whose records are found: their jobs and tasks."""
        records = self.tasklog.query(where=found.where)
        return [(each.task_id, each.asyncio_task_name) for each in records]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *raised: object) -> None:
        for each in self.tasks:
            each.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


def test_a_job_is_found_by_its_id(harness: Harness) -> None:
    async def main() -> None:
        async with Shop(harness) as shop:
            number = await shop.start("worker", "order-1")
            await shop.start("other", "order-2")
            found = shop.find("order-1")
            assert found.what == "job order-1"
            assert found.live == ((number, "worker"),)
            assert shop.messages(found) == [("order-1", "worker")]
            assert str(found.where) == "task:order-1"
            assert found.hint == ""

    asyncio.run(main())


def test_a_job_that_did_not_log_is_found_while_a_task_is_at_it(
    harness: Harness,
) -> None:
    async def silent() -> None:
        with task("order-1"):
            await forever()

    async def main() -> None:
        async with Shop(harness) as shop:
            shop.tasks.append(asyncio.create_task(silent(), name="worker"))
            await asyncio.sleep(0)
            assert [each.name for each in shop.find("order-1").live] == ["worker"]

    asyncio.run(main())


def test_of_a_job_the_tasks_that_left_it_are_not_told(harness: Harness) -> None:
    async def leaves() -> None:
        with task("order-1"):
            harness.log.info("working")
        await forever()

    async def main() -> None:
        async with Shop(harness) as shop:
            shop.tasks.append(asyncio.create_task(leaves(), name="worker"))
            await asyncio.sleep(0)
            assert shop.find("order-1").live == ()

    asyncio.run(main())


def test_a_task_is_found_by_its_name(harness: Harness) -> None:
    async def main() -> None:
        async with Shop(harness) as shop:
            number = await shop.start("worker", "order-1")
            found = shop.find("worker")
            assert found.what == f"task #{number} worker"
            assert found.live == ((number, "worker"),)
            assert shop.messages(found) == [("order-1", "worker")]

    asyncio.run(main())


def test_a_task_that_ended_is_found_by_its_name(harness: Harness) -> None:
    async def main() -> None:
        async with Shop(harness) as shop:
            number = await shop.start("worker", "order-1", on=False)
            found = shop.find("worker")
            assert found.what == f"task #{number} worker, which has ended"
            assert found.live == ()
            assert shop.messages(found) == [("order-1", "worker")]

    asyncio.run(main())


def test_tasks_of_one_name_are_found_together(harness: Harness) -> None:
    async def main() -> None:
        async with Shop(harness) as shop:
            numbers = [await shop.start("worker", f"order-{n}") for n in range(3)]
            await shop.start("worker", "order-3", on=False)
            await shop.start("other", "order-4")
            found = shop.find("worker")
            assert found.what == "4 tasks called worker"
            assert [each.number for each in found.live] == numbers
            assert {name for _, name in shop.messages(found)} == {"worker"}
            assert len(shop.messages(found)) == 4
            again = Query.parse(str(found.where))  # as anybody may type it
            assert len(shop.tasklog.query(where=again.where)) == 4
            assert shop.tasklog.query("order", where=found.where) == []

    asyncio.run(main())


def test_a_task_that_was_renamed_is_found_by_both_names(harness: Harness) -> None:
    async def main() -> None:
        async with Shop(harness) as shop:
            number = await shop.start("before", "order-1")
            shop.tasks[0].set_name("after")
            for name in ("before", "after"):
                assert shop.messages(shop.find(name)) == [("order-1", "before")]
            assert shop.find("after").live == ((number, "after"),)

    asyncio.run(main())


def test_a_task_without_a_number_has_no_records(harness: Harness) -> None:
    async def main() -> None:
        async with Shop(harness) as shop:
            silent = asyncio.create_task(forever(), name="silent")
            shop.tasks.append(silent)
            for wanted in ("silent", str(id(silent)), id(silent)):
                found = shop.find(wanted)
                assert (found.what, found.where) == ("task silent", None)
                assert found.live == ((None, "silent"),)

    asyncio.run(main())


def test_a_task_is_found_by_its_number(harness: Harness) -> None:
    async def main() -> None:
        async with Shop(harness) as shop:
            number = await shop.start("worker", "order-1")
            for wanted in (f"#{number}", str(number), number):
                found = shop.find(wanted)
                assert found.what == f"task #{number} worker"
                assert found.live == ((number, "worker"),)
                assert shop.messages(found) == [("order-1", "worker")]
            shop.tasks.pop().cancel()
            await asyncio.sleep(0.01)
            found = shop.find(number)
            assert found.what == f"task #{number} worker, which has ended"
            assert shop.messages(found) == [("order-1", "worker")]

    asyncio.run(main())


def test_what_the_application_calls_so_goes_before_a_number(harness: Harness) -> None:
    async def main() -> None:
        async with Shop(harness) as shop:
            number = await shop.start("worker", "order-1")
            await shop.start("other", str(number))
            found = shop.find(str(number))
            assert found.what == f"job {number}"
            assert found.hint == f"#{number} is the task of that number"
            assert shop.find(f"#{number}").what == f"task #{number} worker"

    asyncio.run(main())


def test_a_task_that_is_called_by_its_number_could_mean_nothing_else(
    harness: Harness,
) -> None:
    async def main() -> None:
        async with Shop(harness) as shop:
            number = await shop.start("worker", "order-1")
            shop.tasks[0].set_name(str(number))
            found = shop.find(str(number))
            assert (found.what, found.hint) == (f"task #{number} {number}", "")

    asyncio.run(main())


def test_an_address_counts_only_while_its_task_is_alive(harness: Harness) -> None:
    async def main() -> None:
        async with Shop(harness) as shop:
            number = await shop.start("worker", "order-1")
            address = id(shop.tasks[0])
            assert address >= LOWEST_ADDRESS
            assert shop.find(str(address)).what == f"task #{number} worker"
            shop.tasks[0].cancel()
            await asyncio.gather(*shop.tasks, return_exceptions=True)
            for wanted in (str(address), address):
                with pytest.raises(TaskNotFoundError) as refused:
                    shop.find(wanted)
                assert str(refused.value) == (
                    f"no live task has the Task ID {address}: its task has ended, and "
                    "another may get the same ID; ask by job, name or #number"
                )

    asyncio.run(main())


def test_a_trace_is_found_by_its_id(harness: Harness) -> None:
    tracer = TracerProvider().get_tracer("test")

    async def traced() -> None:
        with tracer.start_as_current_span("span"):
            harness.log.info("traced")
            await forever()

    async def main() -> None:
        async with Shop(harness) as shop:
            shop.tasks.append(asyncio.create_task(traced(), name="traced"))
            await asyncio.sleep(0)
            await shop.start("other")
            trace_id = shop.tasklog.query("traced")[0].trace_id
            assert trace_id is not None
            found = shop.find(trace_id.upper())
            assert found.what == f"trace {trace_id}"
            assert [each.name for each in found.live] == ["traced"]
            assert [name for _, name in shop.messages(found)] == ["traced"]

    asyncio.run(main())


UNKNOWN: list[tuple[Any, str]] = [
    ("nix", "nothing is called nix: tried"),
    ("", "nothing is called "),
    ("#99999999", "no live task and no record in memory has the number #99999999"),
    ("#x", "no live task and no record in memory has the number #x"),
    (99999999, "no live task has the Task ID 99999999"),
    (7_777_777, "no live task and no record in memory has the number #7777777"),
    ("4bf92f3577b34da6a3ce929d0e0e4736", "nothing is called 4bf9"),
    ("\x1b[2J", "nothing is called \\x1b[2J"),
    ("9" * 30, "nothing is called 999"),
]


@pytest.mark.parametrize(
    ("wanted", "said"), UNKNOWN, ids=[repr(wanted) for wanted, _ in UNKNOWN]
)
def test_what_means_nothing_is_said(harness: Harness, wanted: Any, said: str) -> None:
    with pytest.raises(TaskNotFoundError) as refused:
        harness.tasklog.find_task(wanted)
    assert str(refused.value).startswith(said)


def test_what_is_neither_text_nor_number_is_refused(harness: Harness) -> None:
    with pytest.raises(ConfigError, match="task="):
        harness.tasklog.find_task(None)  # type: ignore[arg-type]


def test_names_are_harmless_on_a_terminal(harness: Harness) -> None:
    async def main() -> None:
        async with Shop(harness) as shop:
            await shop.start("\x1b[2J", "order\n1")
            assert "\x1b" not in shop.find("\x1b[2J").what
            assert shop.find("order\n1").what == "job order\\n1"

    asyncio.run(main())


def test_what_is_found_can_be_followed(harness: Harness) -> None:
    async def main() -> None:
        async with Shop(harness) as shop:
            await shop.start("worker", "order-1")
            found = shop.find("order-1")
            follower = shop.tasklog.follow("level>=warning", where=found.where)
            with otel_tasklog.task("order-1"):
                harness.log.log(logging.ERROR, "seen")
            assert (await anext(follower)).message == "seen"
            follower.close()

    asyncio.run(main())
