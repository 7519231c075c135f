import logging

import otel_tasklog
from otel_tasklog.viewer import Receiver

received: list[object] = []

with (
    Receiver(lambda records: received.extend(r.body for r in records)) as receiver,
    otel_tasklog.install(endpoint=receiver.endpoint, level="INFO") as tasklog,
):
    logging.getLogger("shop").info("over a socket")
    assert tasklog.flush()

print(received)
