import logging.config

import otel_tasklog

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {
        "console": {"class": "logging.StreamHandler", "level": "WARNING"},
        "tasklog": {"class": "otel_tasklog.TaskLogHandler", "level": "INFO"},
    },
    "root": {"level": "DEBUG", "handlers": ["console", "tasklog"]},
}

logging.config.dictConfig(LOGGING)
with otel_tasklog.install(service_name="shop", loggers=[]) as tasklog:
    log = logging.getLogger("shop")
    log.debug("below the handler's level")
    log.info("captured")
    log.warning("captured, and on the console")
    print([record.message for record in tasklog.query()])
