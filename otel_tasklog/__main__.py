"""``python -m otel_tasklog``: the same as the command ``otel-tasklog``."""

from otel_tasklog.cli import main

main()
