"""The way out: what the worker thread does with a record after the call."""
