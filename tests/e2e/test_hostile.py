"""A few thousand records of the kind that `e2e.hostile` tries by the hundred thousand."""

from __future__ import annotations

import pytest
from e2e.hostile.__main__ import faults_of, try_records

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


@pytest.mark.parametrize("seed", [1, 2], ids=str)
def test_hostile_records_harm_nobody_and_all_arrive(seed: int) -> None:
    report, verdict = try_records(1_500, seed)
    assert list(faults_of(report, verdict)) == []
