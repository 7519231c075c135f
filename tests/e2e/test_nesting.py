"""What is nested as deeply as it may be, through a collector of another make."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

import otel_tasklog

if TYPE_CHECKING:
    from e2e.conftest import ReceiverProcess

pytestmark = pytest.mark.e2e
log = logging.getLogger("nesting")


def _nested(*kinds: type) -> object:
    """Return containers inside each other, of these types in turn."""
    nested: object = "innermost"
    for _ in range(100):
        for kind in kinds:
            nested = {"k": nested} if kind is dict else [nested]
    return nested


@pytest.mark.parametrize(
    "kinds", [(list,), (dict,), (list, dict), (dict, dict, list)], ids=str
)
def test_the_deepest_values_are_taken_by_a_receiver_with_limits_of_its_own(
    rotel: dict[str, str], receiver: ReceiverProcess, kinds: tuple[type, ...]
) -> None:
    """Protobuf's libraries refuse a request for one value nested too deeply."""
    with otel_tasklog.install(
        endpoint=rotel["http/protobuf"], service_name="e2e", loggers=[log]
    ) as tasklog:
        log.setLevel(logging.INFO)
        log.propagate = False
        log.info("an attribute", extra={"value": _nested(*kinds)})
        log.info({"body": _nested(*kinds)})
        assert tasklog.flush(30)
        assert tasklog.stats().delivered == 2
    receiver.wait_for(2)
    [attribute, body] = receiver.close()
    for arrived in (attribute["attributes"]["value"], body["body"]):
        assert str(arrived).count("<nested too deeply>") == 1
        assert "innermost" not in str(arrived)
