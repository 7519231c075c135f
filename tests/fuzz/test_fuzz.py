"""A bounded run of the fuzzer, where it is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

RUNS = 2_000


@pytest.mark.timeout(300)
def test_the_fuzzer_finds_nothing_in_a_short_run(tmp_path: Path) -> None:
    pytest.importorskip(
        "atheris",
        reason="atheris is not installed; to enable: pip install --group fuzz, "
        "on Python 3.11 to 3.13 on Linux",
    )
    fuzzer = Path(__file__).with_name("fuzz_record.py")
    done = subprocess.run(
        [sys.executable, fuzzer, tmp_path, f"-runs={RUNS}", "-seed=1"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3_000:]
    assert f"Done {RUNS} runs" in done.stderr
