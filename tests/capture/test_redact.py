"""Redaction: what is secret by its key or its form goes, and nothing else does."""

from __future__ import annotations

import base64
import json
import re
import string
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from otel_tasklog import SECRET_PATTERNS, Config, ConfigError
from otel_tasklog.capture._redact import REDACTED, Redactor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Harness

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "redaction.md"
EVERYTHING = Redactor(patterns=SECRET_PATTERNS)
KEYS_ALONE = Redactor()
SECRET = "Sx9Qz7Lm2Wv5"  # noqa: S105 - no word of another text
JWT = f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.{SECRET}-_{SECRET}"
BASIC = base64.b64encode(b"bob:hunter2").decode()


def listed(column: int) -> list[str]:
    """Return the keys of one column of the page's table."""
    table = PAGE.read_text("utf-8").partition("\n| it is about |")[2]
    cells = [
        row.split(" | ")[column] for row in table.split("\n\n")[0].splitlines()[2:]
    ]
    return re.findall("`([^`]+)`", "".join(cells))


@pytest.mark.parametrize("key", listed(1))
def test_a_key_that_the_page_calls_secret_is(key: str) -> None:
    assert KEYS_ALONE.is_secret(key)
    assert KEYS_ALONE.is_secret(key.upper()) or not key.islower()
    assert EVERYTHING.text(f"{{'{key}': '{SECRET}'}}") == f"{{'{key}': '{REDACTED}'}}"


@pytest.mark.parametrize("key", listed(2))
def test_a_key_that_the_page_calls_harmless_is(key: str) -> None:
    assert not KEYS_ALONE.is_secret(key)
    assert EVERYTHING.text(f"{key}=4711") == f"{key}=4711"


@pytest.mark.parametrize(
    "words", ["access token", "private key", "session id", "client secret", "api key"]
)
def test_words_are_alike_however_they_are_joined(words: str) -> None:
    first, second = words.split()
    for key in (
        f"{first}_{second}", f"{first}-{second}", f"{first}.{second}", words,
        first + second.title(), first.title() + second.title(), words.upper(),
        f"my.{first}.{second}", f"X-{first.title()}-{second.title()}",
    ):  # fmt: skip
        assert KEYS_ALONE.is_secret(key), key


def test_bytes_that_were_made_a_text_are_keys_too() -> None:
    assert KEYS_ALONE.is_secret(str(b"password"))
    assert KEYS_ALONE.is_secret(str(b"pin"))
    assert not KEYS_ALONE.is_secret(str(b"spin"))


@pytest.mark.parametrize("key", ["", " ", "_", "日本", "\udc80", "a" * 10_000, "\x00"])
def test_odd_keys_are_no_secret(key: str) -> None:
    assert not KEYS_ALONE.is_secret(key)


def test_of_a_huge_key_the_end_counts() -> None:
    assert KEYS_ALONE.is_secret("a." * 100_000 + "password")


def test_without_keys_nothing_is_secret() -> None:
    assert not Redactor(keys=()).is_secret("password")
    assert Redactor((), SECRET_PATTERNS).text("password=x") == "password=x"


def test_a_key_of_ones_own_is_found_in_any_spelling() -> None:
    own = Redactor(("^Tax_Id$", "X-Internal"), ("assignment",))
    assert all(map(own.is_secret, ["tax_id", "taxId", "Tax-ID", "x-internal-id"]))
    assert not own.is_secret("password")
    assert own.text("taxId=1, password=2") == f"taxId={REDACTED}, password=2"


def test_made_up_keys_do_not_pile_up() -> None:
    redactor = Redactor(patterns=("assignment",))
    for number in range(20_000):
        redactor.is_secret(f"k{number}")
        redactor.text(f"n{number}=1")
    assert len(redactor._secret_keys) < 5_000
    assert redactor.is_secret("password")


