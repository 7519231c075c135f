"""The task factory of hook_task_factory=True: it remembers, and changes nothing."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import sys
from typing import TYPE_CHECKING, Any

import pytest
from loops import LOOPS
from telnet_client import Telnet

from otel_tasklog import task
from otel_tasklog.monitor import _start

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import ModuleType

    from conftest import Harness
    from loops import Run

    from otel_tasklog.monitor import Monitor

on_both = pytest.mark.parametrize("run", LOOPS)


@pytest.fixture
def hooked() -> ModuleType:
    """The module that aiomonitor must be importable for, warnings or not."""
    _start._load()
    from otel_tasklog.monitor import _hooked

    return _hooked


async def soon() -> str:
    await asyncio.sleep(0)
    return "done"


async def broken() -> None:
    raise ValueError("declined")


async def for_ever() -> None:
    await asyncio.get_running_loop().create_future()


async def ended(task: asyncio.Task[Any]) -> None:
    with contextlib.suppress(BaseException):
        await task


class Factory:
    """Somebody's task factory."""

    def __init__(self, make: Callable[..., asyncio.Future[Any]] | None = None) -> None:
        self.make = make or (lambda loop, *x, **y: asyncio.Task(*x, loop=loop, **y))
        self.made: list[asyncio.Future[Any]] = []

    def __call__(
        self,
        loop: asyncio.AbstractEventLoop,
        coroutine: Coroutine[Any, Any, Any],
        **options: Any,
    ) -> asyncio.Future[Any]:
        self.made.append(self.make(loop, coroutine, **options))
        return self.made[-1]


@on_both
def test_a_task_is_known_by_where_it_was_made_and_by_whom(
    hooked: ModuleType, run: Run
) -> None:
    async def maker(hook: Any) -> asyncio.Task[str]:
        return asyncio.create_task(soon())

    async def main() -> None:
        hook = hooked.TaskHook(asyncio.get_running_loop())
        hook.install()
        making = asyncio.create_task(maker(hook))
        made = await making
        loop, *stack = hook.stacks[made]
        assert (loop.name, [each.name for each in stack]) == ("_run", ["maker"])
        assert stack[0].line == "return asyncio.create_task(soon())"
        assert hook.makers[made]() is making
        async with asyncio.TaskGroup() as group:
            grouped = group.create_task(soon())
            assert [each.name for each in hook.stacks[grouped][1:]][-1] == "main"
        assert await made == "done"
        del made, grouped, making
        await asyncio.sleep(0)
        gc.collect()
        assert len(hook.stacks) == len(hook.makers) == 0
        hook.remove()

    run(main())


@on_both
def test_how_it_ended_is_known(hooked: ModuleType, run: Run) -> None:
    async def main() -> None:
        hook = hooked.TaskHook(asyncio.get_running_loop())
        hook.install()
        failing = asyncio.create_task(broken(), name="failing")
        cancelled = asyncio.create_task(for_ever(), name="cancelled")

        async def canceller() -> None:
            cancelled.cancel()

        cancelling = asyncio.create_task(canceller(), name="cancelling")
        for each in (failing, cancelling, cancelled):
            await ended(each)
        (failed, _), (by, _), (gone, gone_by) = hook.ended()
        assert (failed.name, failed.coro, failed.cancelled) == (
            "failing", "broken()", False,
        )  # fmt: skip
        assert failed.exc_repr == "ValueError('declined')"
        assert failed.termination_stack[-1].name == "broken"
        assert (by.exc_repr, by.termination_stack) == (None, [])
        assert (gone.name, gone.cancelled, gone_by) == ("cancelled", True, by.id)
        assert gone.canceller_stack[-1].line == "cancelled.cancel()"
        assert len({each.id for each, _ in hook.ended()}) == 3
        hook.remove()

    run(main())


@on_both
def test_a_task_has_the_name_that_it_has_without(hooked: ModuleType, run: Run) -> None:
    """Python 3.13.0 to 3.13.2 name it ``None`` with any factory."""

    async def main() -> None:
        hook = hooked.TaskHook(asyncio.get_running_loop())
        hook.install()
        unnamed, named = (
            asyncio.create_task(soon()), asyncio.create_task(soon(), name="named"),
        )  # fmt: skip
        assert unnamed.get_name().startswith("Task-")
        assert named.get_name() == "named"
        assert repr(unnamed).startswith("<Task pending name='Task-")
        assert unnamed.get_coro().__qualname__ == "soon"  # type: ignore[union-attr]
        await asyncio.gather(unnamed, named)
        hook.remove()

    run(main())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with 3.12")
