"""AsyncZ's log storage and handler, without the web framework of their package."""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

__all__ = ["load"]

_PACKAGE = "asyncz.contrib.dashboard"


def load() -> tuple[type[Any], type[Any]]:
    """Return ``MemoryLogStorage`` and ``TaskLogHandler``.

    Their package imports lilya, for the pages that show the logs. The files with the
    two classes are loaded alone; a module that is not used stands in for the pages.
    """
    found = importlib.util.find_spec("asyncz")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError(
            "AsyncZ is a peer here: pip install --group benchmarks", name="asyncz"
        )
    logs = Path(found.submodule_search_locations[0], "contrib", "dashboard", "logs")
    pages: Any = types.ModuleType(f"{_PACKAGE}.controllers.logs")
    pages.get_log_storage = None
    sys.modules[pages.__name__] = pages
    storage = _load(f"{_PACKAGE}.logs.storage", logs / "storage.py")
    handler = _load(f"{_PACKAGE}.logs.handler", logs / "handler.py")
    return storage.MemoryLogStorage, handler.TaskLogHandler


def _load(name: str, path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