TEXTS = {
    # Assignments, by their keys.
    "password=hunter2 user=bob": "password=[redacted] user=bob",
    "password = hunter2": "password = [redacted]",
    "password: hunter2, user: bob": "password: [redacted], user: bob",
    "?page=2&token=a%20b&user=bob": "?page=2&token=[redacted]&user=bob",
    "user[password]=x&a=1": "user[password]=[redacted]&a=1",
    "Server=db;Password=x;Database=shop": "Server=db;Password=[redacted];Database=shop",
    '{"api_key": "a b", "n": 1}': '{"api_key": "[redacted]", "n": 1}',
    '{"api_key":"a\\"b","n":1}': '{"api_key":"[redacted]","n":1}',
    '{"pin": 1234}': '{"pin": [redacted]}',
    "{'token': 'it\\'s', 'n': 1}": "{'token': '[redacted]', 'n': 1}",
    "{b'token': b'x'}": "{b'token': b'[redacted]'}",
    "{'secret': ['x', {'y': 'z'}], 'n': 1}": "{'secret': [redacted], 'n': 1}",
    "token=SecretStr('x y') next": "token=[redacted] next",
    "{'the secret word': 'x'}": "{'the secret word': '[redacted]'}",
    '"{\\"password\\": \\"x y\\", \\"n\\": 1}"': (
        '"{\\"password\\": \\"[redacted]\\", \\"n\\": 1}"'
    ),
    "Authorization: Bearer x\r\nHost: y": "Authorization: [redacted]\r\nHost: y",
    "authorization=Basic x user=bob": "authorization=[redacted] user=bob",
    'Authorization: Digest username="bob", response="x"': "Authorization: [redacted]",
    "curl -H 'Authorization: Bearer x' https://y": (
        "curl -H 'Authorization: [redacted]' https://y"
    ),
    "Cookie: a=b; c=d\nHost: y": "Cookie: [redacted]\nHost: y",
    '[["Cookie", "a, \\"b]"], ["Host", "y"]]': '[["Cookie", "[redacted]"], ["Host", "y"]]',
    "[['Host', 'y'], ['pin', 1234]]": "[['Host', 'y'], ['pin', [redacted]]]",
    "[(b'authorization', b'x'), (b'host', b'y')]": (
        "[(b'authorization', b'[redacted]'), (b'host', b'y')]"
    ),
    "login --password x --user bob": "login --password [redacted] --user bob",
    "login --password=x --user bob": "login --password=[redacted] --user bob",
    "['login', '--password', 'x', 'y']": "['login', '--password', '[redacted]', 'y']",
    'headers["cookie"] = "x"': 'headers["cookie"] = "[redacted]"',
    "password: str = 'x'": "password: [redacted]",
    "'one\\npin=1234'": "'one\\npin=[redacted]'",
    "'password=x\\nuser=bob'": "'password=[redacted]\\nuser=bob'",
    "API key: x": "API key: [redacted]",
    "password='not closed": "password='[redacted]",
    "token=<Token x> y": "token=[redacted] x> y",
    "secret => x": "secret => [redacted]",
    # By their form.
    f"got {JWT}.": "got [redacted]",
    f"'a\\n{JWT}'": "'a\\n[redacted]'",
    f"a%3D{JWT}&b": "a%3D[redacted]&b",
    "id AKIAIOSFODNN7EXAMPLE": "id [redacted]",
    "aws wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY": "aws [redacted]",
    "ghp_" + "aB3" * 12: "[redacted]",
    "xoxb-123456789012-abcdef": "[redacted]",
    "sk_live_" + "aB3" * 8: "[redacted]",
    "AIza" + "aB3-_" * 7: "[redacted]",
    "sk-proj-" + "aB3" * 12: "[redacted]",
    "https://hooks.slack.com/services/T0/B0/" + "aB3" * 8: "https://[redacted]",
    "postgres://bob:hunter2@db/shop": "postgres://bob:[redacted]@db/shop",
    "redis://:hunter2@db": "redis://:[redacted]@db",
    "amqp://a:b@c,amqp://d:e@f": "amqp://a:[redacted]@c,amqp://d:[redacted]@f",
    "http://a:p@ss@b/c?d=e@f": "http://a:[redacted]@b/c?d=e@f",
    "http://a:p/ss@b": "http://a:[redacted]@b",
    "Bearer abcdefgh1": "Bearer [redacted]",
    f"basic {BASIC}": "basic [redacted]",
    "card 4111 1111 1111 1111.": "card [redacted].",
    "5555-5555-5555-4444": "[redacted]",
    "3782 822463 10005": "[redacted]",
    "n=4111111111111111": "n=[redacted]",
    (
        "a\n-----BEGIN RSA PRIVATE KEY-----\nx\n-----END RSA PRIVATE KEY-----\nb"
    ): "a\n[redacted]\nb",
    "'-----BEGIN PRIVATE KEY-----\\nx… [9 characters cut]": "'[redacted]",
}  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_of_a_text_the_secret_goes_and_the_rest_stays(text: str) -> None:
    assert EVERYTHING.text(text) == TEXTS[text]


