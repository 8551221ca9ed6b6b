import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otvet.amocrm.events import MESSAGE_KINDS, UNKNOWN_KIND, Delivery, MessageEvent, read_delivery
from otvet.amocrm.form import build, parse

SAMPLES = Path(__file__).with_name("samples")
NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
SENT_AT = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)

Encoding = Callable[[Sequence[tuple[str, str]]], bytes]


def percent_encoded(fields: Sequence[tuple[str, str]]) -> bytes:
    return "&".join(f"{quote_plus(key)}={quote_plus(value)}" for key, value in fields).encode()


def raw(fields: Sequence[tuple[str, str]]) -> bytes:
    return "&".join(f"{key}={quote(value, safe=' [],.!?/:а-яА-Я')}" for key, value in fields).encode()


def as_json(fields: Sequence[tuple[str, str]]) -> bytes:
    return json.dumps(parse(percent_encoded(fields)), ensure_ascii=False).encode()


ENCODINGS = (percent_encoded, raw, as_json)


def sample(name: str) -> list[tuple[str, str]]:
    """A body of ``tests/samples``, where each field is a line and nothing is encoded."""
    lines = (SAMPLES / f"{name}.txt").read_text("utf-8").splitlines()
    return [(key, value) for key, _equals, value in (line.partition("=") for line in lines)]


def entry(**changes: Any) -> dict[str, Any]:
    """One message of a client; None takes a field out."""
    fields = {
        "id": "5f0b1c1e",
        "chat_id": "c9a2f6d4",
        "talk_id": "310",
        "contact_id": "4100501",
        "text": "Hello",
        "created_at": "1767600000",
        "entity_type": "lead",
        "entity_id": "7300101",
        "type": "incoming",
        "author": {"type": "external", "name": "Client 1"},
        **changes,
    }
    return {name: value for name, value in fields.items() if value is not None}


def read(data: Mapping[str, Any], now: datetime = NOW) -> Delivery:
    return read_delivery(build(data), now)


def event(entity: str = "message", now: datetime = NOW, **changes: Any) -> MessageEvent:
    delivery = read({entity: {"add": {"0": entry(**changes)}}}, now)
    assert delivery.problems == ()
    (message,) = delivery.messages
    return message


def unnamed(now: datetime = NOW, **changes: Any) -> MessageEvent:
    return event(now=now, **{"id": None, **changes})


def test_an_incoming_message_is_read_whole() -> None:
    body = percent_encoded(sample("incoming"))
    (message,) = read_delivery(body, NOW).messages

    assert message == MessageEvent(
        key="5f0b1c1e-3a2d-4c69-9f0e-0d6f1a7f2b11",
        also_key=None,
        lead_id=7300101,
        contact_id=4100501,
        chat_id="c9a2f6d4-71be-4f0c-8f3d-2a5c7a1b9e01",
        talk_id="310",
        chat_ref="c9a2f6d4-71be-4f0c-8f3d-2a5c7a1b9e01",
        sender="client",
        text="Здравствуйте! Сколько стоит доставка в Казань? 2+2 & 100% предоплата = скидка?",
        kind="text",
        created_at=SENT_AT,
        author_name="Мария К.",
        raw=parse(body)["message"]["add"]["0"],
    )


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    ("name", "messages", "ignored"),
    [
        ("incoming", [("client", 7300101, "text")], {}),
        ("without_lead", [("client", None, "text")], {}),
        ("documentation", [("client", None, "picture")], {}),
        ("outgoing", [("manager", None, "text")], {}),
        ("manager", [("manager", 7300101, "text")], {}),
        ("voice", [("client", 7300101, "voice")], {}),
        (
            "mixed",
            [("client", 7300101, "text"), ("client", 7300104, "text")],
            {"talk.update": 1, "leads.update": 1, "contacts.update": 1},
        ),
        ("template_review", [], {"chat_template_review.add": 1}),
        ("unsorted", [], {"unsorted.add": 1}),
        ("lead_note", [], {"leads.note": 1}),
        ("task", [], {"task.update": 1}),
        ("digital_pipeline", [], {"leads.status": 1}),
        ("deleted", [], {"leads.delete": 1, "contacts.delete": 1}),
    ],
)
def test_each_kind_of_delivery_is_understood(
    name: str, messages: list[Any], ignored: dict[str, int], encoding: Encoding
) -> None:
    delivery = read_delivery(encoding(sample(name)), NOW)

    assert [(message.sender, message.lead_id, message.kind) for message in delivery.messages] == messages
    assert delivery.ignored == ignored
    assert delivery.problems == ()


