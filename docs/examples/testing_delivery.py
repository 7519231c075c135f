import logging

from otel_tasklog import Config, TaskLog
from otel_tasklog.testing import Accepted, MemorySender, Rejected

log = logging.getLogger("shop")
log.setLevel("INFO")
log.propagate = False


def test_what_would_be_sent() -> None:
    sender = MemorySender()
    with TaskLog(Config(service_name="shop"), sender=sender) as tasklog:
        log.addHandler(tasklog.handler)
        log.info("charging", extra={"amount": 12.5, "card_token": "4111"})
        log.removeHandler(tasklog.handler)
    [record] = sender.records
    assert record.body == "charging"
    assert record.attributes["amount"] == 12.5
    assert "4111" not in record.attributes.values()
    assert record.resource["service.name"] == "shop"


def test_a_refused_batch_is_counted() -> None:
    sender = MemorySender([Rejected("http 400", "no thanks"), Accepted()])
    with TaskLog(Config(), sender=sender) as tasklog:
        log.addHandler(tasklog.handler)
        log.info("refused")
        assert tasklog.flush()
        log.info("taken")
        assert tasklog.flush()
        log.removeHandler(tasklog.handler)
        stats = tasklog.stats()
    assert stats.rejected_by == {"http 400": 1}
    assert stats.delivered == 1


test_what_would_be_sent()
test_a_refused_batch_is_counted()
print("passed")
