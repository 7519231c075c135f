"""Configurations of structlog, among them those that its documentation suggests."""

from __future__ import annotations

import io
import json
import logging
import logging.config
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
import structlog
from structlog.processors import CallsiteParameter, CallsiteParameterAdder, TimeStamper
from structlog.stdlib import ProcessorFormatter

from otel_tasklog.capture.structlog import TaskLogSink

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Harness

Setup: TypeAlias = "Callable[[Harness], Any]"
"""Configures structlog, and returns a logger whose name is NAME."""

NAME = "structlog-test"
wrap: Any = ProcessorFormatter.wrap_for_formatter


def through_logging(
    *processors: Any, wrapper: Any = structlog.stdlib.BoundLogger
) -> Any:
    structlog.configure(
        processors=[*processors],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=wrapper,
    )
    return structlog.get_logger(NAME)


def directly(*processors: Any, level: int = 0, **initial: Any) -> Any:
    structlog.configure(
        processors=[*processors],
        logger_factory=structlog.PrintLoggerFactory(io.StringIO()),
        wrapper_class=structlog.make_filtering_bound_logger(level),
    )
    return structlog.get_logger().bind(**initial)


def way(harness: Harness, *processors: Any, direct: bool) -> Any:
    """Return a logger that ends in the handler, one way or the other."""
    if direct:
        return directly(*processors, TaskLogSink(harness.tasklog.handler), logger=NAME)
    return through_logging(*processors, wrap)


def rendered_in_structlog(_: Harness) -> Any:
    return through_logging(
        structlog.stdlib.filter_by_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        TimeStamper(fmt="iso"),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        structlog.processors.UnicodeDecoder(),
        CallsiteParameterAdder(
            {
                CallsiteParameter.FILENAME,
                CallsiteParameter.FUNC_NAME,
                CallsiteParameter.LINENO,
            }
        ),
        structlog.processors.JSONRenderer(),
    )


def rendered_by_logging(_: Harness) -> Any:
    """Without the processors whose results a record has itself."""
    return through_logging(
        structlog.stdlib.filter_by_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.UnicodeDecoder(),
        structlog.stdlib.render_to_log_kwargs,
    )


def rendered_by_logging_with_arguments(_: Harness) -> Any:
    last: Any = structlog.stdlib.render_to_log_args_and_kwargs
    return through_logging(structlog.stdlib.filter_by_level, last)


def processor_formatter(_: Harness) -> Any:
    """The simplest form, with the generic bound logger."""
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        TimeStamper(fmt="%Y-%m-%d %H:%M:%S"),
    ]
    console = logging.StreamHandler(io.StringIO())
    console.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                ProcessorFormatter.remove_processors_meta,
                structlog.dev.ConsoleRenderer(),
            ],
        )
    )
    logging.getLogger().addHandler(console)
    return through_logging(*shared, wrap, wrapper=structlog.BoundLogger)


def processor_formatter_in_dict_config(harness: Harness) -> Any:
    timestamper = TimeStamper(fmt="%Y-%m-%d %H:%M:%S")
    pre_chain = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        timestamper,
    ]
    formatter = {
        "()": ProcessorFormatter,
        "processors": [
            ProcessorFormatter.remove_processors_meta,
            structlog.dev.ConsoleRenderer(colors=False),
        ],
        "foreign_pre_chain": pre_chain,
    }
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"plain": formatter},
            "handlers": {
                "default": {
                    "class": "logging.StreamHandler",
                    "formatter": "plain",
                    "stream": io.StringIO(),
                },
                "tasklog": {"()": lambda: harness.tasklog.handler},
            },
            "loggers": {"": {"handlers": ["default", "tasklog"], "level": "INFO"}},
        }
    )
    return through_logging(
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        timestamper,
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        wrap,
    )


def recreated_defaults(_: Harness) -> Any:
    structlog.stdlib.recreate_defaults(log_level=None)
    return structlog.get_logger(NAME)


def console_before_the_renderer(harness: Harness) -> Any:
    """The default configuration, with our sink before its renderer."""
    return directly(
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.StackInfoRenderer(),
        structlog.dev.set_exc_info,
        TimeStamper(fmt="%Y-%m-%d %H:%M:%S", utc=False),
        TaskLogSink(harness.tasklog.handler, pass_on=True),
        structlog.dev.ConsoleRenderer(),
        logger=NAME,
    )


def performance(harness: Harness) -> Any:
    """The fastest one, JSON to a file, with our sink before its renderers."""
    structlog.configure(
        cache_logger_on_first_use=True,
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            TaskLogSink(harness.tasklog.handler, pass_on=True),
            structlog.processors.format_exc_info,
            TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(lambda v, **_: json.dumps(v).encode()),
        ],
        logger_factory=structlog.BytesLoggerFactory(io.BytesIO()),
    )
    return structlog.get_logger().bind(logger=NAME)


def sink_alone(harness: Harness) -> Any:
    return way(harness, structlog.processors.format_exc_info, direct=True)


STRUCTURED = [
    rendered_by_logging,
    rendered_by_logging_with_arguments,
    processor_formatter,
    processor_formatter_in_dict_config,
    console_before_the_renderer,
    performance,
    sink_alone,
]
NOT_KEYWORDS = STRUCTURED[2:]
"""Those whose keys are not keywords of a call of ``logging``."""
RENDERED = [rendered_in_structlog, recreated_defaults]
each_structured = pytest.mark.parametrize(
    "configure", STRUCTURED, ids=lambda f: f.__name__
)
each_not_keywords = pytest.mark.parametrize(
    "configure", NOT_KEYWORDS, ids=lambda f: f.__name__
)
either_way = pytest.mark.parametrize(
    "direct", [False, True], ids=["through logging", "directly"]
)
