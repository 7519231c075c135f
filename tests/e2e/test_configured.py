"""Programs that configure ``logging``, and how their ends and forks turn out."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from e2e.conftest import ReceiverProcess

    Run = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.e2e

CONFIGURED = """
import atexit
atexit.register(lambda: log.warning("too late, and not a word of it"))
import logging, logging.config, os, signal, sys, threading
CONFIGURATION = {
    "version": 1,
    "handlers": {"tasklog": {
        "class": "otel_tasklog.TaskLogHandler", "service_name": "configured",
    }},
    "root": {"handlers": ["tasklog"], "level": "INFO"},
}
logging.config.dictConfig(CONFIGURATION)
log = logging.getLogger("ends")
for number in range(100):
    log.info("record %d", number)
"""
HUNDRED = {f"record {n}": 1 for n in range(100)}
ENDINGS = {
    "normal": ("", 0),
    "sigterm": ("signal.raise_signal(signal.SIGTERM)", -signal.SIGTERM),
    "shut down by hand": ("logging.shutdown()", 0),
    "configured a second time": ("logging.config.dictConfig(CONFIGURATION)", 0),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_configuration_alone_delivers_until_the_programs_end(
    receiver: ReceiverProcess, run: Run, ending: str
) -> None:
    code, status = ENDINGS[ending]
    done = run(CONFIGURED + code, OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=receiver.endpoint)
    assert (done.returncode, done.stderr) == (status, "")
    records = receiver.wait_for(100)
    assert receiver.bodies(100) == HUNDRED
    assert {each["resource"]["service.name"] for each in records} == {"configured"}


FORKING = """
children = []
for number in range(3):
    pid = os.fork()
    if pid == 0:
        log.info("child %d", number)
        sys.exit(0)
    children.append(pid)
for pid in children:
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
"""


def test_forked_children_of_a_configured_program_deliver_their_own(
    receiver: ReceiverProcess, run: Run
) -> None:
    done = run(
        CONFIGURED + FORKING, flags=("-W", "ignore::DeprecationWarning"),
        OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=receiver.endpoint,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    expected = {**HUNDRED, **{f"child {n}": 1 for n in range(3)}}
    assert receiver.bodies(103) == expected


CHILDREN_FIRST = """
import logging, logging.config, os, sys
import otel_tasklog
otel_tasklog.install(level="INFO", console=False)
logging.basicConfig(force=True, handlers=[logging.NullHandler()])
pid = os.fork()  # the worker may or may not have come to it
logging.getLogger("forks").info("child" if pid == 0 else "parent")
if pid:
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    tasklog = otel_tasklog.current()
    assert tasklog.flush()
    assert tasklog.handler in logging.getLogger().handlers
else:
    assert otel_tasklog.current().handler in logging.getLogger().handlers
"""


def test_a_fork_right_after_a_configuration_leaves_the_handler_in_both(
    receiver: ReceiverProcess, run: Run
) -> None:
    done = run(
        CHILDREN_FIRST, flags=("-W", "ignore::DeprecationWarning"),
        OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=receiver.endpoint,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert receiver.bodies(1)["child"] == 1


LAST_WORDS = {
    "basicConfig": "logging.basicConfig(force=True, handlers=[logging.NullHandler()])",
    "dictConfig": "logging.config.dictConfig({'version': 1, 'root': {'handlers': []}})",
}


@pytest.mark.parametrize("last", LAST_WORDS)
def test_a_program_whose_last_act_is_a_configuration_ends_in_order(
    receiver: ReceiverProcess, run: Run, last: str
) -> None:
    done = run(
        "import logging, logging.config, otel_tasklog\n"
        "otel_tasklog.install(level='INFO', console=False)\n"
        "for number in range(100): logging.info('record %d', number)\n"
        f"{LAST_WORDS[last]}",
        OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=receiver.endpoint,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert receiver.bodies(100) == HUNDRED
