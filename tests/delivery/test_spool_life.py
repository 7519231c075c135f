"""A TaskLog with a spool: what is delivered late, by whom, and what the counts say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from otel_tasklog import Config, ConfigError, TaskLog
from otel_tasklog.testing import MemorySender, Rejected, Retry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Harness

    from otel_tasklog import Stats

AWAY: Retry = Retry("nobody there")


def adds_up(stats: Stats) -> bool:
    gone = stats.delivered + stats.rejected + stats.dropped
    return stats.accepted + stats.recovered == gone + stats.spooled + stats.pending


def bodies(harness: Harness) -> list[str]:
    return [str(record.body) for record in harness.sender.records]


def test_what_one_process_could_not_deliver_the_next_one_does(
    make: Callable[..., Harness], tmp_path: Path
) -> None:
    first = make([AWAY] * 99, spool_dir=tmp_path / "spool")
    for number in range(1_000):
        first.log.info("record %d", number)
    first.tasklog.close(0.1)
    stats = first.tasklog.stats()
    assert (stats.spooled, stats.pending, stats.dropped) == (1_000, 0, 0)
    assert adds_up(stats)

    second = make(spool_dir=tmp_path / "spool")
    second.log.info("mine")
    assert second.tasklog.flush(30)
    assert sorted(bodies(second)) == sorted(
        ["mine", *(f"record {number}" for number in range(1_000))]
    )
    stats = second.tasklog.stats()
    assert (stats.accepted, stats.recovered, stats.delivered) == (1, 1_000, 1_001)
    assert adds_up(stats)
    second.tasklog.close()
    assert list((tmp_path / "spool").iterdir()) == []


def test_the_resource_of_who_logged_it_stays_with_a_record(
    make: Callable[..., Harness], tmp_path: Path
) -> None:
    first = make([AWAY] * 99, spool_dir=tmp_path, service_name="billing")
    first.log.info("from billing")
    first.tasklog.close(0.1)
    second = make(spool_dir=tmp_path, service_name="mail")
    assert second.tasklog.flush(30)
    [record] = second.sender.records
    assert record.resource["service.name"] == "billing"


def test_an_end_says_what_is_in_the_spool(
    make: Callable[..., Harness], tmp_path: Path, said: list[str]
) -> None:
    harness = make([AWAY] * 99, spool_dir=tmp_path)
    harness.log.info("one")
    harness.tasklog.close(0.1)
    assert said[-1] == ("the TaskLog closed with 1 record in the spool: nobody there")


def test_what_memory_has_no_room_for_is_counted_as_spooled(
    make: Callable[..., Harness], tmp_path: Path
) -> None:
    harness = make(
        [AWAY], spool_dir=tmp_path, buffer_records=100,
        batch_records=10, spool_interval_seconds=0.0,
    )  # fmt: skip
    for number in range(300):
        harness.log.info("record %d", number)
        if not number % 20:  # so that the intake is not what is full
            harness.tasklog.clear()
    harness.tasklog.clear()
    stats = harness.tasklog.stats()
    assert stats.dropped == 0
    assert stats.spooled + stats.pending + stats.delivered == 300
    assert harness.tasklog.flush(30)
    assert bodies(harness) == [f"record {number}" for number in range(300)]


def test_a_refused_batch_is_a_file_beside_the_spool(
    make: Callable[..., Harness], tmp_path: Path
) -> None:
    harness = make([Rejected("http 400", "no such field")], spool_dir=tmp_path)
    harness.log.info("odd")
    assert harness.tasklog.flush(30)
    [refused] = harness.tasklog.refused()
    assert [str(record.body) for record in refused.records()] == ["odd"]
    [file] = (tmp_path / "refused").iterdir()
    assert "no such field" in file.read_text()
    assert adds_up(harness.tasklog.stats())


@pytest.mark.parametrize("directory", ["", 5, "a\0b"], ids=repr)
def test_a_directory_that_is_none_is_refused(directory: object) -> None:
    with pytest.raises(ConfigError, match="spool_dir"):
        Config(spool_dir=directory)  # type: ignore[arg-type]


def test_a_file_in_the_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("mine")
    with pytest.raises(ConfigError, match="spool_dir"):
        TaskLog(Config(spool_dir=tmp_path / "spool"), sender=MemorySender())


def test_a_spool_without_room_for_a_batch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="spool_bytes=1000: expected at least batch"):
        Config(spool_dir=tmp_path, spool_bytes=1_000)
