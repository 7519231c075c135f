"""Where access points are: private directories alone, the same ones for both sides."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from otel_tasklog.viewer import _places
from otel_tasklog.viewer._places import (
    DIRECTORY_VARIABLE,
    Address,
    Place,
    check_directory,
    find_places,
    forget,
    is_running,
    make_directory,
    read_address,
    runtime_directory,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.skipif(
    not hasattr(os, "geteuid"), reason="this system knows no users' numbers"
)

NOBODY = 65534
as_root = pytest.mark.skipif(
    hasattr(os, "geteuid") and os.geteuid() != 0,
    reason="only root can give a file to another user; to enable: run as root",
)


@pytest.fixture
def short() -> Iterator[Path]:
    """A directory whose path leaves room for a socket's name."""
    with tempfile.TemporaryDirectory(prefix="tasklog-") as directory:
        yield Path(directory)


def at(directory: Path) -> dict[str, str]:
    return {DIRECTORY_VARIABLE: str(directory)}


def listen(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))


def test_the_variable_names_the_directory_and_nothing_is_made(short: Path) -> None:
    environ = at(short / "mine") | {"XDG_RUNTIME_DIR": str(short)}
    assert runtime_directory(environ) == short / "mine"
    assert not (short / "mine").exists()


def test_without_it_the_sessions_directory_is_used(short: Path) -> None:
    assert runtime_directory({"XDG_RUNTIME_DIR": str(short)}) == short / "otel-tasklog"


@pytest.mark.parametrize("session", ["", "relative", "/there/is/none"])
def test_a_session_without_a_directory_has_one_that_is_named_for_the_user(
    session: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_places, "_is_ours", lambda path: path == Path(session))
    found = runtime_directory({"XDG_RUNTIME_DIR": session})
    if session.startswith("/"):
        assert found == Path(session, "otel-tasklog")
    else:
        assert found == Path(f"/tmp/otel-tasklog-{os.geteuid()}")  # noqa: S108


@as_root
def test_the_session_of_another_user_is_not_ours(short: Path) -> None:
    """As after su, which leaves the variable as it was."""
    os.chown(short, NOBODY, NOBODY)
    assert runtime_directory({"XDG_RUNTIME_DIR": str(short)}).parent != short


def test_a_name_too_long_for_a_socket_has_a_short_one_that_both_sides_find(
    short: Path,
) -> None:
    environ = at(short / ("x" * 120))
    directory = runtime_directory(environ)
    assert directory == runtime_directory(dict(environ))
    assert directory != runtime_directory(at(short / ("y" * 120)))
    make_directory(directory)
    try:
        path = directory / "4194304-99.sock"
        listen(path)
        assert find_places(environ) == [Place(4194304, path)]
    finally:
        shutil.rmtree(directory)


