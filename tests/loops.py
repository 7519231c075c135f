"""The event loops that everything of asyncio's is tried in."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

import pytest

Run: TypeAlias = Callable[[Coroutine[Any, Any, Any]], Any]

LOOPS = [pytest.param(asyncio.run, id="asyncio")]
FACTORIES = [pytest.param(asyncio.new_event_loop, id="asyncio")]
if sys.platform != "win32":
    import uvloop

    LOOPS.append(pytest.param(uvloop.run, id="uvloop"))
    FACTORIES.append(pytest.param(uvloop.new_event_loop, id="uvloop"))
