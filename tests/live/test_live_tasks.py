"""The list of live tasks, asked for from another thread while their loop runs."""

from __future__ import annotations

import asyncio
import gc
import re
import threading
import time
import weakref
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Self

import pytest
from loops import LOOPS

from otel_tasklog import (
    Config,
    ConfigError,
    Listing,
    LiveTask,
    QueryError,
    TaskLog,
    task,
)
from otel_tasklog.capture import _tasks as capture_tasks
from otel_tasklog.live import _slices, _tasks

if TYPE_CHECKING:
    from conftest import Harness
    from loops import Run

    from otel_tasklog.live._tasks import Order

run_in = pytest.mark.parametrize("run", LOOPS)


class Workers:
    """Live tasks with names, that say something and wait."""

    def __init__(self, harness: Harness) -> None:
        self.log = harness.log
        self.tasklog = harness.tasklog
        self.tasks: list[asyncio.Task[Any]] = []

    async def start(self, name: str, working: Coroutine[Any, Any, Any]) -> None:
        self.tasks.append(asyncio.create_task(working, name=name))
        for _ in range(5):
            await asyncio.sleep(0)

    async def says(self, *levels: int) -> None:
        for level in levels:
            self.log.log(level, "at %d", level)
        await asyncio.Event().wait()

    async def ask(self, *args: Any, **kwargs: Any) -> Listing[LiveTask]:
        loop = asyncio.get_running_loop()
        return await asyncio.to_thread(
            lambda: self.tasklog.live_tasks(*args, loop=loop, **kwargs)
        )

    async def names(self, *args: Any, **kwargs: Any) -> list[str]:
        found = await self.ask(*args, **kwargs)
        return [each.name for each in found if each.name != "main"]

    async def __aenter__(self) -> Self:
        current = asyncio.current_task()
        assert current is not None
        current.set_name("main")
        return self

    async def __aexit__(self, *raised: object) -> None:
        for each in self.tasks:
            each.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


@run_in
def test_a_task_is_told_with_what_its_records_say(harness: Harness, run: Run) -> None:
    async def main() -> None:
        async with Workers(harness) as workers:
            before_ns = time.time_ns()
            await workers.start("loud", workers.says(20, 40, 10))
            [loud] = [each for each in await workers.ask() if each.name == "loud"]
            record = harness.last()
            assert loud.number == record.asyncio_task_number
            assert loud.parent is None
            assert loud.task_id == "loud"
            assert loud.coroutine == "Workers.says"
            assert loud.address == id(workers.tasks[0])
            assert loud.wait is not None
            assert loud.wait.kind == "event"
            assert loud.numbered_ns is not None
            assert before_ns <= loud.numbered_ns <= time.time_ns()
            assert (loud.records, loud.worst, loud.last) == (3, "ERROR", record)

    run(main())


@run_in
def test_a_task_that_never_logged_is_told_and_not_numbered_by_that(
    harness: Harness, run: Run
) -> None:
    async def main() -> None:
        async with Workers(harness) as workers:
            await workers.start("silent", workers.says())
            for _ in range(2):
                [silent] = [e for e in await workers.ask() if e.name == "silent"]
                assert (silent.number, silent.parent, silent.task_id) == (None,) * 3
                assert (silent.numbered_ns, silent.records) == (None, 0)
                assert (silent.worst, silent.last) == (None, None)

    run(main())


def test_a_child_names_its_parent(harness: Harness) -> None:
    async def parent(workers: Workers) -> None:
        harness.log.info("numbered")
        await workers.start("child", workers.says(20))
        await asyncio.Event().wait()

    async def main() -> None:
        async with Workers(harness) as workers:
            await workers.start("parent", parent(workers))
            by_name = {each.name: each for each in await workers.ask()}
            assert by_name["child"].parent == by_name["parent"].number

    asyncio.run(main())


def test_a_task_is_at_the_job_of_its_scope_until_it_leaves_that(
    harness: Harness,
) -> None:
    turns = [asyncio.Event() for _ in range(2)]

    async def work() -> None:
        with task("order-1"):
            await turns[0].wait()
            harness.log.info("worked")
        await turns[1].wait()

    async def main() -> None:
        async with Workers(harness) as workers:
            await workers.start("worker", work())
            [worker] = [each for each in await workers.ask() if each.name == "worker"]
            assert (worker.task_id, worker.records) == ("order-1", 0)
            turns[0].set()
            for _ in range(5):
                await asyncio.sleep(0)
            [worker] = [each for each in await workers.ask() if each.name == "worker"]
            assert (worker.task_id, worker.records) == (None, 1)

    asyncio.run(main())


