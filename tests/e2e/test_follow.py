"""Programs that follow themselves, each a process of its own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    Run = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.e2e

FORKING = """
import logging, os, threading
import otel_tasklog
log = logging.getLogger("forks")
tasklog = otel_tasklog.install(level="INFO", console=False, exporter=None)
follower = tasklog.follow()
threading.Thread(target=lambda: print("parent:", next(follower).message)).start()
if (pid := os.fork()) == 0:
    print("child, of the parent's:", [r.message for r in follower])
    anew = tasklog.follow()
    log.info("the child's")
    print("child:", next(anew).message)
else:
    os.waitpid(pid, 0)
    log.info("the parent's")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_parent_and_child_follow_each_their_own(run: Run) -> None:
    done = run(FORKING)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == [
        "child, of the parent's: []",
        "child: the child's",
        "parent: the parent's",
    ]


INTERRUPTED = """
import logging, os, signal, threading
import otel_tasklog
log = logging.getLogger("follows")
with otel_tasklog.install(level="INFO", console=False, exporter=None) as tasklog:
    def work():
        log.info("x")
        while tasklog.stats().kept:  # until it was read
            pass
        os.kill(os.getpid(), signal.SIGINT)
    with tasklog.follow() as follower:
        threading.Thread(target=work).start()
        try:
            for record in follower:
                print(record.message)
                tasklog.clear()
        except KeyboardInterrupt:
            print("interrupted, missed", follower.missed)
"""


def test_ctrl_c_ends_a_program_that_follows(run: Run) -> None:
    done = run(INTERRUPTED)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["x", "interrupted, missed 0"]


def test_a_signal_that_does_not_wake_the_reader_ends_it_all_the_same(run: Run) -> None:
    """One that another thread took, or that came just before the reader slept."""
    done = run(
        INTERRUPTED.replace(
            "os.kill(os.getpid()", "signal.pthread_kill(threading.get_ident()"
        )
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["x", "interrupted, missed 0"]
