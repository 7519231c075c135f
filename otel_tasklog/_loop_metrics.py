"""How event loops are, as OpenTelemetry metrics.

The conventions have names for the event loop of Node.js alone.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from opentelemetry.metrics import Observation

from otel_tasklog._config import VERSION
from otel_tasklog._process import renew_after_fork
from otel_tasklog.live._census import count_tasks

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.metrics import Histogram, MeterProvider

__all__ = ["lag_recorder"]

LAG: Final = "otel_tasklog.event_loop.lag"
TASKS: Final = "otel_tasklog.event_loop.tasks"

BOUNDARIES_SECONDS: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip

_log = logging.getLogger("otel_tasklog")


class _Histograms:
    """The histogram of each meter provider; a second one of a name would be refused."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: WeakKeyDictionary[MeterProvider, Histogram | None] = (
            WeakKeyDictionary()
        )

    def of(self, provider: MeterProvider) -> Histogram | None:
        """Return a provider's, or None in a forked child. May wait for it."""
        with self._lock:
            if provider not in self._made:
                meter = provider.get_meter("otel_tasklog", VERSION)
                self._made[provider] = meter.create_histogram(
                    LAG, "s", "How long a callback has to wait for the event loop.",
                    explicit_bucket_boundaries_advisory=BOUNDARIES_SECONDS,
                )  # fmt: skip
                meter.create_observable_up_down_counter(
                    TASKS,
                    [lambda _: [Observation(count_tasks())]],
                    "{task}",
                    "How many asyncio tasks there are.",
                )
            return self._made[provider]

    def renew(self) -> None:
        """Let go, in a forked child, of those whose locks its parent may have held."""
        self._lock = threading.Lock()
        for provider in list(self._made):
            self._made[provider] = None


_histograms: Final = _Histograms()
renew_after_fork(_histograms)


def lag_recorder(provider: MeterProvider | None) -> Callable[[float], None]:
    """Return what records how long a callback had to wait for the event loop.

    The instruments are made with the first, on the thread that records it. A provider
    that fails is left alone.

    Args:
        provider: Where it shows; None shows it nowhere.
    """
    left_alone = False

    def record(seconds: float) -> None:
        nonlocal left_alone
        if provider is None or left_alone:
            return
        try:
            histogram = _histograms.of(provider)
            if histogram is not None:
                histogram.record(seconds)
        except Exception as error:  # noqa: BLE001 - a provider is anybody's code
            left_alone = True
            _log.warning("the meter provider failed, and is left alone: %r", error)

    return record
