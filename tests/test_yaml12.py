"""The YAML reader against the specification's tables, Python's json, and bytes that mean harm."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from groundup.errors import ConfigError
from groundup.yaml12 import MAX_BYTES, MAX_DEPTH, dotted, read_yaml


# YAML 1.2.2, sections 10.2.1.1-10.2.1.4 and 10.3.2 (examples and tag resolution table)
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("null", None), ("Null", None), ("NULL", None), ("~", None), ("", None),
        ("true", True), ("True", True), ("TRUE", True), ("false", False), ("FALSE", False),
        ("0", 0), ("0o7", 7), ("0x3A", 58), ("-19", -19), ("+12", 12), ("007", 7),
        ("0.", 0.0), ("-0.0", -0.0), (".5", 0.5), ("+12e03", 12000.0), ("-2E+05", -200000.0),
        ("1e-3", 1e-3), ("1e9", 1e9), (".inf", math.inf), ("-.Inf", -math.inf), ("+.INF", math.inf),
        # what YAML 1.1 read as something else
        ("no", "no"), ("off", "off"), ("on", "on"), ("yes", "yes"), ("y", "y"), ("NO", "NO"),
        ("12:30:45", "12:30:45"), ("2001-12-14", "2001-12-14"), ("1_000", "1_000"),
        ("0b101", "0b101"), ("=", "="), ("<<", "<<"), ("tRUE", "tRUE"),
        ('"1"', "1"), ("'true'", "true"), ("!!str 1", "1"), ("! 1", "1"),
        ("10M", "10M"), ("4m", "4m"), ("$5k", "$5k"),
    ],
)  # fmt: skip
def test_plain_scalars_follow_the_core_schema(text: str, value: object) -> None:
    found = read_yaml(text.encode(), "f").value
    assert (found, type(found)) == (value, type(value))


def test_not_a_number_is_a_float() -> None:
    assert math.isnan(read_yaml(b".nan", "f").value)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**60), 10**60) | FLOATS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
YAML_LIKE = st.text("-[]{}:,?&*!|>'\"%@`#\n\t aé\\x0U1é\x00", max_size=60).map(str.encode)


@given(JSON_VALUES)
def test_every_json_document_reads_as_json(value: object) -> None:
    text = json.dumps(value)
    assert read_yaml(text.encode(), "f").value == json.loads(text)


@given(st.dictionaries(st.text("abc", min_size=1, max_size=5), st.integers(), min_size=1))
def test_every_key_knows_its_line(value: dict[str, int]) -> None:
    text = "# head\n\n" + "".join(f"{key}:\n  x: {number}\n" for key, number in value.items())
    found = read_yaml(text.encode(), "f")
    assert found.lines == {
        (): 3,
        **{(key,): 3 + 2 * i for i, key in enumerate(value)},
        **{(key, "x"): 4 + 2 * i for i, key in enumerate(value)},
    }


@given(st.binary(max_size=200) | YAML_LIKE)
@example(b'"\\U99999999"')
@example(b"%YAML 1." + b"9" * 5000)
@example(b"!<%ff> a")
@example(b"\xff\xfea\x00")
@example(b"? [a]\n: b")
@example(b"&a [*a]")
def test_any_bytes_give_a_document_or_a_config_error(data: bytes) -> None:
    try:
        found = read_yaml(data, "f")
    except ConfigError as error:
        where = error.where
    else:
        where = "f"
        json.dumps(found.value).encode()  # plain values, no lone surrogates
    assert where is not None
    assert where.startswith("f")


def refused(text: str | bytes) -> str:
    data = text if isinstance(text, bytes) else text.encode()
    try:
        return "\n".join(read_yaml(data, "f").problems)
    except ConfigError as error:
        return f"{error.where}: {error.message}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "f:3: a: key given twice (first on line 1)"),
        ("x:\n  a: 1\n  a: 3\n  a: 4", "f:3: x.a: key given twice (first on line 2)\n"
         "f:4: x.a: key given twice (first on line 2)"),
        ("a: &x [1]\nb: *x", "f:2: alias '*x' is not supported; write the value out"),
        ("a: !!python/object/apply:os.system [x]",
         "f:1: tag 'tag:yaml.org,2002:python/object/apply:os.system' is not supported"),
        ("a: !!timestamp 2001-01-01", "f:1: tag 'tag:yaml.org,2002:timestamp' is not supported"),
        ("a:\n\tb: 1", "f:2: a tab where only spaces may indent"),
        ("a: 1\n b: 2", "f:2: not valid YAML: mapping values are not allowed here"),
        ("a: @x", "f:1: not valid YAML: found character '@' that cannot start any token; "
         "put the text in quotes"),
        ("a: 1\n--- \nb: 2", "f:2: a second document begins; a file holds one"),
        ("a: 1\n? [b]\n: 2", "f:2: a key must be a plain name"),
        ("a: " + "9" * 65, "f:1: a number of 65 characters"),
        ('a: "\\ud800"', "f:1: '\\ud800' holds half a character (a lone surrogate)"),
        (b"a: 1\nb: \xff", "f:2: byte 0xff is not UTF-8"),
        (b"a: 1\nb: \x00", "f:2: the character '\\x00' is not allowed in YAML"),
        (b" " * (MAX_BYTES + 1), "f: the file is larger than 1 MiB"),
        ("[" * 100_000, f"f:1: nested deeper than {MAX_DEPTH} levels"),
    ],
)  # fmt: skip
def test_what_is_refused_says_where_and_why(text: str | bytes, message: str) -> None:
    assert refused(text) == message


def test_a_billion_laughs_stay_unborn() -> None:
    lines = ["a0: &a0 [lol]"] + [
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)
    ]
    found = read_yaml("\n".join(lines).encode(), "f")
    assert len(found.problems) == 81
    assert len(json.dumps(found.value)) < 1000


def test_a_byte_order_mark_is_skipped() -> None:
    assert read_yaml(b"\xef\xbb\xbfa: 1", "f").value == {"a": 1}


def test_dotted_keys_quote_what_could_mislead() -> None:
    assert dotted(("data", "input", 0)) == "data.input[0]"
    assert dotted(("a.b", "\x1b[31m")) == "'a.b'.'\\x1b[31m'"
