"""The API of a running process is as its OpenAPI document says, whatever is asked."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from e2e.readers.program import Job
from e2e.readers.running import running_program

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        importlib.util.find_spec("schemathesis") is None,
        reason="schemathesis is not installed; to enable: pip install --group schemas",
    ),
]

CONFIG = Path(__file__).with_name("schemathesis.toml")
PARTS = [
    pytest.param(
        800, ["--exclude-path", "/v1/tail", "--max-examples", "250"], id="answers"
    ),
    # What is granted there does not end.
    pytest.param(
        60,
        ["--include-path", "/v1/tail", "--mode", "negative", "--max-examples", "30"],
        id="tail",
    ),
]


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("least", "part"), PARTS)
def test_what_is_asked_is_answered_as_the_document_says(
    least: int, part: list[str], tmp_path: Path
) -> None:
    """A thousand requests, good and bad; and the program logs on and keeps it all."""
    job = Job(settings={"exporter": None, "attach": "tcp"})
    with (
        tempfile.TemporaryDirectory(prefix="tasklog-") as runtime_dir,
        running_program(job, runtime_dir) as program,
    ):
        program.tell("log 500")
        door = program.door()
        url = f"http://127.0.0.1:{door.port}"
        done = subprocess.run(
            [
                sys.executable, "-m", "schemathesis.cli", "--config-file", CONFIG,
                "run", f"{url}/openapi.json", "--url", url, *part,
                "-H", f"Authorization: Bearer {door.token}",
                "--phases", "coverage,fuzzing", "--workers", "4",
                "--request-timeout", "2", "--max-failures", "5",
            ],
            capture_output=True, text=True, check=False, cwd=tmp_path,
        )  # fmt: skip
        # Without the whole of an address that was too long.
        said = "\n".join(line[:300] for line in done.stdout.splitlines())
        assert done.returncode == 0, said + done.stderr
        found = re.search(r"(\d+) generated", said)
        assert found is not None, said
        assert int(found[1]) >= least
        assert door.ask("/healthz")[0] == 200
        last = program.tell("log 500")
    assert (last.stats["captured"], last.stats["kept"]) == (1_000, 1_000)
