"""The variables of OpenTelemetry that are set, and what is installed."""

from __future__ import annotations

import difflib
import platform
import re
from importlib import metadata
from typing import TYPE_CHECKING, Final, NamedTuple

import opentelemetry.environment_variables
import opentelemetry.sdk.environment_variables

from otel_tasklog._environ import VARIABLES
from otel_tasklog.cli._checks_settings import OPTIONS
from otel_tasklog.cli._findings import Finding, failed, ok, warning
from otel_tasklog.viewer._places import DIRECTORY_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

__all__ = ["check_variables", "check_versions"]

HONOURED: Final = frozenset(
    {
        *(name for variable in VARIABLES for name in variable.names),
        "OTEL_SDK_DISABLED",
        "OTEL_SERVICE_NAME",
        "OTEL_RESOURCE_ATTRIBUTES",
        "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS",
        DIRECTORY_VARIABLE,
    }
)
_SPECIFIED: Final = frozenset(
    name
    for module in (
        opentelemetry.environment_variables,
        opentelemetry.sdk.environment_variables,
    )
    for name in vars(module)
    if name.startswith("OTEL_")
)
_UNREAD: Final = {
    # Of logs, so that somebody may count on them.
    "OTEL_CONFIG_FILE": "its settings are not read: give them to install(), or as "
    "variables",
    "OTEL_LOG_LEVEL": "not read: set the level of the logger 'otel_tasklog'",
}
_ELSEWHERES: Final = (
    "OTEL_PYTHON_", "OTEL_INSTRUMENTATION_", "OTEL_SEMCONV_", "OTEL_TRACES_",
    "OTEL_METRIC", "OTEL_SPAN_", "OTEL_BSP_", "OTEL_TASKLOG_LOKI_",
)  # fmt: skip
"""What begins so is read by others, or by ``--loki``, and does nothing to logs."""

_ALIKE: Final = 0.9
_SIMILAR: Final = 0.65

_DISTRIBUTION: Final = "otel-tasklog"
_PINNING: Final = (_DISTRIBUTION, "opentelemetry-sdk")
"""Whose requirements are looked at. The SDK is of one version with the API."""

_REQUIREMENT: Final = re.compile(r"([\w.-]+)(?:\[.*?\])?\s*([^;]*?)\s*(?:;\s*(.*))?")
_EXTRA: Final = re.compile(r"extra == ['\"]([\w-]+)['\"]")
_BOUND: Final = re.compile(r"(>=|<=|==|<|>)\s*([\w.]+)")
_NO_FEATURES: Final = frozenset({"all", "test"})


def check_variables(
    environ: Mapping[str, str], given: Collection[str]
) -> Iterator[Finding]:
    """Tell which variables count, which do not, and which are misspelt.

    Args:
        environ: The variables.
        given: The settings that options decided.
    """
    names = sorted(name for name in environ if name.startswith("OTEL_"))
    filled = [name for name in names if environ[name].strip()]
    shadowed = _shadowed(filled, given)
    others: list[str] = []
    counted = [each for each in filled if each in HONOURED and each not in shadowed]
    yield ok("variables", f"honoured: {', '.join(counted) or 'none is set'}")
    if empty := sorted({*names} - {*filled}):
        yield ok("variables", f"empty, which counts as not set: {', '.join(empty)}")
    for name, winner in shadowed.items():
        yield ok("variables", f"{name} is not looked at, as there is {winner}")
    for name in filled:
        if name in HONOURED:
            continue
        if name in _UNREAD:
            yield warning("variables", f"{name} does nothing here", _UNREAD[name])
        elif meant := _meant(name):
            yield warning(
                "variables",
                f"{name} is no variable of OpenTelemetry",
                f"did you mean {meant}?",
            )
        elif name in _SPECIFIED or name.startswith(_ELSEWHERES):
            others.append(name)
        else:
            yield warning(
                "variables",
                f"{name} is not known here, and does nothing to logs",
                "unset it, unless another library reads it",
            )
    if others:
        yield ok("variables", f"nothing to do with logs: {', '.join(others)}")


