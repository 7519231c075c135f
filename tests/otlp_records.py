"""Generated records for comparing what is written with what somebody else writes."""

from __future__ import annotations

import math
import random
import struct
from typing import Any, Final

from otel_tasklog.capture._record import NO_REST

__all__ = ["RecordMaker"]

# Where varints, lengths and their remembered prefixes change, and what is special.
BOUNDARIES: Final = (
    0, 1, 2, 127, 128, 16_383, 16_384, 2**31, 2**32, 2**53, 2**63 - 1,
)  # fmt: skip
DOUBLES: Final = (0.0, -0.0, 5e-324, 1.7976931348623157e308, math.inf, -math.inf, 0.1)
LETTERS: Final = (
    "aZ_09 \n\t\0\x7f\x80éßÿ\u0301\u05d0\u202e\u2028\ufeff\uffff中😀👩\u200d🚀"
)


class RecordMaker:
    """Makes records that differ, and what is likely to go wrong in them often.

    Args:
        seed: The same one makes the same records.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 - it is to be repeatable

    def integer(self) -> int:
        if self.random.random() < 0.3:
            number = self.random.choice(BOUNDARIES)
        else:
            number = self.random.getrandbits(self.random.randrange(64))
        return self.random.choice((number, -number, ~number))

    def text(self, longest: int = 40) -> str:
        if self.random.random() < 0.02:
            return "x" * self.random.choice((127, 128, 16_383, 16_384))
        letters = LETTERS if self.random.random() < 0.5 else "abc "
        return "".join(
            self.random.choices(letters, k=self.random.randrange(longest + 1))
        )

    def double(self) -> float:
        if self.random.random() < 0.3:
            return self.random.choice(DOUBLES)
        number: float = struct.unpack("<d", self.random.randbytes(8))[0]
        return 0.5 if math.isnan(number) else number

    def value(self, depth: int = 3) -> Any:
        kind = self.random.randrange(9 if depth else 7)
        if kind <= 1:
            return self.text()
        if kind <= 3:
            return self.integer()
        if kind == 4:
            return self.double()
        if kind == 5:
            return self.random.choice((True, False, None))
        if kind == 6:
            return self.random.randbytes(self.random.choice((0, 1, 20, 200)))
        if kind == 7:
            return tuple(self.value(depth - 1) for _ in range(self.count()))
        return {self.text(8) or "k": self.value(depth - 1) for _ in range(self.count())}

    def count(self) -> int:
        return self.random.choice((0, 1, 2, 3, 5))

    def some(self, value: Any) -> Any:
        return value if self.random.random() < 0.5 else None

    def span(self) -> tuple[int, int, int]:
        trace_id, span_id = self.random.getrandbits(128), self.random.getrandbits(64)
        return trace_id or 1, span_id or 1, self.random.choice((0, 1, 2, 3, 255))

    def body(self) -> dict[str, Any]:
        return {self.text(8) or "k": self.value() for _ in range(self.count())}

    def record(self) -> dict[str, Any]:
        number = self.random.randrange(5)
        job = f"job-{self.random.randrange(50)}"
        rare = self.random.random() < 0.1
        return {
            "timestamp": self.random.choice((0, 1, 2**63, 2**64 - 1))
            if rare
            else 1_700_000_000_000_000_000 + self.random.getrandbits(40),
            "scope": self.random.choice(("", "shop", "shop.orders", "ü", "__main__"))
            if rare
            else f"shop.part{self.random.randrange(30)}",
            "severity": self.random.randrange(25),
            "text": self.random.choice(("", "INFO", "WARN", "ERROR", "NOTICE")),
            "body": self.body() if rare else self.text(200),
            "attributes": {
                self.text(20) or f"key{n}": self.value() for n in range(self.count())
            }
            if rare
            else {f"key{n}": self.value() for n in range(number)},
            "span": self.some(self.span()),
            "where": (
                self.text(), self.random.randrange(20_000), self.text(10),
                self.random.getrandbits(48), self.text(10), self.random.randrange(1 << 22),
            ) if rare else ("shop/orders.py", 10 * number, "charge", 1, "MainThread", 9),
            "who": (
                self.some(job), self.some("job-0"),
                self.some(self.random.randrange(1_000)), self.some(f"Task-{number}"),
                self.some(0),
            ),
            "rest": (
                *(self.some(self.text()) for _ in range(5)),
                self.some(self.random.choice((1, 127, 128, 20_000))),
            ) if rare else NO_REST,
        }  # fmt: skip
