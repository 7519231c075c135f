"""What a live task waits on, told from another thread while its loop runs."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import socket
import sys
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from loops import LOOPS

from otel_tasklog import TaskWait, task
from otel_tasklog.live._await_chain import DEEPEST, Owner, owner_of
from otel_tasklog.live._waits import MOST_AWAITED, all_tasks, wait_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Generator

    from conftest import Harness
    from loops import Run

run_in = pytest.mark.parametrize("run", LOOPS)


async def look(tasks: list[asyncio.Task[Any]]) -> list[TaskWait | None]:
    """Ask what tasks wait on, in another thread."""
    return await asyncio.to_thread(lambda: [wait_of(each, str) for each in tasks])


async def look_at(awaiting: Coroutine[Any, Any, Any], name: str = "it") -> TaskWait:
    """Return what a coroutine waits on after all others had their turn."""
    started = asyncio.create_task(awaiting, name=name)
    await settle()
    [found] = await look([started])
    await end(started)
    assert found is not None
    return found


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def end(*tasks: asyncio.Task[Any]) -> None:
    for each in tasks:
        each.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class Case(NamedTuple):
    kind: str
    text: str
    wait: Callable[[], Coroutine[Any, Any, Any]]


async def sleep() -> None:
    await asyncio.sleep(60)


async def lock() -> None:
    lock = asyncio.Lock()
    async with lock, lock:
        pass


async def event() -> None:
    await asyncio.Event().wait()


async def condition() -> None:
    condition = asyncio.Condition()
    async with condition:
        await condition.wait()


async def semaphore() -> None:
    async with asyncio.Semaphore(0):
        pass


async def barrier() -> None:
    await asyncio.Barrier(2).wait()


async def take() -> None:
    await asyncio.Queue[int]().get()


async def put() -> None:
    queue = asyncio.Queue[int](maxsize=1)
    for number in range(2):
        await queue.put(number)


async def join() -> None:
    queue = asyncio.Queue[int]()
    await queue.put(1)
    await queue.join()


async def future() -> None:
    await asyncio.get_running_loop().create_future()


async def gathered() -> None:
    await asyncio.gather(sleep(), sleep())


async def shielded() -> None:
    await asyncio.shield(asyncio.shield(asyncio.gather(sleep(), sleep())))


async def in_time() -> None:
    await asyncio.wait_for(asyncio.gather(sleep(), sleep()), 60)


async def waiting() -> None:
    await asyncio.wait([asyncio.create_task(sleep()) for _ in range(3)])


async def group() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(sleep())


async def completed() -> None:
    for each in asyncio.as_completed([sleep(), sleep()]):
        await each


async def timed_out() -> None:
    await asyncio.wait_for(asyncio.Queue[int]().get(), 60)


async def within_timeout() -> None:
    async with asyncio.timeout(60):
        await asyncio.Event().wait()


async def executor() -> None:
    done = threading.Event()
    try:
        await asyncio.get_running_loop().run_in_executor(None, done.wait)
    finally:
        done.set()


async def thread() -> None:
    done = threading.Event()
    try:
        await asyncio.to_thread(done.wait)
    finally:
        done.set()


async def receive() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(0)
        await asyncio.get_running_loop().sock_recv(ours, 1)


async def read() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        reader, writer = await asyncio.open_connection(sock=ours)
        try:
            await reader.readline()
        finally:
            writer.close()
            await writer.wait_closed()


class Foreign:
    """Awaits by a generator, and lets nobody look at it."""

    def __await__(self) -> Generator[Any, None, None]:
        yield from sleep().__await__()

    def __getattribute__(self, name: str) -> Any:
        if name == "__await__":
            return object.__getattribute__(self, name)
        raise AssertionError(name)


async def foreign() -> None:
    await Foreign()


class Opaque:
    """An iterator that nobody can look into."""

    def __await__(self) -> Opaque:
        return self

    def __next__(self) -> asyncio.Future[None]:
        future = asyncio.get_running_loop().create_future()
        future._asyncio_future_blocking = True
        return future

    __iter__ = __await__

    def __getattr__(self, name: str) -> Any:
        assert name in {"send", "throw", "close"}  # Python itself asks for these
        raise AttributeError(name)


async def opaque() -> None:
    await Opaque()


async def numbers() -> AsyncIterator[int]:
    yield 1
    await sleep()


async def iterating() -> None:
    async for _ in numbers():
        pass


async def with_default() -> None:
    iterator = numbers()
    for _ in range(2):
        await anext(iterator, None)


@contextlib.asynccontextmanager
async def managed() -> AsyncIterator[None]:
    await sleep()
    yield


async def entering() -> None:
    async with managed():
        pass


CASES = [
    Case("sleep", "sleep(60)", sleep),
    Case("lock", "Lock.acquire", lock),
    Case("event", "Event.wait", event),
    Case("condition", "Condition.wait", condition),
    Case("semaphore", "Semaphore.acquire", semaphore),
    Case("barrier", "Barrier.wait", barrier),
    Case("queue", "Queue.get", take),
    Case("queue", "Queue.put", put),
    Case("queue", "Queue.join", join),
    Case("future", "future", future),
    Case("tasks", "gather(2)", gathered),
    Case("tasks", "wait(3)", waiting),
    Case("tasks", "TaskGroup(1)", group),
    Case("tasks", "as_completed", completed),
    Case("tasks", "gather(2)", shielded),
    Case("tasks", "gather(2)", in_time),
    Case("queue", "Queue.get", timed_out),
    Case("event", "Event.wait", within_timeout),
    Case("executor", "executor", executor),
    Case("executor", "to_thread", thread),
    Case("socket", "sock_recv", receive),
    Case("stream", "StreamReader.readline", read),
    Case("sleep", "sleep(60)", foreign),
    Case("future", "future", opaque),
    Case("sleep", "sleep(60)", iterating),
    Case("sleep", "sleep(60)", with_default),
    Case("sleep", "sleep(60)", entering),
]


@run_in
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.wait.__name__)
def test_what_a_task_waits_on_is_told(case: Case, run: Run) -> None:
    found = run(look_at(case.wait()))
    assert (found.kind, found.text) == (case.kind, case.text)
    assert found.path == __file__
    assert found.asyncio_task_name == "it"


@run_in
def test_the_line_is_that_of_the_innermost_coroutine_of_the_applications(
    run: Run,
) -> None:
    async def outer() -> None:
        await take()

    found = run(look_at(outer()))
    assert found.function == "take"
    assert found.line == take.__code__.co_firstlineno + 1


@run_in
def test_a_task_of_nothing_but_python_has_no_line(run: Run) -> None:
    found = run(look_at(asyncio.sleep(0.5 + 59)))
    assert found.text == "sleep(59.5)"
    assert (found.path, found.line, found.function) == (None, None, None)


@run_in
def test_the_task_that_another_one_waits_for_is_named(
    run: Run, harness: Harness
) -> None:
    async def inner() -> None:
        harness.log.info("numbered")
        await sleep()

    async def until(other: asyncio.Task[None], *, shielded: bool) -> None:
        await (asyncio.shield(other) if shielded else other)

    async def main() -> None:
        silent = asyncio.create_task(sleep(), name="silent")
        loud = asyncio.create_task(inner(), name="loud")
        await settle()
        number = harness.last().asyncio_task_number
        for shielded in (True, False):  # the last is cancelled with its waiter
            found = await look_at(until(loud, shielded=shielded))
            assert (found.kind, found.text) == ("task", f"task #{number} loud")
            assert found.awaited == ((number, "loud"),)
            found = await look_at(until(silent, shielded=shielded))
            assert (found.kind, found.text) == ("task", "task silent")
            assert found.awaited == ((None, "silent"),)
        assert loud.cancelled()
        assert silent.cancelled()

    run(main())


@run_in
def test_of_many_tasks_awaited_together_the_first_that_are_not_done_are_named(
    run: Run,
) -> None:
    async def many() -> None:
        done = [asyncio.sleep(0) for _ in range(5)]
        await asyncio.gather(*done, *(sleep() for _ in range(MOST_AWAITED + 5)))

    found = run(look_at(many()))
    assert found.text == f"gather({MOST_AWAITED + 5})"
    assert len(found.awaited) == MOST_AWAITED


@run_in
def test_a_task_that_is_awaited_twice_is_named_once(run: Run) -> None:
    async def twice() -> None:
        each = asyncio.create_task(sleep(), name="each")
        await asyncio.gather(each, asyncio.gather(each, each), each)

    found = run(look_at(twice()))
    assert [awaited.name for awaited in found.awaited] == ["each"]


@run_in
def test_the_task_that_wait_for_makes_up_to_python_3_11_is_looked_through(
    run: Run,
) -> None:
    async def main() -> None:
        other = asyncio.create_task(take(), name="other")
        found = await look_at(asyncio.wait_for(other, 60))
        assert found.awaited == ((None, "other"),)
        if sys.version_info < (3, 12):
            assert (found.kind, found.function) == ("queue", "take")
        else:
            assert (found.kind, found.text) == ("task", "task other")
        await end(other)

    run(main())


@run_in
def test_a_task_that_waits_for_nothing_is_running_or_ready(run: Run) -> None:
    async def spin() -> None:
        for _ in itertools.count():
            await asyncio.sleep(0)

    async def main() -> None:
        spinning = asyncio.create_task(spin())
        sleeping = asyncio.create_task(sleep())
        await settle()
        new, this = asyncio.create_task(sleep()), asyncio.current_task()
        assert this is not None
        found = [wait_of(each, str) for each in (spinning, new, this)]
        told = [(each.kind, each.text) for each in found if each is not None]
        assert told == [
            ("ready", "ready"), ("ready", "not started"), ("running", "running")
        ]  # fmt: skip
        sleeping.cancel()
        await end(spinning, new, sleeping)
        assert wait_of(sleeping, str) is None

    run(main())


@run_in
def test_what_was_awaited_is_done_and_its_task_has_not_had_its_turn(run: Run) -> None:
    async def main() -> None:
        future = asyncio.get_running_loop().create_future()
        waiting = asyncio.ensure_future(asyncio.wait_for(future, 60))
        other = asyncio.create_task(until(future))
        await settle()
        future.set_result(None)
        found = wait_of(other, str)
        assert found is not None
        assert (found.kind, found.text) == ("ready", "ready")
        await end(waiting, other)

    async def until(future: asyncio.Future[None]) -> None:
        await future

    run(main())


@run_in
def test_a_chain_of_any_length_is_followed_as_far_as_is_cheap(run: Run) -> None:
    async def nested(depth: int) -> None:
        await (nested(depth - 1) if depth else sleep())

    assert run(look_at(nested(DEEPEST // 2))).kind == "sleep"
    found = run(look_at(nested(DEEPEST * 2)))
    assert (found.kind, found.function) == ("future", nested.__qualname__)


def test_a_task_class_of_ones_own_is_not_asked_for_anything() -> None:
    class Own(asyncio.Task[None]):
        def refuse(self, *_: object) -> Any:
            raise AssertionError

        get_name = get_coro = done = __repr__ = refuse

    async def main() -> None:
        loop = asyncio.get_running_loop()
        own = Own(sleep(), loop=loop, name="own")
        await settle()
        found = wait_of(own, str)
        assert found is not None
        assert (found.text, found.asyncio_task_name) == ("sleep(60)", "own")
        asyncio.Task.cancel(own)
        await settle()

    asyncio.run(main())


def test_what_is_no_task_waits_on_nothing() -> None:
    def refuse(_: str) -> str:
        raise ValueError

    async def main() -> None:
        assert wait_of(object(), str) is None  # type: ignore[arg-type]
        this = asyncio.current_task()
        assert this is not None
        assert wait_of(this, refuse) is None

    asyncio.run(main())


async def take_three(queue: asyncio.Queue[int]) -> None:
    async for _ in three_of(queue):
        await asyncio.gather(asyncio.sleep(0), asyncio.sleep(0.0001))


async def three_of(queue: asyncio.Queue[int]) -> AsyncIterator[int]:
    for _ in range(3):
        yield await asyncio.wait_for(queue.get(), 60)


async def come_and_go() -> None:
    queue = asyncio.Queue[int]()
    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(take_three(queue))
        for number in range(60):
            await asyncio.sleep(0.0001)
            queue.put_nowait(number)


@run_in
def test_tasks_are_looked_at_from_another_thread_while_they_come_and_go(
    run: Run,
) -> None:
    kinds: set[str] = set()
    done = threading.Event()
    failures: list[BaseException] = []

    def ask(loop: asyncio.AbstractEventLoop) -> None:
        try:
            while not done.is_set():
                found = [wait_of(each, str) for each in all_tasks(loop) or ()]
                kinds.update(each.kind for each in found if each is not None)
        except BaseException as failure:  # noqa: BLE001 - told below
            failures.append(failure)

    async def main() -> None:
        asking = threading.Thread(target=ask, args=(asyncio.get_running_loop(),))
        asking.start()
        try:
            while not failures and not {"queue", "tasks"} <= kinds:
                await come_and_go()
        finally:
            done.set()
            await asyncio.to_thread(asking.join)

    run(main())
    assert not failures, failures[0]


def test_the_tasks_of_a_loop_that_change_too_fast_are_not_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[object] = []

    def changing(loop: object) -> set[asyncio.Task[Any]]:
        calls.append(loop)
        if len(calls) == 2:
            return set()
        raise RuntimeError("Set changed size during iteration")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with monkeypatch.context() as patch:
            patch.setattr(asyncio, "all_tasks", changing)
            assert all_tasks(loop) == set()
            assert all_tasks(loop) is None
        assert len(calls) == 5

    asyncio.run(main())


@pytest.mark.parametrize(
    ("path", "owner"),
    [
        ("/srv/shop/orders.py", Owner.APPLICATION),
        ("<string>", Owner.APPLICATION),
        ("/v/lib/python3.11/site-packages/httpx/_client.py", Owner.INSTALLED),
        ("/usr/lib/python3/dist-packages/aiohttp/web.py", Owner.INSTALLED),
        (r"C:\v\Lib\site-packages\httpx\_client.py", Owner.INSTALLED),
        (asyncio.tasks.__file__, Owner.PYTHON),
        (logging.__file__, Owner.PYTHON),
        ("uvloop/loop.pyx", Owner.PYTHON),
    ],
)
def test_whose_a_file_is_goes_by_its_place(path: str, owner: Owner) -> None:
    assert owner_of(path) is owner


def test_the_number_of_a_task_is_looked_up_and_never_drawn() -> None:
    async def main() -> None:
        silent = asyncio.create_task(sleep(), name="silent")
        numbered = asyncio.create_task(in_scope(), name="numbered")
        await settle()
        found = await look([silent, silent, numbered])
        told = [each.asyncio_task_number for each in found if each is not None]
        assert told[:2] == [None, None]
        assert told[2] is not None
        await end(silent, numbered)

    async def in_scope() -> None:
        with task("job"):
            await sleep()

    asyncio.run(main())
