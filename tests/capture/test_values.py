"""What becomes of a value in the log call: `snapshot`."""

from __future__ import annotations

import array
import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import http
import ipaddress
import itertools
import math
import numbers
import pathlib
import re
import sys
import threading
import time
import types
import uuid
import weakref
import zlib
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, cast

import attrs
import pytest
from hostile_values import HOSTILE, PLAIN, Interrupting
from hypothesis import given
from hypothesis import strategies as st

from otel_tasklog.capture._values import (
    MAX_ITEMS,
    MAX_TOTAL_CHARACTERS,
    MAX_TOTAL_ITEMS,
    SHORT_CHARACTERS,
    VALUE_CHARACTERS,
    snapshot,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Harness

DEEPEST_MAPPING: Final = 30
DEEPEST_SEQUENCE: Final = 45
HOUR: Final = datetime.timezone(datetime.timedelta(hours=1))


class Colour(enum.Enum):
    RED = 1


class Scale(enum.IntEnum):
    SMALL = 1


class Word(enum.StrEnum):
    HELLO = "hello"


class Mixed(str, enum.Enum):  # noqa: UP042 - as of old
    HERE = "there"


class Access(enum.Flag):
    READ = 1
    WRITE = 2


class Bits(enum.IntFlag):
    LOW = 1


class Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "not this"


class Number(int):
    def __int__(self) -> int:
        return -1

    def __str__(self) -> str:
        return "not this"


class Double(float):
    def __float__(self) -> float:
        return -1.0


class Data(bytes):
    def __bytes__(self) -> bytes:
        return b"not this"


class Integral:
    """As NumPy's integers are."""

    def __int__(self) -> int:
        return 7


class Real:
    """As NumPy's floats are."""

    def __float__(self) -> float:
        return 0.5


numbers.Integral.register(Integral)
numbers.Real.register(Real)


class Pair(NamedTuple):
    left: int
    right: object


@dataclasses.dataclass
class Order:
    number: int
    items: object = ()
    kind: dataclasses.InitVar[int] = 0
    total: float = dataclasses.field(init=False)
    card: str = dataclasses.field(default="4111", repr=False)


@dataclasses.dataclass(slots=True)
class Slim:
    x: int


@attrs.define
class Account:
    owner: str
    pin: str = attrs.field(default="1234", repr=False)
    card: str = attrs.field(default="4111-22", repr=lambda card: card[-2:])


class Quiet:
    def __str__(self) -> str:
        return "quiet"

    def method(self) -> None: ...


class TextOfText:
    """Its text is no exact one."""

    def __str__(self) -> str:
        return Text("inner")


class Lying(tuple[object, ...]):
    """Has names for other items than those it has."""

    __slots__ = ()
    _fields = ("a", "b", "c")


def released() -> memoryview:
    view = memoryview(b"gone")
    view.release()
    return view


def node() -> dict[str, object]:
    parent: dict[str, object] = {"name": "parent"}
    parent["child"] = {"name": "child", "parent": parent}
    return parent


def generator() -> Iterator[int]:
    yield from range(3)


def rows(
    *given: tuple[str, Callable[[], object], object],
) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        ("make", "expected"),
        [pytest.param(make, expected, id=name) for name, make, expected in given],
    )


