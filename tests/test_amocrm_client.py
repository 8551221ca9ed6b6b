import asyncio
import contextlib
import json
import re
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import pytest

from otvet.amocrm.answers import AmoError, read_answer
from otvet.amocrm.client import Account, AmoClient
from otvet.errors import SettingsError
from tests.clocks import FakeClock
from tests.standins.amocrm import AmoStandin, amocrm_standin

T = TypeVar("T")


class Spaced:
    """A limiter that lets six calls a second start, one after the other."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock

    async def acquire(self) -> None:
        await self._clock.sleep(0.17)


LEAD, CONTACT, TALK = 27754599, 93589657, 100
HTML = b"<html><head><title>Sorry</title></head><body>nginx</body></html>"
REFUSED = {
    "validation-errors": [
        {
            "request_id": "0",
            "errors": [
                {"code": "NotBlank", "path": "params.text", "detail": "This value should not be blank."},
                {"code": "FieldMissing", "path": "note_type", "detail": "This field is missing."},
            ],
        },
        {
            "request_id": "1",
            "errors": [{"code": "FieldMissing", "path": "params", "detail": "This field is missing."}],
        },
    ],
    "title": "Bad Request",
    "type": "https://httpstatus.es/400",
    "status": 400,
    "detail": "Request validation failed",
}


@pytest.fixture
def amo() -> Iterator[AmoStandin]:
    with amocrm_standin() as server:
        server.rate = 1000
        server.add_lead(LEAD, contact_id=CONTACT)
        server.add_contact(CONTACT, name="Client 1")
        server.add_talk(TALK, contact_id=CONTACT, lead_id=LEAD)
        yield server


def with_client(
    amo: AmoStandin,
    use: Callable[[AmoClient], Awaitable[T]],
    *,
    token: str | None = None,
    limiter: Spaced | None = None,
    transport: httpx2.AsyncBaseTransport | None = None,
) -> T:
    async def run() -> T:
        # follow_redirects: the client must not rely on being given an HTTP client that does not.
        async with httpx2.AsyncClient(trust_env=False, transport=transport, follow_redirects=True) as http:
            return await use(AmoClient(http, amo.url, token or amo.token, limiter))

    return asyncio.run(run())


def error_of(amo: AmoStandin, use: Callable[[AmoClient], Awaitable[Any]], **options: Any) -> AmoError:
    with pytest.raises(AmoError) as caught:
        with_client(amo, use, **options)
    return caught.value


async def write_note(client: AmoClient, lead_id: int, text: str) -> int:
    async with client.slot() as slot:
        return await slot.add_note(lead_id, text)


def add_note(client: AmoClient) -> Awaitable[int]:
    return write_note(client, LEAD, "The answer (ref 7f3a)")


def find_note(client: AmoClient) -> Awaitable[int | None]:
    return client.find_note(LEAD, "7f3a")


class Impatient(httpx2.AsyncBaseTransport):
    """A real transport that keeps what time-outs it was given and does not wait that long."""

    def __init__(self) -> None:
        self.asked: list[dict[str, float]] = []
        self._real = httpx2.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request.extensions["timeout"])
        request.extensions["timeout"] = {"connect": 5, "read": 0.1, "write": 5, "pool": 5}
        return await self._real.handle_async_request(request)

    async def aclose(self) -> None:
        await self._real.aclose()


# What an answer means


@pytest.mark.parametrize(
    ("status", "reason", "permanent"),
    [
        (400, "validation", True),
        (401, "unauthorized", False),
        (402, "payment", False),
        (403, "forbidden", False),
        (404, "not_found", True),
        (405, "validation", True),
        (408, "unavailable", False),
        (409, "validation", True),
        (422, "validation", True),
        (429, "rate_limited", False),
        (500, "unavailable", False),
        (502, "unavailable", False),
        (504, "unavailable", False),
    ],
)
def test_a_status_has_a_reason(status: int, reason: str, permanent: bool) -> None:
    with pytest.raises(AmoError) as caught:
        read_answer("GET", status, b'{"title": "Sorry"}')
    error = caught.value
    assert (error.reason, error.permanent, error.status) == (reason, permanent, status)


@pytest.mark.parametrize("status", [400, 401, 402, 404, 405, 422, 429, 500, 503, 504])
def test_a_page_means_what_its_status_means(status: int) -> None:
    reasons = set()
    for body in (b"{}", HTML, b"", b"\xff\xfe", b"[" * 100_000):
        with pytest.raises(AmoError) as caught:
            read_answer("GET", status, body)
        reasons.add(caught.value.reason)
    assert len(reasons) == 1


def test_a_forbidding_page_is_a_block_of_this_server() -> None:
    for body, reason in (
        (HTML, "banned"),
        (b"\r\n" + HTML, "banned"),
        (b"{}", "forbidden"),
        (b"", "forbidden"),
    ):
        with pytest.raises(AmoError) as caught:
            read_answer("GET", 403, body)
        assert (caught.value.reason, caught.value.permanent) == (reason, False)


@pytest.mark.parametrize(("method", "ambiguous"), [("GET", False), ("POST", True), ("PATCH", True)])
def test_only_a_failed_writing_may_have_been_carried_out(method: str, ambiguous: bool) -> None:
    for status, body in ((500, b"{}"), (504, HTML), (200, HTML)):
        with pytest.raises(AmoError) as caught:
            read_answer(method, status, body)
        assert caught.value.ambiguous is ambiguous
    for status in (302, 400, 401, 402, 403, 404, 422, 429):
        with pytest.raises(AmoError) as caught:
            read_answer(method, status, b"{}")
        assert caught.value.ambiguous is False


def test_data_is_given_as_it_is_and_no_content_is_none() -> None:
    assert read_answer("GET", 200, b'{"id": 1, "custom_fields_values": null}') == {
        "id": 1,
        "custom_fields_values": None,
    }
    assert read_answer("POST", 201, b'{"id": 1}') == {"id": 1}
    assert read_answer("GET", 204, b"") is None


@pytest.mark.parametrize("body", [b"", b"null", b"[1]", b'"text"', b'{"id": 1'])
def test_a_success_that_is_not_data_is_an_error(body: bytes) -> None:
    with pytest.raises(AmoError) as caught:
        read_answer("GET", 200, body)
    assert (caught.value.reason, caught.value.permanent) == ("unavailable", False)


def test_a_refusal_names_the_first_mistake_and_its_place() -> None:
    with pytest.raises(AmoError, match=r"params\.text: This value should not be blank") as caught:
        read_answer("POST", 400, json.dumps(REFUSED).encode())
    assert "missing" not in str(caught.value)
    with pytest.raises(AmoError, match="Talk is closed"):
        read_answer("POST", 422, b'{"title": "Unprocessable", "detail": "Talk is closed"}')
    with pytest.raises(AmoError, match="HTTP 400"):
        read_answer("POST", 400, HTML)


@pytest.mark.parametrize("odd", [None, [], [{}], [{"errors": []}], [{"errors": [{"path": "a"}]}], "no", {"0": 1}])
def test_odd_validation_errors_do_not_hide_the_refusal(odd: Any) -> None:
    with pytest.raises(AmoError, match="Request validation failed"):
        read_answer("POST", 400, json.dumps({**REFUSED, "validation-errors": odd}).encode())


def test_what_the_client_wrote_is_not_repeated() -> None:
    text = "My passport number is 4510"
    for detail in (f'The text "{text}" is too long', "passport number", "My passport num…", text):
        refused = {"validation-errors": [{"errors": [{"path": "params.text", "detail": detail}]}]}
        with pytest.raises(AmoError, match=r"params\.text") as caught:
            read_answer("POST", 400, json.dumps(refused).encode(), text)
        assert "passport" not in str(caught.value)


def test_an_explanation_is_kept_short() -> None:
    with pytest.raises(AmoError) as caught:
        read_answer("POST", 400, json.dumps({"detail": "long\n" * 10_000}).encode())
    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value)


# The calls


def test_the_account(amo: AmoStandin) -> None:
    assert with_client(amo, lambda client: client.account()) == Account(29085955, "Example", "example", 940088)


def test_a_deal_leads_to_its_contact_and_back(amo: AmoStandin) -> None:
    lead = with_client(amo, lambda client: client.lead(LEAD))
    contact = with_client(amo, lambda client: client.contact(CONTACT))
    talk = with_client(amo, lambda client: client.talk(TALK))
    assert lead is not None
    assert contact is not None
    assert talk is not None
    assert [linked["id"] for linked in lead["_embedded"]["contacts"]] == [CONTACT]
    assert [linked["id"] for linked in contact["_embedded"]["leads"]] == [LEAD]
    assert (talk["entity_type"], talk["entity_id"], talk["contact_id"]) == ("lead", LEAD, CONTACT)


@pytest.mark.parametrize("filters", [True, False])
def test_cards_wanted_together_are_those_that_were_asked_for(amo: AmoStandin, filters: bool) -> None:
    amo.filters = filters
    for another in range(1, 5):
        amo.add_lead(LEAD + another, contact_id=CONTACT + another)
        amo.add_contact(CONTACT + another)

    def ids(found: Sequence[Mapping[str, Any]]) -> list[int]:
        return [card["id"] for card in found]

    assert ids(with_client(amo, lambda client: client.leads([LEAD, 404, LEAD + 1]))) == [LEAD, LEAD + 1]
    assert ids(with_client(amo, lambda client: client.contacts([CONTACT, 404]))) == [CONTACT]
    assert with_client(amo, lambda client: client.leads([404])) == []
    assert not with_client(amo, lambda client: client.leads([]))


def test_without_filters_a_card_that_the_token_may_not_see_is_left_out(amo: AmoStandin) -> None:
    amo.filters = False
    amo.add_lead(LEAD + 1)
    amo.add_lead(LEAD + 2)
    amo.fault(path=f"/api/v4/leads/{LEAD}", status=403, body='{"title": "Forbidden", "status": 403}', times=None)
    (card,) = with_client(amo, lambda client: client.leads([LEAD, LEAD + 1]))
    assert card["id"] == LEAD + 1
    amo.fault(path=f"/api/v4/leads/{LEAD + 1}", status=500)
    with pytest.raises(AmoError, match="out of order"):
        with_client(amo, lambda client: client.leads([LEAD, LEAD + 1]))


def test_what_is_not_there_is_none(amo: AmoStandin) -> None:
    assert with_client(amo, lambda client: client.lead(1)) is None
    assert with_client(amo, lambda client: client.contact(1)) is None
    assert with_client(amo, lambda client: client.talk(1)) is None
    assert [(entry["path"], entry["status"]) for entry in amo.log] == [
        ("/api/v4/leads/1", 204),
        ("/api/v4/contacts/1", 204),
        ("/api/v4/talks/1", 404),
    ]


def test_a_note_is_written_once_and_its_id_given(amo: AmoStandin) -> None:
    note_id = with_client(amo, add_note)
    (note,) = amo.notes(LEAD)
    assert note["id"] == note_id
    assert note["note_type"] == "common"
    assert note["params"] == {"text": "The answer (ref 7f3a)"}


def test_any_text_arrives_as_it_is(amo: AmoStandin) -> None:
    text = 'Да & нет <b>"да"</b>\n\n— 😀\t\\'
    with_client(amo, lambda client: write_note(client, LEAD, text))
    assert amo.notes(LEAD)[0]["params"]["text"] == text


def test_a_note_to_a_deal_that_is_not_there_is_refused_for_good(amo: AmoStandin) -> None:
    error = error_of(amo, lambda client: write_note(client, 1, "Hello"))
    assert (error.reason, error.permanent, error.ambiguous) == ("not_found", True, False)
    amo.any_lead = True
    assert with_client(amo, lambda client: write_note(client, 1, "Hello")) == amo.notes(1)[0]["id"]


def test_amocrms_own_complaint_reaches_the_operator(amo: AmoStandin) -> None:
    error = error_of(amo, lambda client: write_note(client, LEAD, ""))
    assert (error.reason, error.permanent, error.status) == ("validation", True, 400)
    assert "params.text: This value should not be blank" in str(error)


def test_the_newest_note_with_the_marker_is_found(amo: AmoStandin) -> None:
    async def several(client: AmoClient) -> tuple[int, int | None, int | None]:
        await add_note(client)
        newest = await add_note(client)
        await write_note(client, LEAD, "Something else")
        return newest, await find_note(client), await client.find_note(LEAD, "0000")

    newest, found, unknown = with_client(amo, several)
    assert (found, unknown) == (newest, None)
    assert with_client(amo, lambda client: client.find_note(1, "7f3a")) is None


def test_a_note_is_looked_for_among_the_last_hundred(amo: AmoStandin) -> None:
    async def buried_under(client: AmoClient, others: int) -> int | None:
        for _ in range(others):
            await write_note(client, LEAD, "Something else")
        return await find_note(client)

    note_id = with_client(amo, add_note)
    assert with_client(amo, lambda client: buried_under(client, 99)) == note_id
    assert with_client(amo, lambda client: buried_under(client, 1)) is None
    queries = [entry["query"] for entry in amo.log if entry["method"] == "GET"]
    assert queries == [f"filter%5Bnote_type%5D=common&order%5Bid%5D=desc&limit=50&page={page}" for page in (1, 2, 1, 2)]


def test_a_note_of_another_kind_does_not_count(amo: AmoStandin) -> None:
    note = {"note_type": "service_message", "params": {"service": "Other", "text": "ref 7f3a"}}
    post(amo, f"/api/v4/leads/{LEAD}/notes", [note])
    assert with_client(amo, find_note) is None


def test_odd_notes_are_passed_over(amo: AmoStandin) -> None:
    odd = [{"id": 5, "params": []}, {"id": 4, "params": {}}, {"id": 3, "params": {"text": "ref 7f3a"}}]
    amo.fault(status=200, body=json.dumps({"_embedded": {"notes": odd}}))
    assert with_client(amo, find_note) == 3


@pytest.mark.parametrize("body", ["{}", '{"_embedded": {"notes": []}}', '{"_embedded": [], "id": 1}'])
def test_a_note_without_an_id_may_have_been_written(amo: AmoStandin, body: str) -> None:
    amo.fault(method="POST", status=200, body=body)
    error = error_of(amo, add_note)
    assert (error.reason, error.ambiguous, error.permanent) == ("unavailable", True, False)


def test_an_account_of_another_shape_is_an_error(amo: AmoStandin) -> None:
    amo.fault(status=200, body='{"id": null}')
    assert error_of(amo, lambda client: client.account()).reason == "unavailable"
    amo.fault(status=204, body="")
    assert error_of(amo, lambda client: client.account()).reason == "unavailable"


# The token


def test_a_wrong_token_needs_a_person(amo: AmoStandin) -> None:
    error = error_of(amo, add_note, token="another-token")
    assert (error.reason, error.permanent, error.ambiguous) == ("unauthorized", False, False)
    assert amo.notes(LEAD) == []


def test_no_error_tells_the_token_or_the_text(amo: AmoStandin) -> None:
    echo = {"detail": f"Bearer {amo.token} sent The answer (ref 7f3a)"}
    for status in (400, 401, 403, 404, 429, 500):
        amo.fault(status=status, body=json.dumps(echo))
        sentence = str(error_of(amo, add_note))
        assert amo.token not in sentence
        assert "7f3a" not in sentence


def test_no_error_tells_the_webhooks_address(amo: AmoStandin) -> None:
    destination = "https://otvet.example.com/webhook/amocrm/s3cr3t-0f-the-w3bh00k"
    amo.fault(path="/api/v4/webhooks", status=400, body=json.dumps({"detail": f"Wrong filter: {destination}"}))
    assert "s3cr3t" not in str(error_of(amo, lambda client: client.hook(destination)))


# Who asks is refused this, or everything


@pytest.mark.parametrize("status", [402, 403])
def test_a_refusal_of_one_call_is_final_where_amocrm_takes_others(amo: AmoStandin, status: int) -> None:
    amo.fault(path="/api/v4/leads/*", status=status)
    error = error_of(amo, add_note)
    assert (error.permanent, error.status) == (True, status)
    assert "takes other calls, but not this one" in str(error)
    assert [one["path"] for one in amo.log] == [f"/api/v4/leads/{LEAD}/notes", "/api/v4/account"]


@pytest.mark.parametrize(("then", "reason"), [(402, "payment"), (403, "forbidden"), (503, "unavailable")])
def test_a_refusal_of_everything_is_told_as_such(amo: AmoStandin, then: int, reason: str) -> None:
    amo.fault(path="/api/v4/leads/*", status=403)
    amo.fault(path="/api/v4/account", status=then)
    error = error_of(amo, add_note)
    assert (error.reason, error.permanent, error.ambiguous) == (reason, False, False)


def test_after_a_block_nobody_is_asked_back(amo: AmoStandin) -> None:
    amo.fault(status=403, body=HTML.decode(), content_type="text/html")
    assert error_of(amo, add_note).reason == "banned"
    assert len(amo.log) == 1


@pytest.mark.parametrize("token", ["", "s3cr3t\n", " s3cr3t", "s3 cr3t", "секрет", "s3cr3t\r\nX-Other: 1"])
def test_a_token_that_cannot_be_one_is_a_wrong_setting(amo: AmoStandin, token: str) -> None:
    with pytest.raises(SettingsError) as caught:
        AmoClient(httpx2.AsyncClient(), amo.url, token, None)
    assert "cr3t" not in str(caught.value)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_the_token_does_not_follow_a_redirect(amo: AmoStandin, status: int) -> None:
    with amocrm_standin() as other:
        other.any_lead = True
        amo.fault(status=status, headers={"Location": f"{other.url}/api/v4/leads/{LEAD}/notes"}, times=2)
        error = error_of(amo, add_note)
        assert (error.reason, error.permanent, error.status) == ("moved", False, status)
        assert error_of(amo, lambda client: client.lead(LEAD)).status == status
        assert other.log == []


# Limits and failures


def test_every_request_waits_for_its_place() -> None:
    clock = FakeClock()

    async def hurry(client: AmoClient) -> None:
        for _ in range(25):
            await add_note(client)

    with amocrm_standin(monotonic=clock.monotonic) as amo:
        amo.add_lead(LEAD)
        amo.rate = 6
        with_client(amo, hurry, limiter=Spaced(clock))
        assert [entry["status"] for entry in amo.log] == [200] * 25
        assert len(amo.notes(LEAD)) == 25


def test_too_many_requests_are_refused_and_in_the_end_blocked() -> None:
    clock = FakeClock()
    with amocrm_standin(monotonic=clock.monotonic) as amo:
        amo.add_lead(LEAD)
        amo.ban_after = 2
        for _ in range(7):
            with_client(amo, add_note)
        error = error_of(amo, add_note)
        assert (error.reason, error.permanent, error.ambiguous) == ("rate_limited", False, False)
        clock.advance(1)
        with_client(amo, add_note)
        amo.rate = 1
        assert error_of(amo, add_note).reason == "rate_limited"
        clock.advance(3600)
        error = error_of(amo, add_note)
        assert (error.reason, error.permanent, error.status) == ("banned", False, 403)
        assert len(amo.notes(LEAD)) == 8


def test_a_server_error_leaves_open_whether_the_note_is_there(amo: AmoStandin) -> None:
    amo.fault(path="/api/v4/leads/*/notes", method="POST", status=500)
    amo.fault(path="/api/v4/leads/*/notes", method="POST", status=504, body="<html></html>", carried_out=True)
    for written in (False, True):
        error = error_of(amo, add_note)
        assert (error.reason, error.ambiguous, error.permanent) == ("unavailable", True, False)
        assert (with_client(amo, find_note) is not None) is written


def test_a_dropped_connection_leaves_open_whether_the_note_is_there(amo: AmoStandin) -> None:
    amo.fault(method="POST", drop="before")
    amo.fault(method="POST", drop="after")
    for written in (False, True):
        error = error_of(amo, add_note)
        assert (error.reason, error.ambiguous, error.permanent) == ("network", True, False)
        assert error.status is None
        assert (with_client(amo, find_note) is not None) is written
    amo.fault(drop="before")
    assert error_of(amo, find_note).ambiguous is False


def test_no_answer_in_time_leaves_open_whether_the_note_is_there(amo: AmoStandin) -> None:
    amo.fault(delay=60, times=2)
    transport = Impatient()
    error = error_of(amo, add_note, transport=transport)
    assert (error.reason, error.ambiguous, error.permanent) == ("network", True, False)
    assert error_of(amo, find_note, transport=Impatient()).ambiguous is False
    assert with_client(amo, find_note) == amo.notes(LEAD)[0]["id"]
    assert transport.asked == [{"connect": 5, "read": 15, "write": 15, "pool": 2}]


def test_what_could_not_be_sent_was_not_carried_out(amo: AmoStandin) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        amo.url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        error = error_of(amo, add_note)
    assert (error.reason, error.ambiguous, error.permanent) == ("network", False, False)


def test_a_garbled_answer_leaves_open_whether_the_note_is_there(amo: AmoStandin) -> None:
    amo.fault(status=200, headers={"Content-Encoding": "gzip"}, body="not gzip")
    error = error_of(amo, add_note)
    assert (error.reason, error.ambiguous) == ("network", True)


# The stand-in itself


def request(amo: AmoStandin, method: str, path: str, body: Any = None) -> httpx2.Response:
    headers = {"Authorization": f"Bearer {amo.token}"}
    with httpx2.Client(trust_env=False) as http:
        return http.request(method, amo.url + path, json=body, headers=headers)


def post(amo: AmoStandin, path: str, body: Any) -> httpx2.Response:
    return request(amo, "POST", path, body)


def test_the_standin_answers_with_amocrms_content_types(amo: AmoStandin) -> None:
    for path in ("/account", f"/leads/{LEAD}", f"/contacts/{CONTACT}", f"/talks/{TALK}"):
        answer = request(amo, "GET", f"/api/v4{path}")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/hal+json")
        assert answer.json()["_links"]["self"]["href"] == f"{amo.url}/api/v4{path}"
    nothing = request(amo, "GET", "/api/v4/leads/1")
    assert (nothing.status_code, nothing.content, nothing.headers.get("content-type")) == (204, b"", None)
    amo.token = "another"
    for status, path in ((401, "/api/v4/account"), (404, "/api/v4/unknown"), (405, "/api/v4/account")):
        with httpx2.Client(trust_env=False) as http:
            headers = {} if status == 401 else {"Authorization": f"Bearer {amo.token}"}
            answer = http.request("DELETE" if status == 405 else "GET", amo.url + path, headers=headers)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
        assert answer.json()["status"] == status


def test_the_standin_embeds_only_what_is_asked_for(amo: AmoStandin) -> None:
    assert "contacts" not in request(amo, "GET", f"/api/v4/leads/{LEAD}").json()["_embedded"]
    assert "leads" not in request(amo, "GET", f"/api/v4/contacts/{CONTACT}").json()["_embedded"]


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"note_type": "common", "params": {"text": "no array"}}, None),
        ([], None),
        ([{"params": {"text": "a"}}], "note_type"),
        ([{"note_type": "letter", "params": {"text": "a"}}], "note_type"),
        ([{"note_type": "common"}], "params"),
        (
            [{"note_type": "common", "params": {"text": "a"}}, {"note_type": "common", "params": {}}],
            "params.text",
        ),
    ],
)
def test_the_standin_refuses_wrong_notes(amo: AmoStandin, body: Any, place: str | None) -> None:
    answer = post(amo, f"/api/v4/leads/{LEAD}/notes", body)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    mistakes = answer.json().get("validation-errors")
    assert (mistakes and mistakes[0]["errors"][0]["path"]) == place
    assert amo.notes(LEAD) == []


def test_the_standin_lists_notes_by_page_kind_and_order(amo: AmoStandin) -> None:
    path = f"/api/v4/leads/{LEAD}/notes"
    notes = [{"note_type": "common", "params": {"text": f"note {number}"}} for number in range(5)]
    notes[2] = {"note_type": "sms_in", "params": {"text": "note 2", "phone": "+70000000000"}}
    made = post(amo, path, notes).json()["_embedded"]["notes"]
    assert [note["request_id"] for note in made] == ["0", "1", "2", "3", "4"]

    def texts(query: str) -> list[str]:
        return [note["params"]["text"] for note in request(amo, "GET", f"{path}?{query}").json()["_embedded"]["notes"]]

    assert texts("") == [f"note {number}" for number in range(5)]
    assert texts("order[id]=desc&limit=2&page=2") == ["note 2", "note 1"]
    assert texts("filter[note_type]=sms_in") == ["note 2"]
    assert texts("filter[note_type][]=common&filter[note_type][]=sms_in&limit=3") == [
        "note 0",
        "note 1",
        "note 2",
    ]
    first = request(amo, "GET", f"{path}?limit=3").json()
    second = request(amo, "GET", first["_links"]["next"]["href"].removeprefix(amo.url)).json()
    assert [note["params"]["text"] for note in second["_embedded"]["notes"]] == ["note 3", "note 4"]
    assert "next" not in second["_links"]
    assert request(amo, "GET", f"{path}?page=9").status_code == 204


def test_the_standin_edits_a_note(amo: AmoStandin) -> None:
    note_id = with_client(amo, add_note)
    path = f"/api/v4/leads/{LEAD}/notes/{note_id}"
    answer = request(amo, "PATCH", path, {"note_type": "common", "params": {"text": "Another answer"}})
    assert (answer.status_code, answer.json()["id"]) == (200, note_id)
    assert request(amo, "GET", path).json()["params"] == {"text": "Another answer"}
    assert request(amo, "PATCH", path, {"note_type": "common", "params": {}}).status_code == 400
    assert request(amo, "PATCH", path + "0", {}).status_code == 404


def test_the_standin_takes_faults_and_shows_its_log_over_http(amo: AmoStandin) -> None:
    fault = {"path": "/api/v4/account", "method": "GET", "status": 503, "times": None}
    assert post(amo, "/_standin/fault", fault).status_code == 201
    assert request(amo, "GET", "/api/v4/account").status_code == 503
    assert request(amo, "GET", f"/api/v4/leads/{LEAD}").status_code == 200
    assert request(amo, "DELETE", "/_standin/fault").status_code == 200
    assert request(amo, "GET", "/api/v4/account").status_code == 200
    log = request(amo, "GET", "/_standin/log").json()
    assert [(entry["path"], entry["status"]) for entry in log] == [
        ("/api/v4/account", 503),
        (f"/api/v4/leads/{LEAD}", 200),
        ("/api/v4/account", 200),
    ]


def test_the_standin_closes_the_socket_without_a_word(amo: AmoStandin) -> None:
    for drop in ("before", "after"):
        amo.fault(path="/api/v4/account", drop=drop)
        with socket.create_connection(("127.0.0.1", int(amo.url.rpartition(":")[2])), timeout=10) as raw:
            authorization = f"Authorization: Bearer {amo.token}"
            raw.sendall(f"GET /api/v4/account HTTP/1.1\r\nHost: a\r\n{authorization}\r\n\r\n".encode())
            with contextlib.suppress(ConnectionResetError):
                assert raw.recv(1) == b""
    assert [entry["status"] for entry in amo.log] == [None, None]


def test_the_standin_runs_as_a_process_of_its_own() -> None:
    command = [sys.executable, "-m", "tests.standins.amocrm", "--port", "0", "--token", "t", "--lead", "5"]
    root = Path(__file__).parents[1]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = re.match(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
            assert url is not None
            with httpx2.Client(base_url=url[0], headers={"Authorization": "Bearer t"}, trust_env=False) as http:
                assert [http.get(f"/api/v4/leads/{lead_id}").status_code for lead_id in (5, 6)] == [200, 204]
        finally:
            process.terminate()