def test_every_sample_is_in_the_table() -> None:
    (table,) = (mark for mark in test_each_kind_of_delivery_is_understood.pytestmark if isinstance(mark.args[0], tuple))
    assert {name for name, *_expected in table.args[1]} == {path.stem for path in SAMPLES.glob("*.txt")}


@pytest.mark.parametrize(
    ("fields", "lead_id"),
    [
        ({"entity_type": "lead", "entity_id": "5"}, 5),
        ({"entity_type": "leads", "entity_id": "5"}, 5),
        ({"entity_type": "lead", "element_id": "5"}, 5),
        ({"entity_type": "lead", "entity_id": "", "element_id": "5"}, 5),
        ({"element_type": "2", "element_id": "5"}, 5),
        ({"entity_type": "lead", "element_type": "2", "entity_id": "5", "element_id": "5"}, 5),
        ({"entity_type": "lead", "entity_id": str(2**63 - 1)}, 2**63 - 1),
        ({"entity_id": "5"}, 5),
        ({"element_id": "5"}, 5),
        ({}, None),
        ({"entity_type": "contact", "entity_id": "5"}, None),
        ({"entity_type": "contacts", "entity_id": "5"}, None),
        ({"entity_type": "customer", "entity_id": "5"}, None),
        ({"element_type": "1", "element_id": "5"}, None),
        ({"element_type": "12", "element_id": "5"}, None),
        ({"entity_type": "contact", "element_type": "2", "entity_id": "5"}, None),
        ({"entity_id": "4100501"}, None),
        ({"element_id": "4100501"}, None),
        ({"entity_type": "lead", "entity_id": "0"}, None),
        ({"entity_type": "lead", "entity_id": "-5"}, None),
        ({"entity_type": "lead", "entity_id": "5a"}, None),
        ({"entity_type": "lead", "entity_id": "٥"}, None),
        ({"entity_type": "lead", "entity_id": str(2**63)}, None),
        ({"entity_type": "lead", "entity_id": "9" * 5000}, None),
        ({"entity_type": "lead", "entity_id": {"id": "5"}}, None),
        ({"entity_type": "lead"}, None),
    ],
)
def test_only_a_leads_id_is_taken_for_one(fields: dict[str, Any], lead_id: int | None) -> None:
    assert event(**{"entity_type": None, "entity_id": None, **fields}).lead_id == lead_id


@pytest.mark.parametrize(
    ("fields", "kind", "text"),
    [
        ({"text": "Hi"}, "text", "Hi"),
        ({"text": " Hi \n"}, "text", " Hi \n"),
        ({"text": "Hi", "message_type": "text"}, "text", "Hi"),
        ({"text": "See", "attachment": {"type": "picture"}}, "picture", "See"),
        ({"text": "See", "message_type": "video", "attachment": {"type": "video"}}, "video", "See"),
        ({"text": "See", "attachment": {"link": "https://drive.example.ru/1"}}, "file", "See"),
        ({"text": "", "attachment": {"type": "picture"}}, "picture", ""),
        ({"text": "", "message_type": "text", "attachment": {"type": "voice"}}, "voice", ""),
        ({"text": "See", "message_type": "text", "attachment": {"type": "picture"}}, "picture", "See"),
        ({"text": "", "message_type": "voice"}, "voice", ""),
        ({"text": "", "message_type": "location"}, "location", ""),
        ({"text": "", "attachment": {"type": "hologram", "link": "https://drive.example.ru/1"}}, "file", ""),
        ({"text": "", "attachment": {"file_name": "offer.pdf"}}, "file", ""),
        ({"text": None, "attachment": {"type": "sticker"}}, "sticker", ""),
        ({"text": "Пустое сообщение", "attachment": {"type": "audio"}}, "audio", ""),
        ({"text": " Пустое сообщение ", "message_type": "contact"}, "contact", ""),
        ({"text": "Пустое сообщение"}, UNKNOWN_KIND, ""),
        ({"text": ""}, UNKNOWN_KIND, ""),
        ({"text": " \n"}, UNKNOWN_KIND, ""),
        ({"text": {"body": "Hi"}}, UNKNOWN_KIND, ""),
        ({"text": "", "attachment": "none"}, UNKNOWN_KIND, ""),
        ({"text": "", "message_type": "hologram"}, UNKNOWN_KIND, ""),
    ],
)
def test_text_is_told_from_media(fields: dict[str, Any], kind: str, text: str) -> None:
    message = event(**fields)

    assert (message.kind, message.text) == (kind, text)


