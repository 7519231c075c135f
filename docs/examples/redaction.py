import logging
import re

import otel_tasklog

tasklog = otel_tasklog.install(
    service_name="shop",
    level="INFO",
    redact_keys=(*otel_tasklog.SECRET_KEYS, "^tax_id$"),
    redact_patterns=(*otel_tasklog.SECRET_PATTERNS, re.compile(r"\bcustomer-\d+")),
)
log = logging.getLogger("shop")
log.info("login of %s", "bob", extra={"user": {"name": "bob", "password": "hunter2"}})
log.info("charging customer-4711, card 4111 1111 1111 1111", extra={"tax_id": "x-1"})
log.info("connecting to postgres://bob:hunter2@db.example/shop?sslmode=require")
log.info("headers: %s", {"Authorization": "Bearer abc", "Accept": "text/html"})

for record in tasklog.query(newest_first=False):
    print(record.message, record.attributes)