HARMLESS = [
    "",
    "charging the card of customer 4711 took 12.5 ms at 2026-10-05T12:00:00.123456Z",
    "GET https://shop.example:8443/orders/@mine?limit=10&cursor=abc HTTP/1.1 200",
    "http://localhost:3000/users/a@b.example",
    "https://registry.example:443/@scope/package@1.2.3",
    "mailto:bob@shop.example, ssh://git@git.example:22/shop.git",
    "no token found: retry; password reset: done; Token::parse, a::secret::b",
    "password=None, token=null, secret: true, token=''",
    "Basic authentication required, bearer certificates expired, Bearer of news: x",
    "a JWT begins with eyJ, as in eyJhbGciOiJIUzI1NiJ9",
    "4111 1111 1111 1112, 1759665600123456789, 1759665600123, 9.4111111111111111",
    "order-4111111111111111, 41111111111111111111, 8f14e45f-ceea-467a-9575-4111111111111",
    "commit 2fd4e1c67a2d28fced849ee1bb76e7391b93eb12 of aws",
    "aws: /usr/lib/python3/dist-packages/botocore/x.py",
    "sk-learn, xoxo-hugs, npm_config_cache, hf_hub, pypi-mirror, SG.1, AIza",
    "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----",
    "('user', 'bob'), --verbose x, --, a -- b, ---- token ----",
    "prompt_tokens=5 max_tokens: 7",
    "[['user', 'password', 'email'], ['password', 'pin', 'token']]",
    "\ud800 \udc80 日本 \x00",
]


@pytest.mark.parametrize("text", HARMLESS)
def test_a_harmless_text_is_the_same_object(text: str) -> None:
    assert EVERYTHING.text(text) is text


def test_each_pattern_has_its_name() -> None:
    secrets = {
        "private_key": f"-----BEGIN PRIVATE KEY-----{SECRET}",
        "assignment": f"password={SECRET}",
        "jwt": JWT,
        "vendor_token": "ghp_" + SECRET * 3,
        "aws": "AKIAIOSFODNN7EXAMPLE",
        "url": f"https://bob:{SECRET}@shop",
        "bearer": f"Bearer {SECRET}",
        "card": "4111111111111111",
    }
    assert tuple(secrets) == SECRET_PATTERNS
    for name in SECRET_PATTERNS:
        alone = Redactor(patterns=(name,))
        assert [n for n, text in secrets.items() if alone.text(text) != text] == [name]


def test_credentials_of_an_authorization_header_need_not_look_like_any() -> None:
    bearer = Redactor(patterns=("bearer",))
    text = bearer.text("{'Authorization': 'Bearer abcdefgh'}, Bearer certificates")
    assert text == "{'Authorization': 'Bearer [redacted]'}, Bearer certificates"


def test_without_patterns_texts_stay() -> None:
    assert not KEYS_ALONE.has_patterns
    assert KEYS_ALONE.text("password=x") == "password=x"


def test_a_pattern_of_ones_own_takes_all_or_its_group() -> None:
    own = Redactor(
        patterns=(
            re.compile(r"customer-\d+"),
            re.compile(r"tenant (?P<secret>\w+)(?: of (?P<region>\w+))?"),
            re.compile(r"maybe(?P<secret> it)?"),
        )
    )
    assert own.has_patterns
    assert own.text("customer-1 of customer-2") == "[redacted] of [redacted]"
    assert own.text("tenant a of b") == "tenant [redacted] of b"
    assert own.text("maybe not") == "maybe not"
    assert own.text("tenant [redacted]") == "tenant [redacted]"