def test_the_attachment_is_kept() -> None:
    attachment = {"type": "picture", "link": "https://drive.example.ru/1.png", "file_name": "1.png"}

    assert event(text="", attachment=attachment).raw["attachment"] == attachment


@pytest.mark.parametrize(
    ("entity", "fields", "sender"),
    [
        ("message", {"type": "incoming", "author": {"type": "external"}}, "client"),
        ("message", {"type": "incoming", "author": {"type": "contact"}}, "client"),
        ("message", {"type": "incoming", "author": {"id": "1"}}, "client"),
        ("message", {"type": "incoming", "author": None}, "client"),
        ("message", {"type": None, "author": {"type": "external"}}, "client"),
        ("message", {"type": None, "author": None}, "client"),
        ("message", {"type": "incoming", "author": {"type": "internal"}}, "manager"),
        ("message", {"type": "incoming", "author": {"type": "bot"}}, "manager"),
        ("message", {"type": "outgoing", "author": {"type": "external"}}, "manager"),
        ("message", {"type": "outgoing", "author": None}, "manager"),
        ("message", {"type": None, "author": {"type": "internal"}}, "manager"),
        ("message", {"type": None, "author": {"type": "bot"}}, "manager"),
        ("outgoing_message", {"type": "incoming", "author": {"type": "external"}}, "manager"),
        ("outgoing_message", {"type": None, "author": {"type": "internal"}}, "manager"),
    ],
)
def test_only_what_a_client_sent_in_is_a_clients(entity: str, fields: dict[str, Any], sender: str) -> None:
    assert event(entity, **fields).sender == sender


def test_a_managers_name_is_not_taken_for_the_clients() -> None:
    assert event(type="outgoing", author={"type": "internal", "name": "Manager 1"}).author_name is None


@pytest.mark.parametrize(
    ("fields", "chat_ref"),
    [
        ({}, "c9a2f6d4"),
        ({"chat_id": None}, "talk:310"),
        ({"chat_id": ""}, "talk:310"),
        ({"chat_id": None, "talk_id": None}, "contact:4100501"),
        ({"chat_id": None, "talk_id": None, "contact_id": None}, None),
        ({"chat_id": None, "talk_id": None, "contact_id": "none"}, None),
    ],
)
def test_a_chat_is_named_by_what_there_is(fields: dict[str, Any], chat_ref: str | None) -> None:
    assert event(**fields).chat_ref == chat_ref


@pytest.mark.parametrize("name", ["id", "chat_id", "talk_id"])
def test_an_endless_id_is_shortened_the_same_way_each_time(name: str) -> None:
    attribute = {"id": "key"}.get(name, name)
    first, again, other = (getattr(event(**{name: value * 1000}), attribute) for value in ("long", "long", "more"))

    assert first == again != other
    assert len(first) <= 200


@pytest.mark.parametrize(
    ("written", "read_as"),
    [
        ("1767600000", SENT_AT),
        ("1767600000000", SENT_AT),
        ("1767600000.0", SENT_AT),
        (str(int(NOW.timestamp()) + 3600), NOW + timedelta(hours=1)),
        (str(int(NOW.timestamp()) + 7 * 86400), None),
        ("0", None),
        ("-1767600000", None),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("9" * 400, None),
        ("1e300", None),
        ({"date": "1"}, None),
        (None, None),
    ],
)
def test_a_time_that_cannot_be_is_none(written: Any, read_as: datetime | None) -> None:
    assert event(created_at=written).created_at == read_as


def test_a_message_without_an_id_has_the_same_key_when_it_comes_again() -> None:
    later = NOW + timedelta(minutes=95)

    assert unnamed().key == unnamed(later).key


