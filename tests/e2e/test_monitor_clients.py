"""Telnet clients that are killed at every stage, while a real program logs on.

``python -m e2e.monitor_clients`` does the same at length.
"""

from __future__ import annotations

import sys

import pytest
from e2e.monitor_clients.__main__ import faults_of, try_clients

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        not sys.platform.startswith("linux"),
        reason="what a process takes is read from /proc; to enable: run on Linux",
    ),
]


def test_they_cost_no_record_and_leave_nothing_behind() -> None:
    """By a reset, and by an orderly end."""
    outcome = try_clients(rounds=2, rate=2_000)
    assert [*faults_of(outcome)] == []
    assert outcome.received[0] > 0