def test_with_a_search_only_tasks_with_such_a_record_are_there(
    harness: Harness,
) -> None:
    async def main() -> None:
        async with Workers(harness) as workers:
            await workers.start("good", workers.says(20, 20))
            await workers.start("bad", workers.says(20, 40))
            await workers.start("silent", workers.says())
            assert await workers.names("level>=error") == ["bad"]
            assert await workers.names(min_level="ERROR") == ["bad"]
            assert await workers.names("level:info", task_id="good") == ["good"]
            assert await workers.names("nothing") == []
            assert await workers.names() == ["good", "bad", "silent"]
            [bad] = await workers.ask("level:info", task_id="bad")
            assert (bad.records, bad.worst) == (1, "INFO")
            assert bad.last is not None
            assert bad.last.level == 20

    asyncio.run(main())


ORDERS = {
    "number": ["w-10", "w-9", "w-8", "silent-9", "silent-10"],
    "name": ["silent-9", "silent-10", "w-8", "w-9", "w-10"],
    "records": ["w-9", "w-10", "w-8", "silent-9", "silent-10"],
    "worst": ["w-8", "w-9", "w-10", "silent-9", "silent-10"],
    "silent": ["w-10", "w-9", "w-8", "silent-9", "silent-10"],
}


@pytest.mark.parametrize("sort", sorted(ORDERS))
def test_live_tasks_are_sorted(harness: Harness, sort: str) -> None:
    async def main() -> None:
        async with Workers(harness) as workers:
            await workers.start("w-10", workers.says(20, 20))
            await workers.start("w-9", workers.says(30, 20, 20))
            await workers.start("w-8", workers.says(40))
            await workers.start("silent-10", workers.says())
            await workers.start("silent-9", workers.says())
            names = await workers.names(sort=sort)
            unnumbered = slice(3, None) if sort != "name" else slice(0, 0)
            expected = ORDERS[sort]
            if sort in {"number", "name"}:
                assert names == expected
            else:  # those without a record are in no order
                assert names[:3] == expected[:3]
                assert set(names[unnumbered]) == set(expected[3:])

    asyncio.run(main())


def test_tasks_that_only_wait_for_their_turn_can_be_left_out(
    harness: Harness,
) -> None:
    async def spin() -> None:
        while True:  # noqa: ASYNC110 - it is to be ready, not to wait
            await asyncio.sleep(0)

    async def main() -> None:
        async with Workers(harness) as workers:
            await workers.start("spinning", spin())
            await workers.start("waiting", workers.says())
            # In its own thread, so that nothing goes on meanwhile.
            found = harness.tasklog.live_tasks(waiting=True)
            assert [each.name for each in found] == ["waiting"]
            assert found.total == 1

    asyncio.run(main())


def test_tasks_that_said_something_lately_can_be_left_out(harness: Harness) -> None:
    async def main() -> None:
        async with Workers(harness) as workers:
            await workers.start("loud", workers.says(20))
            await workers.start("silent", workers.says())
            assert await workers.names(silent_seconds=60) == ["silent"]
            assert await workers.names(silent_seconds=1e-9) == ["loud", "silent"]
            assert await workers.names("at", silent_seconds=1e-9) == ["loud"]

    asyncio.run(main())


def test_the_limit_is_of_what_is_listed(harness: Harness) -> None:
    async def main() -> None:
        async with Workers(harness) as workers:
            for number in range(5):
                await workers.start(f"w-{number}", workers.says(20))
            found = await workers.ask(limit=2)
            assert [each.name for each in found] == ["w-0", "w-1"]
            assert (found.total, found.complete) == (6, True)
            assert len(await workers.ask(limit=None)) == 6
            assert list(await workers.ask(limit=0)) == []

    asyncio.run(main())


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"sort": "age"}, "sort='age': expected one of 'number', 'name'"),
    ({"silent_seconds": 0}, "silent_seconds=0: expected a number above 0"),
    ({"silent_seconds": "30s"}, "silent_seconds='30s'"),
    ({"limit": -1}, "limit=-1"),
    ({"loop": 3}, "loop=3: expected an asyncio event loop, or None"),
    ({"timeout_seconds": 0}, "timeout_seconds=0"),
    ({"taskid": "a"}, "did you mean 'task_id'"),
]