@pytest.mark.parametrize(
    "changes",
    [
        {"text": "Bye"},
        {"created_at": "1767600001"},
        {"chat_id": "other"},
        {"entity_id": "7300102"},
        {"type": "outgoing"},
        {"message_type": "sticker"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_another_message_without_an_id_has_another_key(changes: dict[str, Any]) -> None:
    assert unnamed().key != unnamed(**changes).key


def test_equal_messages_without_ids_in_one_body_are_two() -> None:
    body = {"message": {"add": [entry(id=None), entry(id=None)]}}
    first, second = read(body).messages

    assert first.key != second.key
    assert [message.key for message in read(body).messages] == [first.key, second.key]


@pytest.mark.parametrize("minutes", [0, 1, 20, 60, 95])
def test_without_id_and_time_a_repetition_is_known_by_one_of_two_keys(minutes: int) -> None:
    for start in range(0, 120, 7):
        at = NOW + timedelta(minutes=start)
        stored = unnamed(at, created_at=None).key
        repeated = unnamed(at + timedelta(minutes=minutes), created_at=None)

        assert stored in (repeated.key, repeated.also_key)


def test_without_id_and_time_the_same_words_next_day_are_new() -> None:
    stored = unnamed(created_at=None).key
    next_day = unnamed(NOW + timedelta(days=1), created_at=None)

    assert stored not in (next_day.key, next_day.also_key)


@pytest.mark.parametrize(
    "add",
    [
        {"0": entry()},
        {"41": entry()},
        {"a": entry()},
        {"": entry()},
        {"-1": entry()},
        {"99999999999999999999": entry()},
        entry(),
        entry(author=None),
    ],
    ids=["first", "gap", "key", "empty", "negative", "hostile", "no index", "no index, plain"],
)
def test_a_message_is_found_under_any_index(add: dict[str, Any]) -> None:
    assert [message.key for message in read({"message": {"add": add}}).messages] == ["5f0b1c1e"]


@pytest.mark.parametrize("reference", ["chat_id", "talk_id"])
def test_an_unwrapped_message_is_found_by_its_chat(reference: str) -> None:
    other = {"chat_id": "talk_id", "talk_id": "chat_id"}[reference]
    delivery = read({"add": [entry(**{other: None})]})

    assert [message.key for message in delivery.messages] == ["5f0b1c1e"]
    assert delivery.ignored == {}


def test_an_unwrapped_template_of_a_chat_is_no_message() -> None:
    delivery = read({"add": [entry(type="waba")]})

    assert delivery.messages == ()
    assert delivery.problems == ("message of an unknown type: waba",)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "the body is empty"),
        (b"{}", "the body is empty"),
        (b"{", "not JSON"),
        (b"hello", "hello"),
        (b"\x89PNG\r\n", "PNG"),
        (b"message=hello", "message"),
        (b"leads=5", "leads"),
        (b"add=hello", "add"),
        (b"add[0][text]=hi&add[0][entity_id]=5&add[0][type]=incoming", "add"),
        (b"message[add]=hello", "holds no message"),
        (b"message[add][0]=hello", "neither a deal nor a chat"),
        (b"message[add][0][id]=1&message[add][0][text]=hi", "neither a deal nor a chat"),
        (b"message[add][0][id]=1&message[add][0][chat_id]=2&message[add][0][type]=edited", "edited"),
        (b"surprises[add][0][id]=1", "surprises"),
        (b"outgoing_message[update][0][id]=1", "neither a deal nor a chat"),
        (b"outgoing_message[delete][0][id]=1", "outgoing_message[delete]"),
    ],
)
def test_what_cannot_be_understood_is_a_problem(body: bytes, problem: str) -> None:
    delivery = read_delivery(body, NOW)

    assert delivery.messages == ()
    assert delivery.ignored == {}
    assert len(delivery.problems) == 1
    assert problem in delivery.problems[0]


def test_a_problem_does_not_hide_the_messages_beside_it() -> None:
    add = {"0": "hello", "1": entry(), "2": entry(id="b", type="edited"), "3": entry(id="c")}
    delivery = read({"message": {"add": add}, "surprises": {"add": [{"id": "1"}]}})

    assert [message.key for message in delivery.messages] == ["5f0b1c1e", "c"]
    assert len(delivery.problems) == 3


