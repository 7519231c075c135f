import logging.config

import otel_tasklog

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {
        "console": {"class": "logging.StreamHandler", "level": "WARNING"},
        "tasklog": {
            "class": "otel_tasklog.TaskLogHandler",
            "level": "INFO",
            "service_name": "shop",
        },
    },
    "root": {"level": "DEBUG", "handlers": ["console", "tasklog"]},
}

logging.config.dictConfig(LOGGING)
log = logging.getLogger("shop")
log.debug("below the handler's level")
log.info("captured")
log.warning("captured, and on the console")
print([record.message for record in otel_tasklog.current().query()])
