"""Objects that do something odd when they are looked at."""

from __future__ import annotations

import dataclasses
import enum
import logging
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

log: Final = logging.getLogger("odd")


class Colour(enum.Enum):
    RED = 1


class Number(enum.IntEnum):
    ONE = 1


class Word(enum.StrEnum):
    HELLO = "hello"


class Access(enum.Flag):
    READ = 1
    WRITE = 2


@dataclasses.dataclass
class Point:
    x: int
    y: int


class Pair(NamedTuple):
    left: int
    right: str


class Field:
    repr = True
    exclude = None


class Model:
    """As pydantic's models are."""

    model_fields: ClassVar = {"id": Field(), "name": Field()}

    def __init__(self) -> None:
        self.id = 7
        self.name = "seven"


class Plain:
    """Has no text of its own."""


class Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "not this"


class Saying:
    """Its text is what a function returns or raises."""

    def __init__(self, text: Callable[[], Any]) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text()  # type: ignore[no-any-return]

    __repr__ = __str__


def raising(error: BaseException) -> Callable[..., NoReturn]:
    """Return what raises, whatever it is asked."""

    def fails(*_: object) -> NoReturn:
        raise error

    return fails


class Recursing:
    def __str__(self) -> str:
        return str(self)

    __repr__ = __str__


class RaisingSequence(Sequence[int]):
    """Raises for its length, or else for its items."""

    def __init__(self, length: int | None) -> None:
        self._length = length

    def __len__(self) -> int:
        if self._length is None:
            raise ValueError
        return self._length

    def __getitem__(self, index: Any) -> Any:
        raise KeyError(index)

    def __iter__(self) -> Iterator[int]:
        raise OSError

    def __repr__(self) -> str:
        return "<a sequence>"


class RaisingMapping(Mapping[str, int]):
    def __len__(self) -> int:
        return 1

    def __getitem__(self, key: str) -> int:
        raise ValueError(key)

    def __iter__(self) -> Iterator[str]:
        yield "key"

    def __repr__(self) -> str:
        return "<a mapping>"


class EndlessSequence(Sequence[int]):
    """Has a length, and more items than that."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: Any) -> Any:
        return index

    def __iter__(self) -> Iterator[int]:
        while True:
            yield 1


class Lying:
    """Says that it is a text, and raises for that."""

    @property
    def __class__(self) -> type:
        raise ValueError

    @__class__.setter
    def __class__(self, value: type) -> None: ...

    def __str__(self) -> str:
        return "lying"


class Logging:
    """Logs when its text is asked for, as does what a property of it returns."""

    def __init__(self) -> None:
        self.logger = log

    @property
    def text(self) -> str:
        self.logger.info("logged inside")
        return "said"

    def __str__(self) -> str:
        return self.text


class Waiting:
    """Its text comes from another thread, which logs first."""

    def __init__(self) -> None:
        self.thread = threading.Thread(target=log.info, args=("the other thread",))

    def __str__(self) -> str:
        self.thread.start()
        self.thread.join(1.0)
        return "deadlock" if self.thread.is_alive() else "waited"


class RaisingError(Exception):
    def __str__(self) -> str:
        raise ValueError


def nested(levels: int, kind: type[list[Any] | dict[Any, Any]] = list) -> object:
    """Return a container in a container, and so on."""
    value: object = "innermost"
    for _ in range(levels):
        value = [value] if kind is list else {"k": value}
    return value


def cycle() -> list[Any]:
    value: list[Any] = [1]
    value.append(value)
    return value


def cyclic_mapping() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["self"] = value
    return value


def shared() -> list[Any]:
    """Return ten of ten of ten ..., each of them one and the same list."""
    value: list[Any] = ["ha"]
    for _ in range(9):
        value = [value] * 10
    return value
