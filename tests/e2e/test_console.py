"""What a program prints to stderr, to the letter, and what is captured beside it."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    Run = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.e2e

LOGS = """
tasklog.flush()
log = logging.getLogger("shop")
log.info("i")
log.warning("w")
print([record.message for record in tasklog.query(newest_first=False)])
"""
AGAIN = (
    "logging was configured anew, without the TaskLogHandler: it is attached to "
    "'root' again; to say so in the configuration, name otel_tasklog.TaskLogHandler "
    "there, and pass loggers=[] to install()"
)
LEVEL = (
    "the root logger's level is WARNING, as Python starts: no INFO or DEBUG record is "
    "captured; pass level='INFO' to install(), or level='WARNING' if it is meant "
    "(logging.basicConfig() does nothing after install())"
)


class Case(NamedTuple):
    """A program's set-up, and what comes of it.

    Attributes:
        before: What it does before install().
        settings: What it passes.
        after: What it does after install().
        stderr: Its lines.
        captured: Of the two that it logs.
    """

    before: str = ""
    settings: str = "level='INFO'"
    after: str = ""
    stderr: tuple[str, ...] = ()
    captured: tuple[str, ...] = ("i", "w")


BASIC = ("INFO:shop:i", "WARNING:shop:w")
CONSOLE = """
logging.config.dictConfig({
    "version": 1,
    "formatters": {"short": {"format": "%(levelname)s %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "short"}},
    "root": {"handlers": ["console"], "level": "INFO"},
})
"""
CASES = {
    "nothing else": Case(stderr=("w",)),
    "nothing else, no level": Case(settings="", stderr=("w", LEVEL), captured=("w",)),
    "basicConfig before": Case("logging.basicConfig(level='INFO')", stderr=BASIC),
    "basicConfig before, no level": Case(
        "logging.basicConfig(level='INFO')", settings="", stderr=BASIC
    ),
    "basicConfig after": Case(
        after="logging.basicConfig(level='DEBUG')", stderr=("w",)
    ),
    "basicConfig after, no level": Case(
        settings="", after="logging.basicConfig(level='INFO')",
        stderr=("w", LEVEL), captured=("w",),
    ),
    "basicConfig after, with force": Case(
        after="logging.basicConfig(force=True)",
        stderr=(f"WARNING:otel_tasklog:{AGAIN}", *BASIC),
    ),
    "basicConfig before, and after with force": Case(
        "logging.basicConfig()", after="logging.basicConfig(force=True)",
        stderr=(f"WARNING:otel_tasklog:{AGAIN}", *BASIC),
    ),
    "dictConfig before": Case(CONSOLE, stderr=("INFO i", "WARNING w")),
    "dictConfig after": Case(
        after=CONSOLE, stderr=(f"WARNING {AGAIN}", "INFO i", "WARNING w")
    ),
    "a handler of the logger's own": Case(
        after="logging.getLogger('shop').addHandler(logging.StreamHandler())",
        stderr=("i", "w"),
    ),
    "a handler added to the root logger": Case(
        after="logging.getLogger().addHandler(logging.StreamHandler())",
        stderr=("i", "w"),
    ),
    "False": Case(settings="level='INFO', console=False"),
    "True": Case(settings="level='INFO', console=True", stderr=("w",)),
    "True, basicConfig before": Case(
        "logging.basicConfig()", settings="level='INFO', console=True",
        stderr=("INFO:shop:i", "WARNING:shop:w", "w"),
    ),
    "True, basicConfig after with force": Case(
        settings="level='INFO', console=True",
        after="logging.basicConfig(force=True)",
        stderr=(f"WARNING:otel_tasklog:{AGAIN}", *BASIC),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_every_line_is_printed_once(run: Run, name: str) -> None:
    case = CASES[name]
    settings = ", ".join(filter(None, ("exporter=None", case.settings)))
    done = run(
        "import logging, logging.config, otel_tasklog\n"
        f"{textwrap.dedent(case.before)}\n"
        f"tasklog = otel_tasklog.install({settings})\n"
        f"{textwrap.dedent(case.after)}\n"
        f"{LOGS}"
    )
    assert done.returncode == 0, done.stderr
    assert tuple(done.stderr.splitlines()) == case.stderr
    assert done.stdout == f"{[*case.captured]}\n"


OURS_ALONE = """
logging.config.dictConfig({
    "version": 1,
    "handlers": {"ours": {"class": "otel_tasklog.TaskLogHandler"}},
    "root": {"handlers": ["ours"], "level": "INFO"},
})
"""
SET_UPS = {
    "by a configuration alone": OURS_ALONE,
    "by hand": (
        "logging.getLogger().addHandler(otel_tasklog.TaskLogHandler())\n"
        "logging.getLogger().setLevel('INFO')"
    ),
    "beside install": f"{OURS_ALONE}\notel_tasklog.install(loggers=[])",
}


@pytest.mark.parametrize("name", SET_UPS)
def test_with_our_handler_alone_warnings_and_losses_are_seen(
    run: Run, name: str
) -> None:
    """As Python would print them without any handler, and what the end cost, too."""
    done = run(
        "import logging, logging.config, otel_tasklog\n"
        f"{SET_UPS[name]}\n"
        "logging.getLogger('shop').info('i')\n"
        "logging.getLogger('shop').warning('w')\n",
        OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9",
    )
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert lines[0] == "w"
    assert sum("2 records lost" in line for line in lines) == 1, lines
