"""Where what is made at random gets its choices from."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final, Protocol

from hypothesis import strategies as st

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn

__all__ = ["Drawn", "Seeded", "Source"]

LETTERS: Final = (
    "aZ_09 .-\n\t\0\x07\x1b\x7f\x80\x9b\xadß\u0301\u05d0\u200d\u202e\u2028\ufeff\ufffd"
    "\uffff中😀\ud800\udc80\udcff\udfff"
)


class Source(Protocol):
    """Where choices come from."""

    def below(self, end: int) -> int:
        """Return a number from 0 on; small ones are the simpler ones."""
        ...

    def text(self, longest: int) -> str: ...

    def integer(self) -> int: ...

    def double(self) -> float: ...

    def data(self) -> bytes: ...


class Seeded:
    """Choices by a seed: fast, and equal for equal seeds."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)  # noqa: S311 - it is to be repeatable

    def below(self, end: int) -> int:
        return int(self._random.random() * end)

    def text(self, longest: int) -> str:
        letters = LETTERS if self.below(3) == 0 else "abc de"
        return "".join(self._random.choices(letters, k=self.below(longest + 1)))

    def integer(self) -> int:
        return self._random.getrandbits(self.below(70)) * (1 - 2 * self.below(2))

    def double(self) -> float:
        return self._random.uniform(-1e6, 1e6)

    def data(self) -> bytes:
        return self._random.randbytes(self.below(40))


class Drawn:
    """Choices of Hypothesis."""

    def __init__(self, draw: DrawFn) -> None:
        self._draw = draw

    def below(self, end: int) -> int:
        return self._draw(st.integers(0, end - 1))

    def text(self, longest: int) -> str:
        letters = st.characters(codec=None, categories=None)  # with surrogates
        return self._draw(st.text(letters, max_size=longest))

    def integer(self) -> int:
        return self._draw(st.integers())

    def double(self) -> float:
        return self._draw(st.floats())

    def data(self) -> bytes:
        return self._draw(st.binary(max_size=40))
