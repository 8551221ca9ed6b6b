import json
import tracemalloc
from typing import Any
from urllib.parse import unquote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otvet.amocrm.form import MOST_FIELDS, Unreadable, build, parse

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="[]\x00"), min_size=1, max_size=8)
VALUES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
FIELDS = st.recursive(VALUES, lambda inner: st.dictionaries(NAMES, inner, min_size=1, max_size=4), max_leaves=12)


def nested(depth: int) -> str:
    return '{"a":' * depth + "1" + "}" * depth


@pytest.mark.parametrize(
    "body",
    [
        b"message[add][0][text]=hi",
        b"message%5Badd%5D%5B0%5D%5Btext%5D=hi",
        b"message%5badd%5d[0]%5Btext]=hi",
        b'{"message": {"add": [{"text": "hi"}]}}',
        b'{"message": {"add": {"0": {"text": "hi"}}}}',
    ],
)
def test_every_way_to_write_it_reads_alike(body: bytes) -> None:
    assert parse(body) == {"message": {"add": {"0": {"text": "hi"}}}}


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (b"a+b", "a b"),
        (b"1%2B1", "1+1"),
        (b"a%20b", "a b"),
        (b"a=b=c", "a=b=c"),
        (b"50%25", "50%"),
        (b"50%", "50%"),
        (b"%zz", "%zz"),
        (b"", ""),
        (b"%D0%B4%D0%B0", "да"),
        ("да".encode(), "да"),
        (b"%F0%9F%91%8D", "👍"),
        (b"line%0D%0Aline", "line\r\nline"),
        (b"[add][0]", "[add][0]"),
    ],
)
def test_a_value_is_decoded_once(written: bytes, read: str) -> None:
    assert parse(b"text=" + written + b"&next=1") == {"text": read, "next": "1"}


@given(st.text(alphabet="%+aF0Dдz4", max_size=30))
def test_a_value_is_decoded_as_every_other_reader_of_forms_does(written: str) -> None:
    decoded = unquote_plus(written, errors="replace").replace("\x00", "\ufffd")
    read = parse(b"text=" + written.encode() + b"&next=1")

    assert read == {"text": decoded, "next": "1"} or ("\ufffd" in decoded and read["text"] != decoded)


@pytest.mark.parametrize(
    "written",
    [b"a\x00b", b"a%00b", b"a\xffb", b"a%FFb", b"a%ED%A0%80b", b'{"text": "a\\u0000b"}', b'{"text": "a\\ud83db"}'],
)
def test_what_no_database_can_hold_is_replaced(written: bytes) -> None:
    text = parse(written if written.startswith(b"{") else b"text=" + written)["text"]

    assert "\x00" not in text
    assert text.encode("utf-8")
    assert text.startswith("a")
    assert text.endswith("b")


def test_a_key_cannot_hold_what_no_database_can_either() -> None:
    assert list(parse(b"a%00b=1")) == ["a\ufffdb"]
    assert list(parse(b'{"a\\u0000b": 1}')) == ["a\ufffdb"]


def test_indices_may_have_gaps_and_come_in_any_order() -> None:
    body = b"m[add][7][id]=c&m[add][2][id]=a&m[add][7][text]=C&m[add][x][id]=b&m[add][2][text]=A"

    assert parse(body) == {
        "m": {"add": {"7": {"id": "c", "text": "C"}, "2": {"id": "a", "text": "A"}, "x": {"id": "b"}}}
    }


def test_a_list_without_indices_is_counted() -> None:
    assert parse(b"a[]=1&a[]=2") == {"a": {"0": "1", "1": "2"}}


def test_the_last_of_two_values_counts() -> None:
    assert parse(b"a=1&a=2") == {"a": "2"}


@pytest.mark.parametrize("body", [b"a=1&a[b]=2", b"a[b]=2&a=1"])
def test_an_object_is_kept_where_a_value_has_the_same_name(body: bytes) -> None:
    assert parse(body) == {"a": {"b": "2"}}


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("a[b", ["a[b"]),
        ("a]b[", ["a]b["]),
        ("a[b]c", ["a[b]c"]),
        ("a[[b]]", ["a", "[b]"]),
        ("a[b][", ["a[b]["]),
    ],
)
def test_brackets_that_do_not_pair_are_part_of_a_name(key: str, path: list[str]) -> None:
    data: Any = parse(f"x=1&{key}=found".encode())
    for part in path:
        data = data[part]

    assert data == "found"


