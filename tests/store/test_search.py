"""A search lets the application's thread run, where that is another one."""

from __future__ import annotations

import asyncio
import math

import pytest

from otel_tasklog.store import _search
from otel_tasklog.store._search import Search


@pytest.mark.parametrize("in_a_loop", [False, True], ids=["thread", "loop"])
def test_a_thread_without_an_event_loop_lets_go_of_the_interpreter(
    monkeypatch: pytest.MonkeyPatch, *, in_a_loop: bool
) -> None:
    """One with a loop would only make its own wait."""
    slept: list[float] = []
    now = 0.0

    def read_clock() -> float:
        nonlocal now
        now += _search.HOLD_SECONDS * 0.4
        return now

    monkeypatch.setattr(_search, "sleep", slept.append)
    monkeypatch.setattr(_search, "perf_counter", read_clock)

    def look() -> list[object]:
        found = Search([[]] * 12, [], math.inf)
        return [*found]

    async def look_in_a_loop() -> list[object]:
        return look()

    assert (asyncio.run(look_in_a_loop()) if in_a_loop else look()) == []
    assert slept == ([] if in_a_loop else [_search.BREATH_SECONDS] * 4)
