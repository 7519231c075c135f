"""Whose a segment is: a spool's directory, its owners, and what dead ones left.

Any number of processes share a directory. Each is an owner with a name of its own, has
``<owner>.lock`` locked for as long as it lives, and alone touches the segments
``<owner>-<number>.spool``. The kernel lets go of the lock when the process ends, however
it ends. Then another may lock the file, which gives it all segments of that owner; it
deletes the lock file with the last of them, as a living owner does.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import secrets
import stat
from typing import TYPE_CHECKING, Final

from otel_tasklog._errors import ConfigError
from otel_tasklog.delivery._segment import Segment, lock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["Orphan", "Owners", "prepare"]

MAX_CLAIMS: Final = 16
"""Of so many dead owners at most the segments are held at once, for each lock takes a
descriptor. The others' turn comes when these are done with."""

LOOK_BYTES: Final = 64 * 1024 * 1024
"""About so much is read at a time, for the worker does nothing else meanwhile."""

_OURS: Final = re.compile(r"(\d+-[0-9a-f]{16})(?:\.lock|-\d{8,}\.spool)")


def prepare(directory: Path) -> None:
    """Make the directory if it is not there; look who else may write to it.

    Raises:
        ConfigError: Others could forge or replace what is in it; or it is a file; or
            this system has no ``flock``.
        OSError: It cannot be made or looked at.
    """
    try:
        importlib.import_module("fcntl")
    except ImportError:
        expected = (
            "None on this system: a spool needs flock, as Linux and macOS have it"
        )
        raise ConfigError("spool_dir", str(directory), expected) from None
    try:
        _make(directory)
        found = directory.stat()
    except NotADirectoryError:
        found = None
    if found is None or not stat.S_ISDIR(found.st_mode):
        raise ConfigError("spool_dir", str(directory), "a directory, not a file")
    if found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise ConfigError(
            "spool_dir",
            str(directory),
            "a directory of this user that no other user may write to; name one "
            "inside it that does not exist yet",
        )


def _make(directory: Path) -> None:
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    for path in reversed(missing):
        with contextlib.suppress(FileExistsError):  # another process was quicker
            path.mkdir(0o700)
            path.chmod(0o700)  # the umask may have taken more away


class _Claim:
    """A lock file that is locked, and how many segments its owner has."""

    def __init__(self, path: Path, fd: int) -> None:
        self.segments = 0
        self._path = path
        self._fd = fd

    def release(self) -> None:
        """Let others have it; in a forked child, leave it to the parent alone."""
        # LOCK_UN would take the parent's lock away, too.
        os.close(self._fd)

    def remove(self) -> None:
        """Delete the lock file, and release it.

        Raises:
            OSError: It is still there, and harms nobody.
        """
        try:
            self._path.unlink(missing_ok=True)
        finally:
            self.release()


def _claim(directory: Path, owner: str) -> _Claim | None:
    """Lock an owner's lock file, which is made if it is not there.

    Returns:
        The claim, or None if another has it.

    Raises:
        OSError: It cannot be made, opened or locked.
    """
    path = directory / f"{owner}.lock"
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.fchmod(fd, 0o600)  # the umask may have taken more away
        lock(fd)
        # Whoever had it may have deleted it after we had opened it.
        ours = os.path.samestat(os.fstat(fd), path.stat())
    except (BlockingIOError, FileNotFoundError):
        ours = False
    except BaseException:
        os.close(fd)
        raise
    if not ours:
        os.close(fd)
        return None
    return _Claim(path, fd)


class Orphan:
    """What a dead owner left.

    Attributes:
        owner: The owner.
        claim: The right to it.
        segments: Its segments, oldest first.
    """

    def __init__(self, owner: str, claim: _Claim) -> None:
        self.owner = owner
        self.claim = claim
        self.segments: list[Segment] = []