def test_a_pattern_that_matches_nothing_or_the_mark_changes_nothing() -> None:
    own = Redactor(patterns=(re.compile("x*"), re.compile("redacted|x")))
    once = own.text("a xx b")
    assert once == "a [redacted] b"
    assert own.text(once) == once


def test_of_a_text_that_cannot_be_searched_a_mark_is_left() -> None:
    class Failing:
        groupindex: dict[str, int] = {}  # noqa: RUF012

        def sub(self, replacement: object, text: str) -> str:
            raise RecursionError(text)

    failing: Any = Failing()
    text = Redactor(patterns=(failing,)).text(SECRET)
    assert text == "[redacted: RecursionError while searching for secrets]"


# Some that end what the planted secret stands in, or begin what hides it.
PIECES = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["password=", "token: ", "'secret'", '"a": "', "http://", "Bearer ", "eyJ", "aws",
         "no ", "user=bob", "[redacted]", "None", "=> ", "\\n", '\\"', "--token ", "{'a':",
         "[", "]", "(", ")", "{", "}", "b'", "cookie: ", "a=b; ", "digest ", "Basic ",
         "4111 1111 1111 1111", "://a:b@c", "'", '"', "\\", "=", ":", ",", ";", "-"]
    ),
)  # fmt: skip
AROUND = st.lists(PIECES, max_size=8).map("".join)
PLANTED = [
    f"password={SECRET}",
    f"password='{SECRET}'",
    f'{{"api_key": "{SECRET}"}}',
    f"{{'tokens': 1, 'access_tokens': ['{SECRET}', '{SECRET}']}}",
    f"credentials={{'a': '{SECRET}'}}",
    f"Authorization: Bearer {SECRET}",
    f"Cookie: a={SECRET}; b={SECRET}",
    f"(b'authorization', b'{SECRET}')",
    f"--password {SECRET}",
    f"headers['cookie'] = '{SECRET}'",
    f'\\"password\\": \\"{SECRET}\\"',
    f"password: str = '{SECRET}'",
    f"API key: {SECRET}",
    f"?a=1&token={SECRET}",
    f"postgres://u:{SECRET}@host/db",
    f"Bearer {SECRET}",
    JWT,
    f"ghp_{SECRET * 3}",
    f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----",
    json.dumps(json.dumps({"password": SECRET})),
]


@given(AROUND, st.sampled_from(PLANTED), AROUND)
@example("token: ", f"--password {SECRET}", "")
@example("secret='", f"password='{SECRET}'", "")
@example("cookie: b'token:", f"access_tokens: ['{SECRET}', '{SECRET}']", "")
def test_a_secret_does_not_survive_whatever_surrounds_it(
    before: str, planted: str, behind: str
) -> None:
    once = EVERYTHING.text(f"{before} {planted} {behind}")
    assert SECRET not in once
    assert EVERYTHING.text(once) == once


@given(st.lists(PIECES, max_size=20).map("".join))
def test_what_was_redacted_stays_as_it_is(text: str) -> None:
    once = EVERYTHING.text(text)
    assert EVERYTHING.text(once) == once


NESTED = st.recursive(
    st.none() | st.integers() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(string.ascii_lowercase, min_size=1), inner, max_size=3
        )
    ),
    max_leaves=10,
)


@given(NESTED, st.sampled_from([repr, json.dumps]))
def test_whatever_a_key_holds_goes_and_its_neighbours_stay(
    held: object, form: Callable[[object], str]
) -> None:
    text = EVERYTHING.text(form({"a": "A", "password": [held, SECRET], "b": "B"}))
    q = '"' if form is json.dumps else "'"
    assert text == f"{{{q}a{q}: {q}A{q}, {q}password{q}: {REDACTED}, {q}b{q}: {q}B{q}}}"


