"""Delivery, as OpenTelemetry's own metrics of log processors and exporters.

Nothing is counted here: the instruments are observable ones. They read `stats` when
somebody collects, on the collector's thread. Only the histogram of durations is fed as
it happens, by the thread that sends. The path of a log call has no part in it.

See https://opentelemetry.io/docs/specs/semconv/otel/sdk-metrics/
"""

from __future__ import annotations

import itertools
import threading
from collections import Counter as Tally
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeAlias
from weakref import WeakKeyDictionary, ref

from opentelemetry.metrics import (
    CallbackOptions,
    Counter,
    Histogram,
    NoOpMeter,
    Observation,
    UpDownCounter,
    get_meter_provider,
)
from opentelemetry.semconv._incubating.attributes import otel_attributes as otel
from opentelemetry.semconv._incubating.metrics import otel_metrics as conventions
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE

from otel_tasklog._config import VERSION
from otel_tasklog._process import renew_after_fork

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from opentelemetry.metrics import Meter, MeterProvider

    from otel_tasklog._config import Config
    from otel_tasklog.store._storage import Stats

__all__ = [
    "Attributes",
    "Component",
    "Instruments",
    "Kind",
    "Source",
    "admit",
    "error_type",
]

Attributes: TypeAlias = dict[str, str | int]
Counts: TypeAlias = Tally[tuple[str, str | None]]
"""By metric and ``error.type``."""

CREATED: Final = conventions.OTEL_SDK_LOG_CREATED
QUEUE_SIZE: Final = conventions.OTEL_SDK_PROCESSOR_LOG_QUEUE_SIZE
CAPACITY: Final = conventions.OTEL_SDK_PROCESSOR_LOG_QUEUE_CAPACITY
PROCESSED: Final = conventions.OTEL_SDK_PROCESSOR_LOG_PROCESSED
INFLIGHT: Final = conventions.OTEL_SDK_EXPORTER_LOG_INFLIGHT
EXPORTED: Final = conventions.OTEL_SDK_EXPORTER_LOG_EXPORTED
LAG: Final = "otel_tasklog.delivery.lag"
"""The conventions have nothing for it."""

OBSERVED: Final = (
    CREATED, QUEUE_SIZE, CAPACITY, PROCESSED, INFLIGHT, EXPORTED, LAG,
)  # fmt: skip

BOUNDARIES_SECONDS: Final = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
    1_800.0,
)  # fmt: skip
"""Those of the SDK are for milliseconds; and an outage makes an export last."""

ERROR_TYPES: Final = {"buffer_full": "queue_full", "partial success": "rejected"}
"""Reasons of `Stats` that the conventions have a word for."""


def error_type(reason: str) -> str:
    """Return ``error.type`` for a reason of `Stats`."""
    protocol, _, status = reason.partition(" ")
    if protocol in {"http", "grpc"}:
        return status
    return ERROR_TYPES.get(reason, reason.replace(" ", "_"))


class Source(Protocol):
    """Whose numbers are shown: a TaskLog."""

    @property
    def config(self) -> Config:
        """The settings."""
        ...

    def stats(self) -> Stats:
        """Return the books of this moment. From any thread; must not raise."""
        ...


class Kind(NamedTuple):
    """What a TaskLog sends with."""

    sender: str
    """The class's name."""

    exporter_type: str
    """``otel.component.type``."""

    server: tuple[tuple[str, str | int], ...] = ()
    """Attributes of who it sends to, if it knows."""