@pytest.mark.parametrize("umask", [0o000, 0o777], ids=["none", "all"])
def test_what_is_made_is_the_users_alone_whatever_the_umask(
    short: Path, umask: int
) -> None:
    before = os.umask(umask)
    try:
        make_directory(short / "a" / "b")
        make_directory(short / "a" / "b")  # it is there
    finally:
        os.umask(before)
    for path in (short / "a", short / "a" / "b"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


def link(path: Path) -> None:
    path.with_name("real").mkdir(0o700)
    path.symlink_to(path.with_name("real"))


def given_away(path: Path) -> None:
    path.mkdir(0o700)
    os.chown(path, NOBODY, NOBODY)


def mode(bits: int) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.mkdir()
        path.chmod(bits)

    return make


UNTRUSTED = [
    pytest.param(link, "is a symbolic link", id="link"),
    pytest.param(Path.touch, "is no directory", id="file"),
    pytest.param(mode(0o770), "is open to other users (mode 0770)", id="group"),
    pytest.param(mode(0o701), "is open to other users (mode 0701)", id="others"),
    pytest.param(given_away, "belongs to another user", id="foreign", marks=as_root),
]


@pytest.mark.parametrize(("make", "reason"), UNTRUSTED)
def test_a_directory_that_others_may_enter_is_refused_by_both_sides(
    short: Path, make: Callable[[Path], None], reason: str
) -> None:
    path = short / "directory"
    make(path)
    for refuse in (check_directory, make_directory, lambda x: find_places(at(x))):
        with pytest.raises(OSError, match="another one") as caught:
            refuse(path)
        assert str(caught.value).startswith(f"{path} {reason}")
        assert DIRECTORY_VARIABLE in str(caught.value)


def test_access_points_are_found_by_pid_and_nothing_else_is(short: Path) -> None:
    for name in ("20-0.sock", "3-10.sock", "3-2.json", "3-2.new", "x-0.sock", "3.sock"):
        (short / name).touch()
    places = find_places(at(short))
    assert [(place.pid, place.path.name) for place in places] == [
        (3, "3-10.sock"), (3, "3-2.json"), (20, "20-0.sock"),
    ]  # fmt: skip


def test_no_directory_is_no_access_point(short: Path) -> None:
    assert find_places(at(short / "none")) == []


def test_all_directories_of_the_user_are_looked_into(
    short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service often has no XDG_RUNTIME_DIR, and the shell of its user has one."""
    paths = [short / name for name in ("session", "none", "temporary")]
    monkeypatch.setattr(_places, "_directories", lambda _: paths)
    for path, name in ((paths[0], "2-0.sock"), (paths[2], "1-0.sock")):
        make_directory(path)
        (path / name).touch()
    assert [place.pid for place in find_places({})] == [1, 2]
    paths[2].chmod(0o777)  # another user's doing, perhaps, who is not to be in the way
    assert [place.pid for place in find_places({})] == [2]
    (paths[0] / "2-0.sock").unlink()
    with pytest.raises(OSError, match="open to other users"):
        find_places({})


def test_an_address_is_a_sockets_path_or_a_port_with_a_token(short: Path) -> None:
    listen(short / "1-0.sock")
    found = read_address(Place(1, short / "1-0.sock"))
    assert found == Address(uds=str(short / "1-0.sock"))
    port = {"host": "127.0.0.1", "port": 1234, "token": "secret"}
    (short / "1-0.json").write_text(json.dumps(port))
    assert read_address(Place(1, short / "1-0.json")) == Address(**port)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "[]", "{}", "[[", '{"host": 1, "port": "x"}'])
def test_a_file_that_says_no_address_is_named(short: Path, text: str) -> None:
    path = short / "1-0.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="remove it"):
        read_address(Place(1, path))


def test_what_is_no_socket_or_is_gone_is_named(short: Path) -> None:
    (short / "1-0.sock").touch()
    with pytest.raises(OSError, match="is no socket"):
        read_address(Place(1, short / "1-0.sock"))
    with pytest.raises(FileNotFoundError, match="2-0"):
        read_address(Place(2, short / "2-0.sock"))


ASK = """
import os, sys
from pathlib import Path
from otel_tasklog.viewer._places import Place, read_address
os.setuid(65534)
try:
    read_address(Place(1, Path(sys.argv[1])))
except OSError as error:
    print(error)
"""


@as_root
def test_another_users_socket_is_refused(short: Path) -> None:
    """Whoever may put one there could have it say anything."""
    short.chmod(0o755)
    path = short / "1-0.sock"
    listen(path)
    path.chmod(0o666)
    command = [sys.executable, "-c", ASK, str(path)]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert said.stderr == ""
    assert said.stdout.startswith(f"{path} belongs to another user (uid 0): ask as")


def test_a_process_runs_until_it_ends() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1) as process:
        assert is_running(process.pid)
        process.communicate(b"\n")
    assert not is_running(process.pid)
    assert is_running(os.getpid())
    assert not is_running(10**10)


def test_forgetting_what_is_gone_is_no_error(short: Path) -> None:
    path = short / "1-0.sock"
    path.touch()
    forget(Place(1, path))
    forget(Place(1, path))
    assert not path.exists()