def hostile() -> Iterator[str]:
    size = 200_000
    for piece in (
        "a", " ", "-", "=", ":", "\\", '"', "'", "(", "[", "{", "4", "é", "a=", "a:",
        "password=", "password=[", "password='", 'password=\\"', 'password=("', ",a",
        "password=a,a", "password=\\a", "token=token:", "cookie: a;", "\\'", "('a',",
        "--a ", "--password ", "- -", "eyJ", "eyJa.", "%3DeyJ", "\\neyJ", "://",
        "://a:", "://a:b@", "://:@", "4111 ", "41111111", "-----BEGIN PRIVATE KEY",
        "-----BEGIN ", "bearer ", "basic a", "authorization: digest ", "ghp_", "sk-a",
        "xoxb-", "aws/", "AKIA", "SG.a.", "= ", "[redacted]", "\ud800", "%3D:b'cookie", "[['a',", "[['a', '", "[['pin', 'a", '[["pin","',
    ):  # fmt: skip
        yield piece * (size // len(piece))
    yield 'password="' + '\\"' * (size // 2)
    yield "password=(" + '"\\' * (size // 2)
    yield "password=[" * (size // 22) + "]" * (size // 22)
    yield "".join(f"password={chr(92) * (i % 9)}'" for i in range(size // 16))
    yield " ".join(f"a{i % 997} k{i}=1" for i in range(size // 12))


def test_a_hostile_text_takes_time_in_proportion_to_its_length() -> None:
    for text in hostile():
        redactor = Redactor(patterns=SECRET_PATTERNS)
        start = time.process_time()
        redacted = redactor.text(text)
        seconds = time.process_time() - start
        assert seconds < 1.0, (text[:40], seconds)  # twice as long squared: minutes
        assert "while searching" not in redacted[:40]


REFUSED: list[tuple[dict[str, object], str]] = [
    ({"redact_keys": "password"}, "redact_keys='password': expected a sequence"),
    ({"redact_keys": b"password"}, "expected a sequence of regular expressions"),
    ({"redact_keys": None}, "redact_keys=None: expected a sequence of regular"),
    ({"redact_keys": ("a", 1)}, "redact_keys=1: expected a regular expression"),
    ({"redact_keys": ("a", "")}, "redact_keys='': expected a regular expression"),
    ({"redact_keys": ("a(",)}, "compiles; missing ), unterminated subpattern"),
    ({"redact_patterns": "jwt"}, "redact_patterns='jwt': expected a sequence"),
    ({"redact_patterns": None}, "redact_patterns=None: expected a sequence of names"),
    ({"redact_patterns": ("jtw",)}, "did you mean 'jwt'?"),
    ({"redact_patterns": (r"\d+",)}, "or a compiled pattern"),
    ({"redact_patterns": (1,)}, "redact_patterns=1: expected a name out of"),
    ({"redact_patterns": (re.compile(b"a"),)}, "a pattern for texts, not for bytes"),
]


@pytest.mark.parametrize(("settings", "words"), REFUSED, ids=[w for _, w in REFUSED])
def test_what_cannot_be_searched_for_is_refused(
    settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        Config(**settings)


def test_what_can_be_searched_for_is_taken() -> None:
    Config(redact_keys=(), redact_patterns=[*SECRET_PATTERNS, re.compile("a")])
    Config(redact_keys=["(?i)a", r"\Ax"], redact_patterns=())


def test_a_planted_secret_is_neither_remembered_nor_sent(
    make: Callable[..., Harness],
) -> None:
    harness = make(redact_patterns=SECRET_PATTERNS)
    log = harness.log
    for planted in PLANTED:
        log.info("%s", planted)
        log.info({"note": planted, "more": [planted]})
        log.info("x", extra={"note": planted, "deep": {"list": [(planted,)]}})
        try:
            raise ValueError(planted) from KeyError(planted)  # noqa: TRY301
        except ValueError:
            log.exception("failed")
    log.info("x", extra={"headers": [("Authorization", SECRET)], "pin": [SECRET]})
    assert SECRET not in repr([r.to_dict() for r in harness.tasklog.query(limit=None)])
    assert harness.tasklog.flush()
    assert SECRET.encode() not in b"".join(harness.sender.bodies)
