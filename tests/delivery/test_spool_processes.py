"""The spool between processes: killed, forked, at once, and on a disk that is full."""

from __future__ import annotations

import itertools
import json
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from otel_tasklog.delivery._spool import Spool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Start: TypeAlias = Callable[..., subprocess.Popen[str]]

pytestmark = pytest.mark.e2e

NO_LIMIT = 1 << 40

PRELUDE = """
import itertools, json, os, resource, signal, sys
from pathlib import Path
from otel_tasklog import ConfigError
from otel_tasklog.delivery._owners import prepare
from otel_tasklog.delivery._spool import Spool

reports = []

def spool(max_bytes=1 << 30):
    return Spool(Path(sys.argv[1]), max_bytes=max_bytes, fsync=False,
                 report=lambda *report: reports.append(report))

def bodies(spool):
    found = []
    while batches := spool.read(100, 1 << 40):
        for frame, body in batches:
            found.append(body.decode())
            spool.settle(frame)
    return found
"""


@pytest.fixture
def start() -> Iterator[Start]:
    """Start programs of the code given; end them with the test."""
    started: list[subprocess.Popen[str]] = []

    def start_one(
        code: str, *arguments: object, before: tuple[str, ...] = ()
    ) -> subprocess.Popen[str]:
        command = [*before, sys.executable, "-W", "error", "-c", PRELUDE + code]
        process = subprocess.Popen(
            [*command, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start_one
    for process in started:
        process.kill()
        if process.stdout is not None and not process.stdout.closed:
            process.communicate(timeout=30)


def result(process: subprocess.Popen[str]) -> Any:
    """Return what it printed last, as JSON."""
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    return json.loads(out.splitlines()[-1])


def recover(directory: Path) -> list[str]:
    """Deliver what dead processes left."""
    spool = Spool(directory, max_bytes=1 << 30, fsync=False, report=print)
    found = []
    while spool.adopt(spool.find_orphans()):
        while batches := spool.read(1, NO_LIMIT):
            for frame, body in batches:
                found.append(body.decode())
                spool.settle(frame)
    spool.close()
    return found


def test_sigkill_loses_nothing_that_was_appended(start: Start, tmp_path: Path) -> None:
    """Nor does it let anything be delivered twice that was settled before."""
    code = """
def say(what, number):
    os.write(1, b"%s %d\\n" % (what, number))  # all of it, or nothing

mine = spool(2_000_000)
held = []
for number in range(60):  # the bound must not cost what this is about
    body = b"%d" % number + b" " * (number * 997 % 30_000)
    frame = mine.append(body, 1, 0.0, unread=False)
    say(b"appended", number)
    held.append((number, frame))
    if number % 3:
        settled, frame = held.pop(0)
        say(b"to be settled", settled)
        mine.settle(frame)
        say(b"settled", settled)
sys.stdin.read()
"""
    for lines in range(1, 140, 14):
        process = start(code, tmp_path / "spool")
        assert process.stdout is not None
        said = list(itertools.islice(process.stdout, lines))
        process.send_signal(signal.SIGKILL)
        assert len(said) == lines
        said += process.stdout.read().splitlines()
        done: dict[str, set[int]] = {"appended": set(), "to be settled": set()}
        for line in said:
            what, _, number = line.strip().rpartition(" ")
            done.setdefault(what, set()).add(int(number))
        found = [int(body) for body in recover(tmp_path / "spool")]
        assert found == sorted(set(found))
        assert set(found) >= done["appended"] - done["to be settled"]
        assert set(found).isdisjoint(done.get("settled", set()))
        # What was written when it was killed may be there, or not.
        assert set(found) <= done["appended"] | {max(done["appended"], default=-1) + 1}
        assert list((tmp_path / "spool").iterdir()) == []


def test_of_many_heirs_each_dead_one_has_exactly_one(
    start: Start, tmp_path: Path
) -> None:
    dead = """
for number in range(12):
    mine = spool(4_000)
    for part in range(3):
        assert mine.append(b"%d.%d" % (number, part) + b" " * 400, 1, 0.0, unread=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    start(dead, tmp_path / "spool").wait(timeout=30)
    heir = """
mine = spool()
found = []
print("ready", flush=True)
sys.stdin.readline()
while True:
    mine.adopt(mine.find_orphans())
    new = bodies(mine)
    found += new
    if not new:
        break
mine.close()
print(json.dumps([found, reports]))
"""
    heirs = [start(heir, tmp_path / "spool") for _ in range(4)]
    for process in heirs:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in heirs:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    shares = []
    for process in heirs:
        found, reports = result(process)
        assert reports == []
        shares.append([body.strip() for body in found])
    # One that found nothing may have ended before another gave anything back.
    shares.append([body.strip() for body in recover(tmp_path / "spool")])
    everything = sorted(body for share in shares for body in share)
    assert everything == sorted(f"{n}.{part}" for n in range(12) for part in range(3))
    for share in shares:
        for body in share:
            owner, _, part = body.partition(".")
            following = share[share.index(body) : share.index(body) + 3 - int(part)]
            assert [each.partition(".")[0] for each in following] == [owner] * (
                3 - int(part)
            )
    assert list((tmp_path / "spool").iterdir()) == []


@pytest.mark.parametrize("forgets", [True, False], ids=["forgets", "keeps"])
def test_a_forked_child_that_forgets_holds_nothing_back(
    start: Start, tmp_path: Path, *, forgets: bool
) -> None:
    """One that keeps its parent's files would: their lock is its lock, too."""
    code = """
mine = spool()
held = mine.append(b"the parent's", 1, 0.0, unread=False)
if os.fork() == 0:
    if sys.argv[2] == "True":
        mine.forget()
        mine.settle(held)  # it is the parent's
        assert (mine.read(9, 9), mine.unread_records, mine.size_bytes) == ([], 0, 0)
    print("child", flush=True)
    sys.stdin.read()
    os._exit(0)
signal.pause()
"""
    process = start(code, tmp_path / "spool", forgets)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == "child\n"
    assert recover(tmp_path / "spool") == []  # the parent lives
    process.kill()
    process.wait(timeout=30)
    assert recover(tmp_path / "spool") == (["the parent's"] if forgets else [])
    process.stdin.close()
    assert process.stdout.read() == ""  # the child has ended
    process.stdout.close()
    assert recover(tmp_path / "spool") == ([] if forgets else ["the parent's"])


def test_a_child_that_ends_leaves_the_parent_its_lock(
    start: Start, tmp_path: Path
) -> None:
    code = """
mine = spool()
mine.append(b"the parent's", 1, 0.0, unread=True)
if os.fork() == 0:
    mine.forget()
    mine.close()
    mine = spool()
    mine.append(b"the child's", 1, 0.0, unread=True)
    os._exit(0)
os.wait()
print("waited", flush=True)
sys.stdin.read()
print(json.dumps(bodies(mine)))
"""
    process = start(code, tmp_path / "spool")
    assert process.stdout is not None
    assert process.stdout.readline() == "waited\n"
    assert recover(tmp_path / "spool") == ["the child's"]
    assert result(process) == ["the parent's"]


FULL = """
mine = spool()
kept = []
for number in itertools.count():
    body = b"%d" % number + b" " * (number * 997 % 20_000)
    if not mine.append(body, 1, 0.0, unread=True):
        break
    kept.append(body.decode())
ended = sum(path.stat().st_size for path in Path(sys.argv[1]).glob("*.spool"))
whole = ended == mine.size_bytes
none = mine.append(b"x", 1, 29.0, unread=True), mine.append(b" " * 20_000, 1, 30.0, unread=True)
"""

FULL_RESULT = """
again = mine.append(b"again", 1, 60.0, unread=True) is not None
mine.forget()
heir = spool()
heir.adopt(heir.find_orphans())
same = bodies(heir) == kept + ["again"]
print(json.dumps([len(kept) > 5, whole, none, again, same, heir.damaged, reports]))
"""


def check_full(printed: Any, words: str) -> None:
    some, whole, none, again, same, damaged, reports = printed
    assert some
    assert whole, "the torn frame is cut off"
    assert none == [None, None]
    assert again, "it goes on when there is room"
    assert (same, damaged) == (True, 0)
    assert [cause for cause, _ in reports] == ["spool"]
    assert words in reports[0][1]


def test_a_full_disk_is_told_once_and_tried_again(start: Start, tmp_path: Path) -> None:
    """On a disk of its own, which a name space of mounts can have."""
    mount = ("unshare", "--map-root-user", "--mount", "sh", "-c",
             'mount -t tmpfs -o size=256k tmpfs "$0" && exec "$@"', str(tmp_path))  # fmt: skip
    if (
        not shutil.which("unshare")
        or subprocess.run([*mount, "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("no disk can be mounted here")
    ballast = """
import errno
ballast = Path(sys.argv[1]).parent / "ballast"
ballast.write_bytes(bytes(60_000))
"""
    code = ballast + FULL + "ballast.unlink()\n" + FULL_RESULT
    printed = result(start(code, tmp_path / "spool", before=mount))
    check_full(printed, "No space left on device")


def test_a_limit_on_the_size_of_files_is_like_a_full_disk(
    start: Start, tmp_path: Path
) -> None:
    limit = "resource.setrlimit(resource.RLIMIT_FSIZE, ({}, -1))\n"
    code = limit.format(100_000) + FULL + limit.format(-1) + FULL_RESULT
    check_full(result(start(code, tmp_path / "spool")), "File too large")


def test_without_room_for_a_header_nothing_is_left(
    start: Start, tmp_path: Path
) -> None:
    code = """
resource.setrlimit(resource.RLIMIT_FSIZE, (7, 7))
mine = spool()
assert mine.append(b"x", 1, 0.0, unread=True) is None
print(json.dumps([path.suffix for path in Path(sys.argv[1]).iterdir()]))
mine.close()
"""
    assert result(start(code, tmp_path / "spool")) == [".lock"]
    assert list((tmp_path / "spool").iterdir()) == []


def test_a_system_without_locks_has_no_spool(start: Start, tmp_path: Path) -> None:
    code = """
sys.modules["fcntl"] = None  # as on Windows
try:
    prepare(Path(sys.argv[1]))
except ConfigError as error:
    print(json.dumps(str(error)))
"""
    text = result(start(code, tmp_path / "spool"))
    assert isinstance(text, str)
    assert text.startswith("spool_dir=")
    assert "flock" in text
    assert not (tmp_path / "spool").exists()