@pytest.mark.parametrize(
    ("arguments", "said"), REFUSED, ids=[said for _, said in REFUSED]
)
def test_a_question_that_means_nothing_is_refused(
    harness: Harness, arguments: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        harness.tasklog.live_tasks(**arguments)
    assert said in str(refused.value)


def test_a_search_that_means_nothing_is_refused(harness: Harness) -> None:
    with pytest.raises(QueryError):
        harness.tasklog.live_tasks("level>=")


def test_all_loops_in_which_a_task_logged_are_looked_at(harness: Harness) -> None:
    told: list[str] = []
    ready, stop = threading.Event(), threading.Event()

    async def other() -> None:
        harness.log.info("here")
        ready.set()
        while not stop.is_set():  # noqa: ASYNC110 - another thread sets it
            await asyncio.sleep(0.001)

    async def main() -> None:
        harness.log.info("here, too")
        told.extend(str(each.task_id) for each in harness.tasklog.live_tasks())

    thread = threading.Thread(target=lambda: asyncio.run(with_name("other", other())))
    thread.start()
    ready.wait()
    asyncio.run(with_name("main", main()))
    stop.set()
    thread.join()
    assert {"main", "other"} <= set(told)
    assert harness.tasklog.live_tasks(task_id="other") == []  # its loop is closed


def test_the_loop_that_asks_is_looked_at_though_nobody_logged(
    harness: Harness,
) -> None:
    async def main() -> list[str]:
        return [each.name for each in harness.tasklog.live_tasks()]

    assert "asks" in asyncio.run(with_name("asks", main()))


async def with_name(name: str, awaiting: Coroutine[Any, Any, Any]) -> Any:
    current = asyncio.current_task()
    assert current is not None
    current.set_name(name)
    return await awaiting


def test_the_loop_that_the_tasklog_was_entered_in_is_looked_at() -> None:
    """From elsewhere, though nobody logged in it."""

    async def main() -> list[str]:
        config = Config(exporter=None)
        async with TaskLog(config) as tasklog:
            found = await asyncio.to_thread(tasklog.live_tasks)
            return [each.name for each in found]

    assert "enters" in asyncio.run(with_name("enters", main()))


def test_it_says_if_a_loop_could_not_be_looked_at(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_tasks, "all_tasks", lambda _loop: None)

    async def main() -> None:
        assert not harness.tasklog.live_tasks().complete

    asyncio.run(main())


def test_names_are_as_records_have_them(make: Callable[..., Harness]) -> None:
    harness = make(redact_patterns=[re.compile("hunter2")])

    async def main() -> None:
        async with Workers(harness) as workers:
            await workers.start("user hunter2", workers.says(20))
            with task("job hunter2"):
                await workers.start("inside", workers.says())
                harness.log.info("numbered")
            for each in await workers.ask():
                assert "hunter2" not in repr(each)

    asyncio.run(main())


def test_a_coroutine_of_anybodys_own_class_is_told_without_running_it(
    harness: Harness,
) -> None:
    class Foreign(Coroutine[Any, Any, None]):
        def __init__(self) -> None:
            self.inner = asyncio.Event().wait()

        def send(self, value: Any) -> Any:
            return self.inner.send(value)

        def throw(self, *raised: Any) -> Any:
            return self.inner.throw(*raised)

        def close(self) -> None:
            self.inner.close()

        def __await__(self) -> Any:
            raise AssertionError

        def __getattr__(self, name: str) -> Any:
            raise AssertionError(name)

    async def main() -> None:
        async with Workers(harness) as workers:
            await workers.start("foreign", Foreign())
            [foreign] = [e for e in await workers.ask() if e.name == "foreign"]
            assert foreign.coroutine == Foreign.__qualname__
            assert foreign.wait is not None

    asyncio.run(main())


def slice_each_step(monkeypatch: pytest.MonkeyPatch, tasks: int = 1) -> None:
    monkeypatch.setattr(_slices, "SLICE_SECONDS", -1)
    monkeypatch.setattr(_slices, "AT_ONCE", tasks)


QUESTIONS: dict[str, Callable[[TaskLog, asyncio.AbstractEventLoop], object]] = {
    "live_tasks": lambda tasklog, loop: tasklog.live_tasks(loop=loop, sort="name"),
    "waiting": lambda tasklog, loop: tasklog.live_tasks(loop=loop, waiting=True),
    "waits": lambda tasklog, loop: tasklog.task_tree(loop=loop),
    "parents": lambda tasklog, loop: tasklog.task_tree("parents", loop=loop),
    "find_task": lambda tasklog, loop: tasklog.find_task("asks", loop=loop),
    "why": lambda tasklog, loop: tasklog.why("asks", loop=loop),
}


@pytest.mark.parametrize("question", sorted(QUESTIONS))
def test_a_task_that_ends_while_it_is_looked_at_ends_on_its_own_thread(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, question: str
) -> None:
    """Between two slices no task is referred to, so each is freed where it ended."""
    freed: list[int] = []
    turns = threading.Barrier(2, timeout=10)
    asking = True

    class Result:
        def __del__(self) -> None:
            freed.append(threading.get_ident())

    async def ends(end: asyncio.Event) -> Result:
        await end.wait()
        return Result()

    slice_each_step(monkeypatch)
    monkeypatch.setattr(_slices, "rest", lambda: (turns.wait(), turns.wait()))

    async def main() -> None:
        loop = asyncio.get_running_loop()

        def ask() -> None:
            nonlocal asking
            answer = QUESTIONS[question](harness.tasklog, loop)
            if isinstance(answer, Listing):
                assert answer.total == len(answer)
            asking = False
            turns.wait()

        asker = threading.Thread(target=ask)
        alive: list[tuple[asyncio.Task[Any], asyncio.Event]] = []
        for _ in range(20):
            end = asyncio.Event()
            alive.append((asyncio.create_task(ends(end)), end))
        await asyncio.sleep(0)
        asker.start()
        while turns.wait() >= 0 and asking:  # another one ends between any two slices
            if alive:
                ending, end = alive.pop()
                end.set()
                await asyncio.wait([ending])
                del ending
                assert freed == [threading.get_ident()] * (20 - len(alive))
            turns.wait()
        asker.join()
        assert not alive

    asyncio.run(with_name("asks", main()))


def test_the_interpreter_is_let_go_of_between_slices(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    rests: list[None] = []
    slice_each_step(monkeypatch)
    monkeypatch.setattr(_slices, "rest", lambda: rests.append(None))

    async def main() -> None:
        async with Workers(harness) as workers:
            for number in range(20):
                await workers.start(f"w-{number}", workers.says())
            await workers.ask()

    asyncio.run(main())
    assert len(rests) > 2 * 20


@pytest.mark.parametrize("sort", sorted(ORDERS))
def test_nothing_is_made_of_each_task_for_the_garbage_collector_to_look_at(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, sort: Order
) -> None:
    """Else a question of ten thousand would have it look at the whole process."""
    made: list[int] = []
    slice_each_step(monkeypatch, tasks=100)
    monkeypatch.setattr(_slices, "rest", lambda: made.append(gc.get_count()[0]))

    async def main() -> None:
        async with Workers(harness) as workers:
            says = [workers.says(20) for _ in range(2_000)]
            workers.tasks += map(asyncio.create_task, says)
            await asyncio.sleep(0)
            tasklog = harness.tasklog
            assert await tasklog.aflush()
            tasklog.live_tasks(sort=sort, limit=10)  # what is kept is made now
            asked, before = len(made), gc.get_count()[0]
            assert (
                len(tasklog.live_tasks("at", sort=sort, waiting=True, limit=10)) == 10
            )
            assert len(tasklog.live_tasks(sort=sort, limit=10)) == 10
            assert max(made[asked:]) - before < 1_000

    gc.disable()
    try:
        asyncio.run(main())
    finally:
        gc.enable()


def test_a_task_that_only_a_proxy_refers_to_is_told(harness: Harness) -> None:
    async def main() -> None:
        async with Workers(harness) as workers:
            await workers.start("behind", workers.says())
            proxy = weakref.proxy(workers.tasks[0])
            assert await workers.names() == ["behind"]
            assert not proxy.done()

    asyncio.run(main())


def test_a_weak_reference_of_the_application_is_not_kept() -> None:
    """Else its callback would be called though the application had let go of it."""

    class Watched(asyncio.Task[None]):
        def __init__(self, working: Coroutine[Any, Any, None]) -> None:
            self.watch = weakref.ref(self, lambda _: None)  # before asyncio's own
            super().__init__(working)

    async def main() -> None:
        watched = Watched(asyncio.sleep(0))
        seen, _ = _tasks.look(asyncio.get_running_loop())
        assert watched in {link() for link in seen}
        assert all(link is not watched.watch for link in seen)
        await watched

    asyncio.run(main())


def test_a_number_is_drawn_with_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture_tasks, "time_ns", lambda: 42)

    async def main() -> None:
        cell = capture_tasks.running_cell()
        assert cell is not None
        assert cell.drawn_ns == 42

    asyncio.run(main())
