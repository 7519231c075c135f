r"""Where the access points of running processes are, for both sides.

A process that can be asked has a file of its own in a directory of its user's::

    <directory>/<pid>-<n>.sock    a unix-domain socket
    <directory>/<pid>-<n>.json    elsewhere: a port of 127.0.0.1 and a token

The directory is the first that there is of

* ``$OTEL_TASKLOG_RUNTIME_DIR``, which then is the only one,
* ``$XDG_RUNTIME_DIR/otel-tasklog``,
* ``/run/user/<uid>/otel-tasklog``,
* ``/tmp/otel-tasklog-<uid>``; on Windows ``%TEMP%\otel-tasklog``.

Who asks looks into all of them, for a service and a shell of the same user often
differ in ``XDG_RUNTIME_DIR``. A directory whose name is too long for a socket in it is
stood in for by ``/tmp/otel-tasklog-<uid>-<hash of the name>``.

Guarantees: a directory that others may enter or replace is neither used nor believed.
Nothing here touches what the environment or the application has of its own, warns, or
imports anything heavy.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import stat
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "DIRECTORY_VARIABLE",
    "Address",
    "Place",
    "check_directory",
    "find_places",
    "forget",
    "is_running",
    "make_directory",
    "places_in",
    "read_address",
    "runtime_directory",
]

DIRECTORY_VARIABLE: Final = "OTEL_TASKLOG_RUNTIME_DIR"

PATH_BYTES: Final = 103
"""A socket's path may have so many: of the usual systems macOS allows the fewest."""

NAME_BYTES: Final = len("/4194304-99.sock")

_NAME: Final = re.compile(r"([0-9]{1,10})-([0-9]{1,4})\.(sock|json)", re.ASCII)
_ADVICE: Final = (
    "name another one, or one that does not exist yet, in " + DIRECTORY_VARIABLE
)
_HAS_USERS: Final = hasattr(os, "geteuid")  # not Windows, whose %TEMP% is the user's


class Place(NamedTuple):
    """The file of an access point.

    Attributes:
        pid: The process.
        path: The file.
    """

    pid: int
    path: Path


class Address(NamedTuple):
    """How to reach an access point: by a socket's path, or by a port with a token."""

    uds: str | None = None
    host: str | None = None
    port: int | None = None
    token: str | None = None


def runtime_directory(environ: Mapping[str, str]) -> Path:
    """Return where this process is to have its access point. Makes nothing.

    Args:
        environ: ``os.environ``, or what a test says it is.
    """
    return _directories(environ)[0]


def _directories(environ: Mapping[str, str]) -> list[Path]:
    given = environ.get(DIRECTORY_VARIABLE, "").strip()
    if given:
        return [_short(Path(given).absolute())]
    if not _HAS_USERS:
        return [Path(tempfile.gettempdir()) / "otel-tasklog"]
    bases: list[Path] = []
    session = Path(environ.get("XDG_RUNTIME_DIR", ""))
    if session.is_absolute():  # the specification has a relative one ignored
        bases.append(session)
    bases.append(Path(f"/run/user/{os.geteuid()}"))
    # After ``su`` the variable may still name the directory of another user.
    found = [_short(base / "otel-tasklog") for base in bases if _is_ours(base)]
    return list(dict.fromkeys([*found, _temporary()]))


def _is_ours(directory: Path) -> bool:
    try:
        found = directory.stat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()


def _short(directory: Path) -> Path:
    name = os.fsencode(directory)
    if not _HAS_USERS or len(name) + NAME_BYTES <= PATH_BYTES:
        return directory
    return _temporary(f"-{hashlib.sha256(name).hexdigest()[:12]}")


def _temporary(mark: str = "") -> Path:
    # Not $TMPDIR: both sides must mean the same one.
    return Path(f"/tmp/otel-tasklog-{os.geteuid()}{mark}")  # noqa: S108 - it is checked