class Owners:
    """This process as an owner, and the dead ones whose segments it has.

    Args:
        directory: Where the files are.
        tell: Is told, once for each owner, why it cannot be taken over.
    """

    def __init__(self, directory: Path, tell: Callable[[str], None]) -> None:
        self._directory = directory
        self._tell = tell
        self._told: set[str] = set()
        self._name = _new_name()
        self._number = 0
        self._unsynced = False
        self._claims: dict[str, _Claim] = {}
        self.more = False  # than `find` had a right to, or time for
        self._orphans: list[Orphan] = []  # found, and not yet adopted

    def create(self) -> Segment:
        """Make a segment of our own.

        Raises:
            OSError: It, our lock file or the directory cannot be made.
            ConfigError: The directory has become one that cannot be used.
        """
        prepare(self._directory)
        while self._name not in self._claims:
            claim = _claim(self._directory, self._name)
            if claim is None:  # seen by another before it was locked: a dead one's
                self._name = _new_name()
            else:
                self._claims[self._name] = claim
        path = self._directory / f"{self._name}-{self._number:08}.spool"
        segment = Segment.create(path, self._name)
        self._number += 1
        self._claims[self._name].segments += 1
        self._unsynced = True
        return segment

    def wrote(self, segment: Segment) -> bool:
        """Return whether a segment is this process's own."""
        return segment.owner == self._name

    def sync(self) -> None:
        """Wait until the disk has the names of our segments, too.

        Raises:
            OSError: It may not have them.
        """
        if self._unsynced:
            self._unsynced = False
            fd = os.open(self._directory, os.O_RDONLY)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def removed(self, segment: Segment) -> None:
        """Note that a segment is gone. An owner's lock file goes with its last one.

        Raises:
            OSError: The lock file is still there, and harms nobody.
        """
        claim = self._claims[segment.owner]
        claim.segments -= 1
        if not claim.segments:
            del self._claims[segment.owner]
            claim.remove()

    def find(self) -> list[Orphan]:
        """Claim what dead owners left, and read it through; oldest owner first.

        On the worker's thread, while another may use the other methods.

        Returns:
            What was found and is not adopted yet. Not all that is there, if that is
            much: look again soon after.

        Raises:
            OSError: The directory cannot be read.
        """
        held = {self._name, *self._claims}
        orphans = self._orphans
        self.more = False
        for owner in _owners(self._directory):
            read_bytes = sum(each.end for orphan in orphans for each in orphan.segments)
            if len(held) + len(orphans) > MAX_CLAIMS or read_bytes >= LOOK_BYTES:
                self.more = True
                break
            if owner not in held:
                self._find(owner)
        return orphans.copy()

    def _find(self, owner: str) -> None:
        try:
            claim = _claim(self._directory, owner)
        except OSError as error:
            self._tell_once(owner, f"cannot be locked: {error}")
            return
        if claim is None:
            return
        orphan = Orphan(owner, claim)
        # Before anything that takes time: a child forked meanwhile must close it.
        self._orphans.append(orphan)
        remove = False
        try:
            remove = self._scan(orphan)
        except BlockingIOError:  # it lives, though somebody deleted its lock file
            orphan.segments.clear()
        except OSError as error:
            self._tell_once(owner, f"cannot be read: {error}")
            orphan.segments.clear()
        claim.segments = len(orphan.segments)
        if not claim.segments:
            self._orphans.remove(orphan)
            with contextlib.suppress(OSError):
                (claim.remove if remove else claim.release)()

    def _scan(self, orphan: Orphan) -> bool:
        """Read an owner's segments; return whether the version of all is known.

        Only now they are listed: until it was dead, it may have written more.
        """
        all_known = True
        for path in sorted(self._directory.iterdir()):
            name = _OURS.fullmatch(path.name)
            if name is None or name[1] != orphan.owner or path.suffix != ".spool":
                continue
            segment = Segment.scan(path, orphan.owner)
            if segment is not None:
                orphan.segments.append(segment)
            else:
                all_known = False
                self._tell_once(orphan.owner, "has a version that is not known here")
        return all_known

    def _tell_once(self, owner: str, text: str) -> None:
        if owner not in self._told:
            self._told.add(owner)
            self._tell(f"what process {owner} left in {self._directory} {text}")

    def adopt(self, orphan: Orphan) -> None:
        """Keep the claim until all segments are removed."""
        self._orphans.remove(orphan)
        self._claims[orphan.owner] = orphan.claim

    def give_back(self, orphan: Orphan) -> None:
        """Let others have it."""
        self._orphans.remove(orphan)
        orphan.claim.release()

    def release(self) -> None:
        """Let others have all segments that are left.

        Not what `find` has found: another thread may be about to read it.
        """
        for claim in self._claims.values():
            with contextlib.suppress(OSError):
                (claim.release if claim.segments else claim.remove)()
        self._claims.clear()

    def forget(self) -> None:
        """Close the files in a forked child, and leave the locks to the parent."""
        for claim in (*self._claims.values(), *(each.claim for each in self._orphans)):
            claim.release()
        self._claims.clear()
        self._orphans.clear()


def _new_name() -> str:
    return f"{os.getpid()}-{secrets.token_hex(8)}"


def _owners(directory: Path) -> list[str]:
    """Return who has files there, by the age of their oldest."""
    ages: dict[str, int] = {}
    with os.scandir(directory) as entries:
        for entry in entries:
            name = _OURS.fullmatch(entry.name)
            if name is None:
                continue
            with contextlib.suppress(FileNotFoundError):  # deleted by its owner
                age = entry.stat().st_mtime_ns
                ages[name[1]] = min(age, ages.get(name[1], age))
    return sorted(ages, key=ages.__getitem__)