class Component:
    """What a TaskLog shows. One that is alike goes on where a closed one ended.

    So no count falls when a TaskLog is closed, and a program that installs one again
    and again has few series.

    Attributes:
        kind: What another one must have in common.
        processor: The attributes of what comes before the export.
        exporter: Those of the export.
        state: Whose counts are to be added, and to which. One tuple, so that a
            collection sees either both of before or both of after.
    """

    def __init__(self, kind: Kind, number: int) -> None:
        self.kind = kind
        self.processor: Attributes = {
            otel.OTEL_COMPONENT_TYPE: "otel_tasklog.TaskLog",
            otel.OTEL_COMPONENT_NAME: f"otel_tasklog.TaskLog/{number}",
        }
        self.exporter: Attributes = {
            otel.OTEL_COMPONENT_TYPE: kind.exporter_type,
            # Not after its type: an official exporter's may be, with the same number.
            otel.OTEL_COMPONENT_NAME: f"otel_tasklog.{kind.sender}/{number}",
            **dict(kind.server),
        }
        self.state: tuple[ref[Source] | None, Counts] = (None, Tally())

    @property
    def source(self) -> Source | None:
        """Who uses it; None if nobody does any more."""
        source, _ = self.state
        return None if source is None else source()

    def join(self, source: Source) -> None:
        """Add a TaskLog's counts from now on."""
        self.state = (ref(source), self.state[1])

    def leave(self, last: Stats) -> None:
        """Keep the last counts, and look no more."""
        self.state = (None, _added(self.state[1], last))

    def restart(self) -> None:
        """Forget what was counted before."""
        self.state = (self.state[0], Tally())

    def look(self, looked: dict[str, list[Observation]]) -> int:
        """Add what there is to observe now; return how many records were created."""
        owner, counts = self.state
        source = None if owner is None else owner()
        if source is not None:
            stats = source.stats()
            counts = _added(counts, stats)
            waiting = stats.pending - stats.in_flight
            capacity = source.config.buffer_records
            looked[QUEUE_SIZE].append(Observation(waiting, self.processor))
            looked[CAPACITY].append(Observation(capacity, self.processor))
            looked[INFLIGHT].append(Observation(stats.in_flight, self.exporter))
            if stats.lag_seconds is not None:
                looked[LAG].append(Observation(stats.lag_seconds, self.processor))
        for (name, error), records in counts.items():
            if name == CREATED:  # one number for all, by the conventions
                continue
            shared = self.processor if name == PROCESSED else self.exporter
            attributes = shared if error is None else {**shared, ERROR_TYPE: error}
            looked[name].append(Observation(records, attributes))
        return counts[CREATED, None]


def _added(before: Counts, stats: Stats) -> Counts:
    """Return the counts of TaskLogs that are closed, and of one more."""
    counts = before.copy()
    counts[CREATED, None] += stats.captured
    counts[PROCESSED, None] += stats.delivered + stats.rejected
    counts[EXPORTED, None] += stats.delivered
    for reason, records in stats.dropped_by.items():
        counts[PROCESSED, error_type(reason)] += records
    for reason, records in stats.rejected_by.items():
        counts[EXPORTED, error_type(reason)] += records
    return counts


