"""The benchmarks run, and write what they found where it belongs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent / "benchmarks"
TOPICS = (
    "call", "threads", "encode", "delivery", "lag", "memory", "queries", "flat",
    "tasks",
)  # fmt: skip


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
    return subprocess.run(
        [sys.executable, str(BENCHMARKS / "bench.py"), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=clean,
    )


@pytest.mark.e2e
@pytest.mark.parametrize("topic", TOPICS)
def test_a_topic_runs_beside_its_peers(topic: str) -> None:
    pytest.importorskip("asyncz", reason="pip install --group benchmarks")
    pytest.importorskip("opentelemetry.instrumentation.logging")
    finished = bench("--smoke", "--only", topic)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.startswith("CPython ")
    assert f"\n{topic}, " in finished.stdout
    assert " | ratio " in finished.stdout
    # Not a peer's warning about records that it dropped, nor one of ours.
    assert finished.stderr == ""


def test_only_a_whole_run_is_written() -> None:
    pytest.importorskip("asyncz", reason="pip install --group benchmarks")
    pytest.importorskip("opentelemetry.instrumentation.logging")
    finished = bench("--write", "--quick")
    assert finished.returncode == 2
    assert "one whole run" in finished.stderr


class TestPage:
    @pytest.fixture(autouse=True)
    def _scripts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.syspath_prepend(str(BENCHMARKS))

    def test_a_part_is_replaced_and_the_rest_stays(self) -> None:
        import page

        text = (
            "before\n<!-- generated: a -->\nold\n<!-- end: a -->\n"
            "between\n<!-- generated: b -->\nkept\n<!-- end: b -->\nafter\n"
        )
        once = page.replaced(text, "a", "new\n")
        assert once == text.replace("\nold\n", "\n\nnew\n\n")
        assert page.replaced(once, "a", "new") == once

    def test_a_page_without_the_part_is_refused(self) -> None:
        import page

        with pytest.raises(ValueError, match="generated: c"):
            page.replaced("nothing\n", "c", "new")

    @pytest.mark.parametrize("part", ["differences", "Python 3.11", "Python 3.13"])
    def test_the_documentation_has_the_part(self, part: str) -> None:
        import page

        text = page.PAGE.read_text(encoding="utf-8")
        assert page.replaced(text, part, "new") != text


def test_a_row_says_how_many_times_better_and_whether_that_is_enough(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from rows import Row, summary

    def row(ours: float, theirs: float, **options: bool) -> Row:
        bars = (0.5, 0.2) if options.get("share") else (4, 8)
        return Row(
            what="x", peer="y", unit="us", ours=ours, theirs=theirs,
            bar=bars[0], stretch=bars[1], **options,
        )  # fmt: skip

    assert [r.verdict for r in (row(1, 3), row(1, 4), row(1, 8))] == [
        "NO", "yes", "stretch",
    ]  # fmt: skip
    assert row(-0.1, 5).verdict == "stretch"  # less than could be measured
    assert row(-0.1, -0.2).verdict == "NO"  # and so did the peer: nothing was learnt
    assert row(40, 10, more=True).verdict == "yes"
    assert [row(part, 100, share=True).verdict for part in (60, 50, 20)] == [
        "NO", "yes", "stretch",
    ]  # fmt: skip
    assert summary([row(1, 3), row(1, 4)]) == "1 of 2 bars are met; not met: x (3 x)."
