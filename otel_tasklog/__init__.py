"""Task-aware asyncio logging, bridged to OpenTelemetry.

``otel_tasklog.install(service_name=..., level="INFO")`` is all it takes.
"""

# The map. A record goes down this page.
#
#   capture/      the log call: takes what would be gone later, never waits or raises
#   live/         the asyncio tasks that are alive: what each waits on, and who blocks
#   store/        the ring: the newest records, and queries over them
#   delivery/     the worker: encodes, batches, sends, retries
#   _tasklog.py   joins the three and owns all state; read it first
#   _install.py   makes one, attaches it to logging, remembers it
#   monitor/      telnet into live tasks (extra: monitor)
#   viewer/       an OTLP receiver to look at what arrives
#   cli/          the commands, and the only place that prints (extra: cli)
#   testing.py    doubles for tests of what logs
#
# Imports point upwards on this page only; a linter holds that.

from otel_tasklog._config import VERSION, Config
from otel_tasklog._errors import (
    AlreadyInstalledError,
    ClosedError,
    ConfigError,
    FollowerError,
    MissingExtraError,
    MonitorError,
    NotInstalledError,
    QueryError,
    StorageError,
    TaskLogError,
    TaskNotFoundError,
)
from otel_tasklog._find import FoundTask
from otel_tasklog._install import current, install
from otel_tasklog._live_reader import Listing
from otel_tasklog._processor import TaskLogProcessor
from otel_tasklog._secrets import SECRET_KEYS, SECRET_PATTERNS
from otel_tasklog._tasklog import TaskLog
from otel_tasklog.capture._filter import TaskLogFilter
from otel_tasklog.capture._handler import TaskLogHandler
from otel_tasklog.capture._record import TaskRecord
from otel_tasklog.capture._scopes import bind, task
from otel_tasklog.capture._tasks import current_task_id, new_task_id
from otel_tasklog.delivery._refused import RefusedBatch
from otel_tasklog.live._tasks import LiveTask
from otel_tasklog.live._tree import TaskPlace
from otel_tasklog.live._waits import AwaitedTask, TaskWait
from otel_tasklog.live._why import StackFrame, TaskReport
from otel_tasklog.store._follow import Follower
from otel_tasklog.store._query import Query
from otel_tasklog.store._search import Found
from otel_tasklog.store._storage import Stats
from otel_tasklog.store._summaries import Bucket, Counts, TaskSummary

__version__ = VERSION

__all__ = [
    "SECRET_KEYS",
    "SECRET_PATTERNS",
    "AlreadyInstalledError",
    "AwaitedTask",
    "Bucket",
    "ClosedError",
    "Config",
    "ConfigError",
    "Counts",
    "Follower",
    "FollowerError",
    "Found",
    "FoundTask",
    "Listing",
    "LiveTask",
    "MissingExtraError",
    "MonitorError",
    "NotInstalledError",
    "Query",
    "QueryError",
    "RefusedBatch",
    "StackFrame",
    "Stats",
    "StorageError",
    "TaskLog",
    "TaskLogError",
    "TaskLogFilter",
    "TaskLogHandler",
    "TaskLogProcessor",
    "TaskNotFoundError",
    "TaskPlace",
    "TaskRecord",
    "TaskReport",
    "TaskSummary",
    "TaskWait",
    "bind",
    "current",
    "current_task_id",
    "install",
    "new_task_id",
    "task",
]