class Instruments:
    """The instruments of one meter provider, for all TaskLogs that show there.

    Shared, for a meter ignores the callbacks of a second instrument of the same name,
    and no callback can be taken back.
    """

    def __init__(self, provider: MeterProvider) -> None:
        self._components: list[Component] = []
        self._numbers = itertools.count()
        self._looked: dict[str, list[Observation]] = {}
        own = provider.get_meter("otel_tasklog", VERSION)
        about = "How old the oldest record is that was not delivered yet."
        own.create_observable_gauge(LAG, [self._callback(LAG)], "s", about)
        meter = _Observing(own, self._callback)
        conventions.create_otel_sdk_log_created(meter)
        conventions.create_otel_sdk_processor_log_queue_size(meter)
        conventions.create_otel_sdk_processor_log_queue_capacity(meter)
        conventions.create_otel_sdk_processor_log_processed(meter)
        conventions.create_otel_sdk_exporter_log_inflight(meter)
        conventions.create_otel_sdk_exporter_log_exported(meter)
        self._duration: Histogram | None = (
            conventions.create_otel_sdk_exporter_operation_duration(meter)
        )

    def admit(self, source: Source, kind: Kind) -> Component:
        """Return the component of a TaskLog: its own, a free one, or a new one."""
        for component in self._components:
            if component.source is source:  # in a forked child
                return component
        for component in self._components:
            if component.source is None and component.kind == kind:
                component.join(source)
                return component
        component = Component(kind, next(self._numbers))
        component.join(source)
        self._components.append(component)
        return component

    def record(self, seconds: float, attributes: Attributes) -> None:
        """Record how long an export took."""
        if self._duration is not None:
            self._duration.record(seconds, attributes)

    def renew(self) -> None:
        """Count from 0 in a forked child.

        Without the histogram: a collection in the parent may have held one of its
        locks at the fork, and delivery would wait for that for ever.
        """
        self._duration = None
        self._looked = {}
        self._components = [c for c in self._components if c.source is not None]
        for component in self._components:
            component.restart()

    def _callback(self, name: str) -> Callable[[CallbackOptions], list[Observation]]:
        """Return what observes for one instrument.

        All share a look, for numbers of one moment. Whose own are taken already has
        been asked again, in the next collection, and looks again.
        """

        def observe(_: CallbackOptions) -> list[Observation]:
            found = self._looked.pop(name, None)
            if found is None:
                looked: dict[str, list[Observation]] = {each: [] for each in OBSERVED}
                created = [each.look(looked) for each in self._components.copy()]
                looked[CREATED].append(Observation(sum(created)))
                found = looked.pop(name)
                self._looked = looked
            return found

        return observe


class _Observing(NoOpMeter):
    """Makes observable instruments of those that the conventions ask for.

    Their functions know names, units and descriptions. Those must be the same as the
    official SDK's, for in Prometheus a name has one description.
    """

    def __init__(
        self,
        meter: Meter,
        callback: Callable[[str], Callable[[CallbackOptions], Iterable[Observation]]],
    ) -> None:
        super().__init__(meter.name)
        self._meter = meter
        self._callback = callback

    def create_counter(
        self, name: str, unit: str = "", description: str = ""
    ) -> Counter:
        callbacks = [self._callback(name)]
        self._meter.create_observable_counter(name, callbacks, unit, description)
        return super().create_counter(name, unit, description)

    def create_up_down_counter(
        self, name: str, unit: str = "", description: str = ""
    ) -> UpDownCounter:
        callbacks = [self._callback(name)]
        self._meter.create_observable_up_down_counter(
            name, callbacks, unit, description
        )
        return super().create_up_down_counter(name, unit, description)

    def create_histogram(
        self, name: str, unit: str = "", description: str = "", *,
        explicit_bucket_boundaries_advisory: Sequence[float] | None = (
            BOUNDARIES_SECONDS
        ),
    ) -> Histogram:  # fmt: skip
        return self._meter.create_histogram(
            name, unit, description,
            explicit_bucket_boundaries_advisory=explicit_bucket_boundaries_advisory,
        )  # fmt: skip


class _Registry:
    """The instruments of each meter provider."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: WeakKeyDictionary[MeterProvider, Instruments] = WeakKeyDictionary()
        self._of_global: Instruments | None = None

    def admit(
        self, provider: MeterProvider, source: Source, kind: Kind
    ) -> tuple[Instruments, Component]:
        """Return where the numbers of a TaskLog go. May wait for the provider."""
        with self._lock:
            # Before it is set, the global one is a proxy of what it will be.
            is_global = provider is get_meter_provider()
            made = self._made.get(provider) or (self._of_global if is_global else None)
            made = made or Instruments(provider)
            self._made[provider] = made
            if is_global:
                self._of_global = made
            return made, made.admit(source, kind)

    def renew(self) -> None:
        """Start over in a forked child; another thread may have held the lock."""
        self._lock = threading.Lock()
        for made in list(self._made.values()):
            made.renew()


_registry: Final = _Registry()
renew_after_fork(_registry)

admit: Final = _registry.admit