def make_directory(path: Path) -> None:
    """Make the directory if it is not there, for its user alone; then check it.

    Raises:
        OSError: It cannot be made, or is not to be trusted; the message says why, and
            what to do.
    """
    missing = [each for each in (path, *path.parents) if not _exists(each)]
    for each in reversed(missing):
        with contextlib.suppress(FileExistsError):  # another process was quicker
            each.mkdir(0o700)
            each.chmod(0o700)  # the umask may have taken more away
    check_directory(path)


def _exists(path: Path) -> bool:
    return os.path.lexists(path)


def check_directory(path: Path) -> None:
    """Refuse a directory that others may have put something into.

    Raises:
        OSError: It is not there, no directory, or not this user's alone; the message
            says so, and what to do.
    """
    found = path.lstat()
    reason = None
    if stat.S_ISLNK(found.st_mode):
        reason = "is a symbolic link"
    elif not stat.S_ISDIR(found.st_mode):
        reason = "is no directory"
    elif _HAS_USERS and found.st_uid != os.geteuid():
        reason = f"belongs to another user (uid {found.st_uid})"
    elif _HAS_USERS and found.st_mode & 0o077:
        reason = f"is open to other users (mode {stat.S_IMODE(found.st_mode):04o})"
    if reason is not None:
        raise PermissionError(f"{path} {reason}: {_ADVICE}")


def find_places(environ: Mapping[str, str]) -> list[Place]:
    """Return the access points of this user's processes, dead ones' too, by pid.

    Args:
        environ: As for `runtime_directory`.

    Raises:
        OSError: There is none, but a directory that could have some and is not to be
            trusted or read.
    """
    places: list[Place] = []
    refused: OSError | None = None
    for directory in _directories(environ):
        try:
            places += places_in(directory)
        except FileNotFoundError:
            continue
        except OSError as error:
            refused = refused or error
    if refused is not None and not places:
        raise refused
    return sorted(places)


def places_in(directory: Path) -> list[Place]:
    """Return those in one directory.

    Raises:
        OSError: As `check_directory`, or it cannot be read.
    """
    check_directory(directory)
    found = map(_NAME.fullmatch, (each.name for each in directory.iterdir()))
    return [Place(int(match[1]), directory / match[0]) for match in found if match]


def read_address(place: Place) -> Address:
    """Return how to reach an access point.

    Args:
        place: Its file. One whose name ends in ``.json`` is read; any other is a
            socket.

    Raises:
        OSError: The file is gone, cannot be read, is another user's, or no socket.
        ValueError: It does not hold what it should.
    """
    found = place.path.lstat()
    # The superuser may look at what is others'; what they say is shown escaped.
    if _HAS_USERS and found.st_uid != os.geteuid() != 0:
        raise PermissionError(
            f"{place.path} belongs to another user (uid {found.st_uid}): ask as that "
            "user"
        )
    if place.path.suffix == ".json":
        return _read_port(place.path)
    if not stat.S_ISSOCK(found.st_mode):
        raise OSError(f"{place.path} is no socket: name one of otel_tasklog's")
    return Address(uds=str(place.path))


def _read_port(path: Path) -> Address:
    try:
        value: object = json.loads(path.read_text("utf-8"))
    except ValueError:
        value = None
    fields = cast("dict[str, object]", value) if isinstance(value, dict) else {}
    match fields:
        case {"host": str(host), "port": int(port), "token": str(token)}:
            return Address(host=host, port=port, token=token)
        case _:
            raise ValueError(f"{path} is not what otel_tasklog writes: remove it")


def is_running(pid: int) -> bool:
    """Return whether there is such a process, as far as this one can see.

    In another container, with a process table of its own, there may be one that this
    does not see. On Windows it is always True: only a connection tells there.
    """
    if sys.platform == "win32":  # where signal 0 is Ctrl-C
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # there is one, of another user
        return True
    return True


def forget(place: Place) -> None:
    """Remove the file of a process that is dead. Failing to harms nobody."""
    with contextlib.suppress(OSError):
        place.path.unlink()