@rows(
    ("None", lambda: None, None),
    ("bool", lambda: True, True),
    ("int", lambda: -5, -5),
    ("int beyond 64 bits", lambda: 2**64, 2**64),
    ("int without decimal text", lambda: 10**5000, 10**5000),
    ("int subclass", lambda: Number(5), 5),
    ("Integral", Integral, 7),
    ("float", lambda: 0.5, 0.5),
    ("inf", lambda: -math.inf, -math.inf),
    ("float subclass", lambda: Double(0.5), 0.5),
    ("Real", Real, 0.5),
    ("Decimal", lambda: decimal.Decimal("1.50"), "1.50"),
    ("Fraction", lambda: fractions.Fraction(1, 3), "1/3"),
    ("complex", lambda: 1 + 2j, "(1+2j)"),
    ("str", lambda: "\udc80x", "\udc80x"),
    ("str subclass", lambda: Text("this"), "this"),
    ("UserString", lambda: collections.UserString("user"), "user"),
    ("bytes", lambda: b"\xff", b"\xff"),
    ("bytes subclass", lambda: Data(b"this"), b"this"),
    ("bytearray", lambda: bytearray(b"ab"), b"ab"),
    ("memoryview", lambda: memoryview(b"ab"), b"ab"),
    ("memoryview of every other", lambda: memoryview(b"abcdef")[::2], b"ace"),
    ("memoryview of numbers", lambda: memoryview(array.array("B", [1, 2])), b"\1\2"),
    (
        "memoryview of two dimensions",
        lambda: memoryview(b"abcdef").cast("B", [2, 3]),
        b"abcdef",
    ),
    ("memoryview, released", released, "<memoryview: ValueError while reading>"),
    ("Enum", lambda: Colour.RED, "RED"),
    ("IntEnum", lambda: Scale.SMALL, "SMALL"),
    ("StrEnum", lambda: Word.HELLO, "HELLO"),
    ("Enum of texts", lambda: Mixed.HERE, "HERE"),
    ("HTTPStatus", lambda: http.HTTPStatus.NOT_FOUND, "NOT_FOUND"),
    ("Flag", lambda: Access.READ | Access.WRITE, "READ|WRITE"),
    ("Flag without a name", lambda: Access(0), 0),
    ("IntFlag with unknown bits", lambda: Bits(9), "LOW|8"),
    (
        "datetime",
        lambda: datetime.datetime(2026, 1, 2, 3, 4, 5, 6, HOUR),
        "2026-01-02T03:04:05.000006+01:00",
    ),
    ("date", lambda: datetime.date(2026, 1, 2), "2026-01-02"),
    ("time", lambda: datetime.time(3, 4), "03:04:00"),
    ("timedelta", lambda: datetime.timedelta(days=1, hours=2), "1 day, 2:00:00"),
    ("UUID", lambda: uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    ("Path", lambda: pathlib.PurePosixPath("/var/log"), "/var/log"),
    ("IP address", lambda: ipaddress.ip_address("::1"), "::1"),
    ("Ellipsis", lambda: ..., "Ellipsis"),
    ("pattern", lambda: re.compile("x"), "re.compile('x')"),
    ("exception", lambda: ValueError("bad"), "ValueError: bad"),
    ("exception without text", KeyError, "KeyError"),
    ("KeyError", lambda: KeyError("k"), "KeyError: 'k'"),
    ("OSError", lambda: OSError(2, "gone"), "FileNotFoundError: [Errno 2] gone"),
    ("exception of a module", lambda: zlib.error("bad"), "zlib.error: bad"),
    ("class", lambda: int, "int"),
    ("class of a module", lambda: decimal.Decimal, "decimal.Decimal"),
    ("function", lambda: node, f"{__name__}.node"),
    ("built-in function", lambda: len, "len"),
    ("method", lambda: Quiet().method, f"{__name__}.Quiet.method"),
    ("object", Quiet, "quiet"),
    ("object whose text is no exact one", TextOfText, "inner"),
)  # fmt: skip
def test_a_scalar_becomes_what_a_person_would_expect(
    make: Callable[[], object], expected: object
) -> None:
    copy = snapshot(make())
    assert copy == expected
    assert type(copy) is type(expected)


def test_nan_stays_nan() -> None:
    copy = snapshot(Double(math.nan))
    assert type(copy) is float
    assert math.isnan(copy)


@rows(
    ("list", lambda: [1, [2, None]], (1, (2, None))),
    ("tuple", lambda: (1, "a"), (1, "a")),
    ("deque", lambda: collections.deque([1, 2]), (1, 2)),
    ("range", lambda: range(3), (0, 1, 2)),
    ("array", lambda: array.array("d", [0.5]), (0.5,)),
    ("UserList", lambda: collections.UserList([1]), (1,)),
    ("dict keys, in their order", {"b": 1, "a": 2}.keys, ("b", "a")),
    ("dict values", {"b": 1, "a": 2}.values, (1, 2)),
    ("dict items", {"b": 1}.items, (("b", 1),)),
    ("struct_time", lambda: time.gmtime(0), (1970, 1, 1, 0, 0, 0, 3, 1, 0)),
    ("set", lambda: {10, 9, -1}, (-1, 9, 10)),
    ("frozenset", lambda: frozenset("ba"), ("a", "b")),
    (
        "set of several types",
        lambda: {None, "b", (1,), b"z", 2, "a", 1.5},
        (1.5, 2, b"z", "a", "b", (1,), None),
    ),
    ("set of Enum members", lambda: {Colour.RED, Scale.SMALL}, ("RED", "SMALL")),
    ("set-like", lambda: collections.Counter("ba").keys() & {"a"}, ("a",)),
    ("tuple with names of others", lambda: Lying((1, 2)), (1, 2)),
    ("empty", lambda: [(), {}, set(), b"", ""], ((), {}, (), b"", "")),
    ("what is in it", lambda: [Colour.RED, Quiet(), Text("t")], ("RED", "quiet", "t")),
)  # fmt: skip
def test_a_sequence_or_a_set_becomes_a_tuple(
    make: Callable[[], object], expected: object
) -> None:
    assert snapshot(make()) == expected


@rows(
    ("dict", lambda: {"a": {"b": [1]}}, {"a": {"b": (1,)}}),
    ("OrderedDict", lambda: collections.OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
    ("defaultdict", lambda: collections.defaultdict(int, a=1), {"a": 1}),
    ("ChainMap", lambda: collections.ChainMap({"a": 1}), {"a": 1}),
    ("UserDict", lambda: collections.UserDict({"a": 1}), {"a": 1}),
    ("mappingproxy", lambda: types.MappingProxyType({"a": 1}), {"a": 1}),
    ("namedtuple", lambda: Pair(1, [2]), {"left": 1, "right": (2,)}),
    ("dataclass with slots", lambda: Slim(1), {"x": 1}),
    ("attrs", lambda: Account("o"), {"owner": "o", "card": "22"}),
)  # fmt: skip
def test_a_mapping_and_what_has_fields_becomes_a_dict(
    make: Callable[[], object], expected: object
) -> None:
    copy = snapshot(make())
    assert copy == expected
    assert list(cast("dict[str, object]", copy)) == list(
        cast("dict[str, object]", expected)
    )


def test_a_model_of_pydantic_becomes_a_dict_of_what_it_shows() -> None:
    pydantic = pytest.importorskip(
        "pydantic", reason="pydantic is not installed; to enable: pip install pydantic"
    )
    user: Any = pydantic.create_model(
        "User",
        __config__=pydantic.ConfigDict(extra="allow"),
        name=str,
        password=(pydantic.SecretStr, "hunter2"),
        pin=(str, pydantic.Field("1234", repr=False)),
        card=(str, pydantic.Field("4111", exclude=True)),
    )
    made = user(name="u", password=pydantic.SecretStr("hunter2"), more=[1])
    assert snapshot(made) == {"name": "u", "password": "**********", "more": (1,)}


def test_a_field_that_raises_leaves_the_others() -> None:
    """And one that its author keeps out of the repr is kept out of the log."""
    assert snapshot(Order(7, [Slim(1)])) == {
        "number": 7,
        "items": ({"x": 1},),
        "total": "<Order: AttributeError while reading>",
    }


@rows(
    ("equal texts", lambda: {1: "a", "1": "b"}, {"1": "a", "1_2": "b"}),
    (
        "a text that is taken already",
        lambda: {"1_2": "a", 1: "b", "1": "c"},
        {"1_2": "a", "1": "b", "1_3": "c"},
    ),
    (
        "None and numbers",
        lambda: {None: 1, False: 2, 1.5: 3, -1: 4},
        {"None": 1, "False": 2, "1.5": 3, "-1": 4},
    ),
    ("bytes", lambda: {b"k": 1, b"\xff": 2}, {"k": 1, "\\xff": 2}),
    ("Enum members", lambda: {Colour.RED: 1, Scale.SMALL: 2}, {"RED": 1, "SMALL": 2}),
    ("a tuple", lambda: {(1, Colour.RED): 1}, {"(1, 'RED')": 1}),
    ("a date", lambda: {datetime.date(2026, 1, 2): 1}, {"2026-01-02": 1}),
    ("a str subclass", lambda: {Text("this"): 1}, {"this": 1}),
    ("the empty text", lambda: {"": 1}, {"": 1}),
    ("a lone surrogate", lambda: {"\udc80": 1}, {"\udc80": 1}),
    (
        "long ones that begin alike",
        lambda: {"k" * 300: 1, "k" * 301: 2, "k" * 300 + "a": 3},
        {
            f"{'k' * 108}… [84 characters cut] {'k' * 108}": 1,
            f"{'k' * 108}… [85 characters cut] {'k' * 108}": 2,
            f"{'k' * 108}… [85 characters cut] {'k' * 107}a": 3,
        },
    ),
)  # fmt: skip
def test_keys_become_texts_that_differ(
    make: Callable[[], object], expected: object
) -> None:
    copy = snapshot(make())
    assert copy == expected
    assert all(type(key) is str for key in cast("dict[str, object]", copy))


def test_a_thousand_keys_with_one_text_are_told_apart() -> None:
    copy = snapshot({Quiet(): number for number in range(MAX_ITEMS)})
    assert list(cast("dict[str, int]", copy).values()) == list(range(MAX_ITEMS))
    assert list(cast("dict[str, int]", copy))[:3] == ["quiet", "quiet_2", "quiet_3"]


@given(st.permutations([None, math.nan, 2, 1.5, True, "a", "b", b"a", (1,), 2**70]))
def test_the_order_of_a_set_does_not_depend_on_how_it_was_filled(
    members: list[object],
) -> None:
    class InThisOrder(AbstractSet[object]):
        def __iter__(self) -> Iterator[object]:
            return iter(members)

        def __len__(self) -> int:
            return len(members)

        def __contains__(self, item: object) -> bool:
            return item in members

    assert (
        repr(snapshot(InThisOrder()))
        == repr((True, 1.5, 2, 2**70, b"a", "a", "b", (1,), None, math.nan))
    )  # fmt: skip


# --- limits ----------------------------------------------------------------------------


def levels(value: object) -> int:
    """Return how many messages are inside each other for a value, on the wire."""
    if type(value) is tuple:
        return 2 + max(map(levels, value), default=0)
    if type(value) is dict:
        return 3 + max(map(levels, value.values()), default=0)
    return 0


def nested(*kinds: type, depth: int = 1_000) -> object:
    """Return containers inside each other, of these types in turn."""
    inner: object = "innermost"
    for _ in range(depth):
        for kind in kinds:
            inner = {"k": inner} if kind is dict else [inner]
    return inner


@pytest.mark.parametrize(
    "kinds", [(list,), (dict,), (list, dict), (dict, dict, list)], ids=str
)
def test_the_deepest_values_are_what_receivers_take(
    harness: Harness, kinds: tuple[type, ...]
) -> None:
    """`MemorySender` reads with protobuf's own library, which refuses what is deeper."""
    harness.log.info("x", extra={"value": nested(*kinds)})
    harness.log.info({"body": nested(*kinds)})
    assert harness.tasklog.flush()
    first, second = harness.sender.records
    assert "<nested too deeply>" in str(first.attributes["value"])
    assert "<nested too deeply>" in str(second.body)
    assert 88 <= levels(snapshot(nested(*kinds))) <= 90


def test_what_is_as_deep_as_may_be_is_whole() -> None:
    for kind, depth in ((dict, DEEPEST_MAPPING), (list, DEEPEST_SEQUENCE)):
        assert "innermost" in str(snapshot(nested(kind, depth=depth)))
        assert "<nested too deeply>" in str(snapshot(nested(kind, depth=depth + 1)))


def test_what_contains_itself_ends_there() -> None:
    assert snapshot(node()) == {
        "name": "parent",
        "child": {"name": "child", "parent": "<cycle>"},
    }
    order = Order(1)
    order.items = [order]
    assert cast("dict[str, object]", snapshot(order))["items"] == ("<cycle>",)
    shared = [1]
    assert snapshot([shared, shared]) == ((1,), (1,))


def test_of_a_container_the_first_thousand_are_kept_and_the_rest_is_said() -> None:
    kept = tuple(range(MAX_ITEMS))
    assert snapshot(list(kept)) == kept
    assert snapshot([*kept, 1, 2]) == (*kept, "… [2 items cut]")
    assert snapshot(range(10**30)) == (*kept, "… [more items cut]")  # has no len()
    mapping = snapshot(dict.fromkeys(range(MAX_ITEMS + 2), 0))
    assert mapping == {**{str(n): 0 for n in kept}, "… items cut": 2}
    members = cast("tuple[object, ...]", snapshot(set(range(10**6))))
    assert len(members) == MAX_ITEMS + 1
    assert members[-1] == f"… [{10**6 - MAX_ITEMS} items cut]"


def test_no_more_is_read_than_is_kept() -> None:
    class Endless(Sequence[int]):
        read = 0

        def __len__(self) -> int:
            return 3

        def __getitem__(self, index: Any) -> Any:
            self.read += 1
            return index

    class EndlessMap(Mapping[int, int]):
        read = 0

        def __len__(self) -> int:
            raise OSError

        def __iter__(self) -> Iterator[int]:
            return itertools.count()

        def __getitem__(self, key: int) -> int:
            self.read += 1
            return key

    endless, mapping = Endless(), EndlessMap()
    assert str(snapshot(endless)).endswith("'… [more items cut]')")
    assert str(snapshot(mapping)).endswith("'… items cut': 'more'}")
    assert endless.read == mapping.read == MAX_ITEMS + 1


def test_of_all_containers_together_ten_thousand_items_are_kept() -> None:
    copy = cast("tuple[Any, ...]", snapshot([[0] * 900 for _ in range(900)]))
    inner = [each for each in copy if type(each) is tuple]
    assert 900 + sum(map(len, inner)) == MAX_TOTAL_ITEMS + 1  # with the mark
    assert inner[-1][-1] == "… [800 items cut]"
    assert set(copy[len(inner) :]) == {"<too many items>"}


def test_texts_inside_are_cut_and_all_of_them_are_bounded() -> None:
    text = "x" * 20_000
    whole, raw = cast("tuple[str, bytes]", snapshot([text, text.encode()]))
    assert len(whole) <= len(raw) == VALUE_CHARACTERS
    assert whole.endswith("characters cut]")
    many = cast("tuple[str, ...]", snapshot([text] * MAX_ITEMS))
    assert all(each.endswith("characters cut]") for each in many)
    most = MAX_TOTAL_CHARACTERS + VALUE_CHARACTERS + MAX_ITEMS * SHORT_CHARACTERS
    assert sum(map(len, many)) <= most
    short = "y" * SHORT_CHARACTERS
    assert snapshot([text] * 100 + [short])[-1] == short  # type: ignore[index]


def test_a_long_buffer_is_not_copied_whole() -> None:
    assert len(cast("bytes", snapshot(bytearray(10**6)))) == VALUE_CHARACTERS
    assert len(cast("bytes", snapshot(memoryview(bytes(10**6))))) == VALUE_CHARACTERS


def test_the_text_of_an_object_is_cut() -> None:
    copy = snapshot(ValueError("x" * 10**6))
    assert len(cast("str", copy)) < VALUE_CHARACTERS + 100


# --- what means harm -------------------------------------------------------------------


def is_value(copy: object) -> bool:
    """Return whether nothing but plain values is in a copy."""
    if type(copy) is tuple:
        return all(map(is_value, copy))
    if type(copy) is dict:
        return all(type(k) is str and is_value(v) for k, v in copy.items())
    return type(copy) in {str, int, float, bool, bytes, type(None)}


ATOMS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(),
    st.text(alphabet=st.characters(categories=["Cs"]), max_size=3),
)  # fmt: skip
KEYS = st.one_of(ATOMS, st.tuples(ATOMS, ATOMS), st.frozensets(ATOMS, max_size=3))
BUILDERS: Final[tuple[Callable[[list[object]], object], ...]] = (
    list,
    tuple,
    collections.deque,
    collections.UserList,
    lambda items: Order(1, items),
    lambda items: Pair(1, items),
    lambda items: ValueError(*items),
    lambda items: {Quiet(): item for item in items},
    lambda items: {f"k{n}": item for n, item in enumerate(items)}.values(),
)
# Values are made in the test: Hypothesis would look at them, and some refuse that.
Make: TypeAlias = "Callable[[], object]"


def built(builder: Callable[[list[object]], object], inner: list[Make]) -> Make:
    return lambda: builder([make() for make in inner])


def mapped(inner: dict[object, Make]) -> Make:
    return lambda: {key: make() for key, make in inner.items()}


ANYTHING: st.SearchStrategy[Make] = st.recursive(
    st.one_of(
        st.sampled_from([*HOSTILE, *PLAIN]),
        st.one_of(ATOMS, st.sets(ATOMS, max_size=4)).map(lambda value: lambda: value),
    ),
    lambda inner: st.one_of(
        st.builds(built, st.sampled_from(BUILDERS), st.lists(inner, max_size=4)),
        st.builds(mapped, st.dictionaries(KEYS, inner, max_size=4)),
    ),
    max_leaves=20,
)


@given(ANYTHING)
def test_whatever_it_is_the_copy_is_of_plain_values(make: Make) -> None:
    copy = snapshot(make())
    assert is_value(copy)
    assert levels(copy) <= 90


def test_names_of_types_are_not_believed() -> None:
    class Format(Text):
        __slots__ = ()

        def __format__(self, spec: str) -> str:
            raise OSError

        __len__ = __str__ = __format__  # type: ignore[assignment]

    class OddError(Exception):
        def __str__(self) -> str:
            raise self

    OddError.__qualname__ = Format("OddError")
    assert snapshot(OddError()) == "<OddError: OddError while reading>"
    copy = snapshot(OddError)
    assert copy == f"{__name__}.OddError"
    assert type(copy) is str


def test_no_generator_is_used_up() -> None:
    numbers = generator()
    assert str(snapshot(numbers)).startswith("<generator object generator")
    assert list(numbers) == [0, 1, 2]


def test_the_copy_does_not_change_and_keeps_nothing_alive() -> None:
    inner = [1]
    order = Order(1, {"inner": inner, "bytes": bytearray(b"ab")})
    copy = snapshot(order)
    before = repr(copy)
    alive = weakref.ref(order)
    inner.append(2)
    del order
    assert alive() is None
    assert repr(copy) == before


def test_what_is_no_exception_passes() -> None:
    for error in (KeyboardInterrupt(), SystemExit(), GeneratorExit()):
        with pytest.raises(type(error)):
            snapshot({"deep": [Interrupting(error)]})


def test_a_mapping_that_another_thread_changes_can_be_copied() -> None:
    changing = {str(n): n for n in range(50)}
    stop = threading.Event()

    def change() -> None:
        for number in itertools.count():
            changing[f"new {number}"] = number
            del changing[f"new {number}"]
            if stop.is_set():
                return

    thread = threading.Thread(target=change)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread.start()
    try:
        copies = [snapshot(changing) for _ in range(300)]
    finally:
        stop.set()
        thread.join()
        sys.setswitchinterval(interval)
    assert {type(copy) for copy in copies} == {dict}