def test_a_problem_is_told_once_and_in_brief() -> None:
    delivery = read({"message": {"add": [{"id": "1"}] * 1000}, "x" * 1000: {"y" * 1000: "1"}})

    assert len(delivery.problems) == 2
    assert sum(map(len, delivery.problems)) < 300


def test_an_ignored_event_is_counted_under_a_short_name() -> None:
    (name,) = read({"leads": {"x" * 10_000: [{"id": "1"}]}}).ignored

    assert name.startswith("leads.x")
    assert len(name) < 100


def test_the_account_alone_is_nothing() -> None:
    assert read({"account": {"id": "29085955", "subdomain": "example"}}) == Delivery((), {}, (), 29085955, "example")


@pytest.mark.parametrize(
    "account", [{}, "29085955", {"id": "-1", "subdomain": ""}, {"id": {"0": "1"}, "subdomain": {}}]
)
def test_an_account_that_says_nothing_of_itself(account: Any) -> None:
    delivery = read({"account": account})
    assert (delivery.account_id, delivery.subdomain) == (None, None)


ANY_VALUE = st.text(max_size=8) | st.sampled_from(["incoming", "outgoing", "lead", "5", "1767600000", "external", "2"])
ANY_FIELDS = st.recursive(
    ANY_VALUE,
    lambda inner: st.dictionaries(
        st.sampled_from(["message", "outgoing_message", "add", "leads", "account", "0", "1", *entry()]),
        inner,
        max_size=4,
    ),
    max_leaves=20,
)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["message", "add", *entry()]), inner),
    max_leaves=20,
)


@given(
    st.binary(max_size=300)
    | st.text(alphabet="[]&=%+ad0m\\{}\"':,", max_size=60).map(str.encode)
    | st.dictionaries(st.sampled_from(["message", "outgoing_message", "add", "leads"]), ANY_FIELDS).map(build)
    | ANY_JSON.map(lambda value: json.dumps(value).encode())
)
@settings(deadline=None, max_examples=300)
def test_no_body_raises(body: bytes) -> None:
    delivery = read_delivery(body, NOW)

    assert all(isinstance(message.key, str) and len(message.key) <= 250 for message in delivery.messages)
    assert all(message.lead_id or message.chat_ref for message in delivery.messages)
    assert all(message.kind in (*MESSAGE_KINDS, UNKNOWN_KIND) for message in delivery.messages)


NOISE = st.sampled_from(["incoming", "mixed", "unsorted", "lead_note", "task", "digital_pipeline", "deleted"]).map(
    lambda name: [field for field in sample(name) if not field[0].startswith("message")]
)
INDEX = st.integers(0, 10**6).map(str) | st.text("abcxyz", min_size=1, max_size=4)
WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00\ufffd"), max_size=20)
MESSAGES = st.lists(
    st.tuples(st.sampled_from(["message", "outgoing_message"]), INDEX, WORDS),
    max_size=6,
    unique_by=lambda one: one[:2],
)


@st.composite
def mixed_bodies(draw: st.DrawFn) -> tuple[bytes, list[str]]:
    """A body of messages among other events, its fields in any order; and the messages' ids."""
    fields = draw(NOISE)
    ids = []
    for number, (entity, index, text) in enumerate(draw(MESSAGES)):
        ids.append(f"id-{number}")
        fields += [
            (f"{entity}[add][{index}][{name}]", value)
            for name, value in [
                ("id", ids[-1]),
                ("chat_id", draw(st.sampled_from(["a", "b"]))),
                ("text", text),
                ("author][type", draw(st.sampled_from(["external", "internal", "bot"]))),
                *draw(st.sampled_from([[], [("entity_type", "lead"), ("entity_id", "5")]])),
                *draw(st.sampled_from([[], [("type", "incoming")], [("type", "outgoing")]])),
            ]
        ]
    encoding = draw(st.sampled_from(ENCODINGS))
    return encoding(draw(st.permutations(fields))), ids


@given(mixed_bodies())
@settings(deadline=None)
def test_every_message_of_a_mixed_body_is_found_once(mixed: tuple[bytes, list[str]]) -> None:
    body, ids = mixed
    delivery = read_delivery(body, NOW)

    assert Counter(message.key for message in delivery.messages) == Counter(ids)
    assert delivery.problems == ()