@on_both
def test_eager_tasks_are_eager(hooked: ModuleType, run: Run) -> None:
    """Aiomonitor's factory takes no eager_start, which uvloop 0.23 gives on 3.13."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        hook = hooked.TaskHook(loop)
        hook.install()
        make: Any = loop.get_task_factory()
        known: Any = asyncio  # of a Python that has them
        begun: list[asyncio.Task[Any] | None] = []

        async def eager() -> None:
            begun.append(asyncio.current_task())

        made = make(loop, eager(), eager_start=True)
        assert begun == [made]
        assert made.done()
        hook.remove()
        loop.set_task_factory(known.eager_task_factory)
        hook.install()
        again = make(loop, eager())
        assert begun == [made, again]
        await asyncio.sleep(0)
        assert [info.name for info, _ in hook.ended()] == [
            made.get_name(), again.get_name(),
        ]  # fmt: skip
        hook.remove()
        loop.set_task_factory(None)  # uvloop's end would give it what it does not take

    run(main())


@on_both
def test_the_programs_factory_makes_the_tasks(hooked: ModuleType, run: Run) -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        factory = Factory()
        loop.set_task_factory(factory)
        hook = hooked.TaskHook(loop)
        hook.install()
        made = asyncio.create_task(soon())
        assert factory.made == [made]
        assert hook.stacks[made][-1].name == "main"
        assert await made == "done"
        await asyncio.sleep(0)
        assert [info.coro for info, _ in hook.ended()] == ["soon()"]
        hook.remove()
        assert loop.get_task_factory() is factory

    run(main())


@on_both
def test_what_is_no_task_passes_by(hooked: ModuleType, run: Run) -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()

        def make(loop: asyncio.AbstractEventLoop, coroutine: Any, **_: object) -> Any:
            coroutine.close()
            return loop.create_future()

        loop.set_task_factory(Factory(make))
        hook = hooked.TaskHook(loop)
        hook.install()
        factory: Any = loop.get_task_factory()
        future = factory(loop, soon())
        assert not isinstance(future, asyncio.Task)
        assert len(hook.stacks) == 0
        loop.set_task_factory(None)  # or the loop's end would wait for the future

    run(main())


@on_both
def test_a_factory_that_came_later_stays_and_still_makes_tasks(
    hooked: ModuleType, run: Run
) -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        hook = hooked.TaskHook(loop)
        hook.install()
        later = Factory(loop.get_task_factory())
        loop.set_task_factory(later)
        hook.remove()
        assert loop.get_task_factory() is later
        made = asyncio.create_task(soon())
        assert later.made == [made]
        assert type(made) is asyncio.Task
        assert await made == "done"
        loop.set_task_factory(None)
        assert hook.ended() == []

    run(main())


def test_memory_holds_the_newest_that_ended(
    hooked: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hooked, "ENDED_TASKS", 2)

    async def main() -> None:
        hook = hooked.TaskHook(asyncio.get_running_loop())
        hook.install()
        for number in range(3):
            await asyncio.create_task(soon(), name=f"{number}")
        assert [info.name for info, _ in hook.ended()] == ["1", "2"]
        hook.remove()

    asyncio.run(main())


def test_a_task_made_by_nobody_has_no_place(hooked: ModuleType) -> None:
    """A stack without a frame would make aiomonitor's ps fail."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        hook = hooked.TaskHook(loop)
        hook.install()
        loop.call_soon(loop.create_task, soon())
        await asyncio.sleep(0)
        [made] = asyncio.all_tasks() - {asyncio.current_task()}
        assert made not in hook.stacks
        assert made not in hook.makers
        await made
        hook.remove()

    asyncio.run(main())


async def observed(harness: Harness, client: Callable[[Monitor], Any]) -> Any:
    monitor = harness.tasklog.monitor(port=0, web=False, hook_task_factory=True)
    async with monitor:
        return await asyncio.to_thread(client, monitor)


@pytest.mark.e2e
@on_both
def test_aiomonitors_commands_show_it(harness: Harness, run: Run) -> None:
    def client(monitor: Monitor) -> list[list[str]]:
        with Telnet(monitor.port, columns=200) as telnet:
            ps, ended = telnet.command("ps"), telnet.command("ps-terminated")
            [live] = [row.split() for row in ps if "evil" in row]
            [over] = [row.split() for row in ended if "failing" in row]
            return [
                live, telnet.command(f"where {live[1]}"), over,
                telnet.command(f"where-terminated {over[1]}"),
                telnet.command("where-terminated T0"), telnet.command("where abc"),
            ]  # fmt: skip

    async def main() -> Any:
        monitor = harness.tasklog.monitor(port=0, web=False, hook_task_factory=True)
        async with monitor:
            live = asyncio.create_task(for_ever(), name="evil\x1b[2J")
            await ended(asyncio.create_task(broken(), name="failing"))
            seen = await asyncio.to_thread(client, monitor)
            live.cancel()
            return seen

    live, where, over, where_ended, unknown, no_number = run(main())
    assert {"PENDING", "evil\\x1b[2J", "for_ever()"} <= set(live)
    assert any("test_hooked.py:" in word for word in live)
    text = "\n".join(where)
    assert "for_ever(), name=" in text
    assert "in for_ever" in text
    assert "broken()" in over
    assert 'raise ValueError("declined")' in "\n".join(where_ended)
    assert "No task T0" in "\n".join(unknown)
    assert "No task abc" in "\n".join(no_number)


@pytest.mark.e2e
@on_both
def test_an_exception_that_nobody_retrieves_is_said_in_its_tasks_log(
    harness: Harness, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Aiomonitor's own hook retrieves each, so that Python says nothing."""
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [harness.tasklog.handler])

    async def main() -> None:
        monitor = harness.tasklog.monitor(port=0, web=False, hook_task_factory=True)
        async with monitor:

            async def pay() -> None:
                with task("order-1"):
                    harness.log.info("paying")
                await broken()

            lost = asyncio.create_task(pay(), name="payment")
            await asyncio.wait([lost])
            del lost
            gc.collect()

    run(main())
    lost, paying = harness.tasklog.query()
    assert lost.message.startswith("Task exception was never retrieved")
    assert lost.severity_text == "ERROR"
    assert lost.asyncio_task_number == paying.asyncio_task_number
    assert lost.asyncio_task_name == "payment"
    assert lost.exception_type == "ValueError"
