"""The directory of a spool: whether it can be one, and what lies in it."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from otel_tasklog._errors import ConfigError
from otel_tasklog._text import count_of
from otel_tasklog.cli._background import within
from otel_tasklog.cli._findings import (
    LONGEST_STEP_SECONDS,
    Finding,
    failed,
    ok,
    warning,
)
from otel_tasklog.delivery._frames import FILE_HEADER, seed_of, walk
from otel_tasklog.delivery._owners import prepare

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_tasklog._config import Config

__all__ = ["check_spool"]

_CHECK = "spool"


def check_spool(config: Config) -> Iterator[Finding]:
    """Look at the directory of a spool. Nothing in it is changed, or locked.

    Args:
        config: Has the directory, and how much may be in it.
    """
    if config.spool_dir is None:
        return
    directory = Path(config.spool_dir)
    there = next(each for each in (directory, *directory.parents) if each.exists())
    try:
        if there == directory or os.name == "nt":  # where it refuses, and makes nothing
            prepare(directory)
    except (ConfigError, OSError) as error:
        yield failed(_CHECK, str(error), "name another directory")
        return
    if not os.access(there, os.W_OK | os.X_OK):
        yield failed(
            _CHECK,
            f"{there} cannot be written to by user {os.geteuid()}",
            "name a directory of the user that the program runs as, and run this "
            "command as that user, too",
        )
        return
    made = "is there" if there == directory else "is not there, and will be made"
    yield ok(_CHECK, f"{directory} {made}")
    yield _room(there, config.spool_bytes)
    if there == directory:
        try:
            yield within(LONGEST_STEP_SECONDS, lambda: _content(directory))
        except TimeoutError:
            limit = f"{LONGEST_STEP_SECONDS:g} s"
            yield ok(_CHECK, f"more is in it than could be counted in {limit}")


def _room(directory: Path, spool_bytes: int) -> Finding:
    free = shutil.disk_usage(directory).free
    said = f"{free:,} bytes are free there"
    if free >= spool_bytes:
        return ok(_CHECK, said)
    return warning(
        _CHECK,
        f"{said}, and a process may keep {spool_bytes:,}",
        "make room, or give a smaller spool_bytes= to install()",
    )


def _content(directory: Path) -> Finding:
    records = size_bytes = damaged = 0
    owners: set[str] = set()
    for path in sorted(directory.glob("*.spool")):
        with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
            end = os.fstat(file.fileno()).st_size
            # Of its owner's, which may be writing: what is torn may be half written.
            frames = walk(file.fileno(), seed_of(path.name), len(FILE_HEADER), end)
            for frame in frames:
                if frame is None:
                    damaged += 1
                elif not frame.settled:
                    records += frame.records
                    size_bytes += len(frame.body)
                    owners.add(path.name.rpartition("-")[0])
    said = f"{count_of(records)} in it to be sent, {size_bytes:,} bytes"
    if owners:
        said += f", of {len(owners)} living or dead processes"
    if not damaged:
        return ok(_CHECK, said)
    return warning(
        _CHECK,
        f"{said}; and {damaged} damaged places",
        "nothing: what can be read is sent",
    )