@pytest.mark.parametrize("body", [b"", b" \r\n", b"&&&", b"=", b"=value"])
def test_a_body_without_fields_is_empty(body: bytes) -> None:
    assert parse(body) == {}


def test_a_field_without_a_value_is_kept() -> None:
    assert parse(b"flag&a=1") == {"flag": "", "a": "1"}


@pytest.mark.parametrize("body", [b"a=1", b'{"a": 1}'])
def test_a_byte_order_mark_is_no_part_of_the_body(body: bytes) -> None:
    assert parse(b"\xef\xbb\xbf" + body) == {"a": "1"}


def test_a_line_end_after_the_body_is_no_part_of_it() -> None:
    assert parse(b"a=1\r\n") == {"a": "1"}


def test_values_of_a_json_body_become_text() -> None:
    body = {"number": 27754599, "fraction": 1.5, "yes": True, "no": False, "none": None, "text": "да", "empty": []}

    assert parse(json.dumps(body).encode()) == {
        "number": "27754599",
        "fraction": "1.5",
        "yes": "1",
        "no": "0",
        "none": "",
        "text": "да",
        "empty": {},
    }


@pytest.mark.parametrize(
    "body",
    ["{", '{"a": 1}}', "{a: 1}", "[1,", "[" * 200_000, nested(20), nested(200_000), '{"a": ' + "9" * 5000 + "}"],
    ids=["cut", "surplus", "no quotes", "cut list", "many brackets", "too deep", "far too deep", "huge number"],
)
def test_json_that_cannot_be_read_is_said_to_be_so(body: str) -> None:
    with pytest.raises(Unreadable):
        parse(body.encode())


def test_as_many_fields_as_allowed_are_read() -> None:
    assert len(parse(b"&".join(b"a%d=1" % number for number in range(MOST_FIELDS)))) == MOST_FIELDS


@pytest.mark.parametrize("separated", [b"&" * MOST_FIELDS, b"&".join([b"a[]=1"] * (MOST_FIELDS + 1))])
def test_too_many_fields_are_refused(separated: bytes) -> None:
    with pytest.raises(Unreadable, match=str(MOST_FIELDS)):
        parse(separated)


def test_as_many_fields_of_json_as_allowed_are_read() -> None:
    body = json.dumps({f"a{number}": 1 for number in range(MOST_FIELDS)})
    assert len(parse(body.encode())) == MOST_FIELDS


@pytest.mark.parametrize("value", ["1", "{}", "[]", '{"b": null}'])
def test_too_many_fields_of_json_are_refused(value: str) -> None:
    with pytest.raises(Unreadable, match=str(MOST_FIELDS)):
        parse(f'{{"a": [{",".join([value] * (MOST_FIELDS + 1))}]}}'.encode())


def test_a_very_deep_key_is_read() -> None:
    data: Any = parse(b"a" + b"[b]" * 100_000 + b"=1")
    depth = 0
    while isinstance(data, dict):
        data = next(iter(data.values()))
        depth += 1

    assert data == "1"
    assert depth < 20


def test_long_keys_are_not_remembered() -> None:
    tracemalloc.start()
    for number in range(50):
        parse(b"%d" % number + b"x" * 100_000 + b"=1")
    held, _peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert held < 1_000_000


def test_a_list_is_built_with_its_indices() -> None:
    assert build({"m": {"add": [{"id": 1}, {"id": 2}]}}) == b"m%5Badd%5D%5B0%5D%5Bid%5D=1&m%5Badd%5D%5B1%5D%5Bid%5D=2"


@given(st.dictionaries(NAMES, FIELDS, max_size=4))
@settings(deadline=None)
def test_what_was_built_is_parsed_again(data: dict[str, Any]) -> None:
    assert parse(build(data)) == data


@given(st.binary(max_size=400) | st.text(alphabet='[]{}"=&%+a0\\:,', max_size=80).map(str.encode))
@settings(deadline=None)
def test_any_body_is_parsed_or_said_to_be_unreadable(body: bytes) -> None:
    try:
        parsed = parse(body)
    except Unreadable:
        return
    json.dumps(parsed, ensure_ascii=False).encode()