def _shadowed(names: Collection[str], given: Collection[str]) -> dict[str, str]:
    """Return the variables that lose against an option or another, and that one."""
    shadowed: dict[str, str] = {}
    for variable in VARIABLES:
        present = [name for name in variable.names if name in names]
        if variable.setting in given:
            present.insert(0, OPTIONS[variable.setting])
        for name in present[1:]:
            shadowed[name] = present[0]
    return shadowed


def _meant(name: str) -> str:
    """Return the variable that a name seems to be a slip for, or nothing."""
    if name in _SPECIFIED:
        return ""
    close = difflib.get_close_matches(name, _SPECIFIED | HONOURED, 1, _ALIKE)
    if not close and not name.startswith(_ELSEWHERES):
        close = difflib.get_close_matches(name, HONOURED, 1, _SIMILAR)
    return close[0] if close else ""


class _Requirement(NamedTuple):
    """What a distribution needs: which, in which versions, for which extra."""

    name: str
    versions: str
    extra: str

    @property
    def installed(self) -> str | None:
        """The version that there is, if there is one."""
        try:
            return metadata.version(self.name)
        except metadata.PackageNotFoundError:
            return None

    @property
    def is_met(self) -> bool:
        """Whether the version that there is, is one that is needed."""
        there = self.installed
        return there is not None and all(
            _holds(there, sign, bound) for sign, bound in _BOUND.findall(self.versions)
        )


def check_versions() -> Iterator[Finding]:
    """Tell the versions, and which of them are not what is needed."""
    requirements = _requirements(_DISTRIBUTION)
    found = [f"Python {platform.python_version()}", _named(_DISTRIBUTION)]
    found += [_named(each.name) for each in requirements if not each.extra]
    yield ok("versions", ", ".join(found))
    for name in _PINNING:
        for each in _requirements(name):
            if not each.extra and not each.is_met:
                yield failed("versions", *_unmet(each, name))
    there: list[str] = []
    missing: list[str] = []
    for extra in sorted({each.extra for each in requirements} - {"", *_NO_FEATURES}):
        needed = [each for each in requirements if each.extra == extra]
        if any(each.installed is None for each in needed):
            missing.append(extra)
            continue
        there.append(f"{extra} ({', '.join(_named(each.name) for each in needed)})")
        for each in needed:
            if not each.is_met:
                owner = f"{_DISTRIBUTION}[{extra}]"
                yield warning("extras", *_unmet(each, owner))
    lacking = f"; not installed: {', '.join(missing)}" if missing else ""
    yield ok("extras", f"installed: {', '.join(there) or 'none'}{lacking}")


def _named(name: str) -> str:
    return f"{name} {_Requirement(name, '', '').installed or 'is missing'}"


def _unmet(requirement: _Requirement, owner: str) -> tuple[str, str]:
    name, versions, _ = requirement
    said = f"{_named(name)}, but {owner} needs {name}{versions}"
    return said, f"pip install '{name}{versions}'"


def _requirements(distribution: str) -> list[_Requirement]:
    """Return what it needs wherever it runs, and for its extras."""
    try:
        lines = metadata.requires(distribution) or []
    except metadata.PackageNotFoundError:  # run from its source, not installed
        return []
    requirements: list[_Requirement] = []
    for line in lines:
        parts = _REQUIREMENT.fullmatch(line)
        if parts is None:
            continue
        name, versions, marker = parts.groups()
        extra = _EXTRA.fullmatch((marker or "").strip())
        if not marker or extra is not None:  # not of some systems only
            requirements.append(_Requirement(name, versions, extra[1] if extra else ""))
    return requirements


def _holds(there: str, sign: str, bound: str) -> bool:
    """Return whether a version is within a bound, by their release numbers."""
    left, right = _release(there), _release(bound)
    width = max(len(left), len(right))
    left += (0,) * (width - len(left))
    right += (0,) * (width - len(right))
    return {
        ">=": left >= right,
        "<=": left <= right,
        "==": left == right,
        "<": left < right,
        ">": left > right,
    }[sign]


def _release(version: str) -> tuple[int, ...]:
    numbers = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(map(int, numbers[0].split("."))) if numbers is not None else ()
