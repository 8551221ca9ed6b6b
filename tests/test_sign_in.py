"""The doors of the pages with an attacker's eyes: tries, sessions, cookies, invitations, forms, odd headers."""

import asyncio
import re
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta

import httpx2
import pytest
from argon2 import PasswordHasher

from otvet.storage.database import Database
from otvet.users import first_code, invitations, sessions, tries, users
from otvet.users.users import Role
from otvet.web.pages.entrance import LARGEST_FORM
from tests.browsing import PASSWORD
from tests.clocks import FakeClock
from tests.in_process import HOST, ORIGIN, Inside, inside, sign_in


@pytest.fixture(autouse=True)
def _quick_passwords(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password costs nothing here, but where the time is what is tested."""
    if "as_long" not in request.node.name:
        quick = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
        monkeypatch.setattr(users, "_hasher", lambda: quick)
        monkeypatch.setattr(users, "_nobody", lambda: quick.hash("nobody"))


Play = Callable[[Inside, FakeClock], Awaitable[None]]


def play(database: Database, function: Play, **settings: object) -> None:
    """Run a play on pages with the owner Olga."""

    async def run() -> None:
        clock = FakeClock()
        async with inside(database.url, clock, **settings) as pages:
            await pages.add_user()
            await function(pages, clock)

    asyncio.run(run())


def cookie_of(answer: httpx2.Response) -> str:
    return answer.headers["set-cookie"]


def csrf_of(page: httpx2.Response) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', page.text)
    assert found, page.text
    return found[1]


def test_a_session_ends_after_a_week_without_a_request_and_after_a_month_in_any_case(database: Database) -> None:
    async def week_and_month(pages: Inside, clock: FakeClock) -> None:
        idle, busy = pages.browser(), pages.browser()
        assert (await sign_in(idle)).status_code == (await sign_in(busy)).status_code == 303
        for _day in range(29):
            assert (await busy.get("/me")).status_code == 200
            clock.advance(timedelta(days=1).total_seconds())
        assert (await idle.get("/me")).status_code == 303
        assert (await busy.get("/me")).status_code == 200
        clock.advance(timedelta(days=1).total_seconds())
        assert (await busy.get("/me")).headers["location"] == "/sign-in?next=/me"
        assert (await busy.get("/me", headers={"hx-request": "true"})).status_code == 401

    play(database, week_and_month)


def test_the_page_does_not_say_whether_a_name_exists(database: Database) -> None:
    async def guess(pages: Inside, clock: FakeClock) -> None:
        olga, nobody = pages.browser("198.51.100.1"), pages.browser("198.51.100.2")
        for _try in range(7):
            known = await sign_in(olga, "Olga", "a wrong password")
            unknown = await sign_in(nobody, "Igor", "a wrong password")
            assert known.status_code == unknown.status_code
            assert known.text.replace("Olga", "Igor") == unknown.text
        assert known.status_code == 429

    play(database, guess)


def test_a_name_that_does_not_exist_takes_as_long(database: Database) -> None:
    async def measured(pages: Inside, clock: FakeClock) -> None:
        took: dict[str, list[float]] = {"Olga": [], "Igor": []}
        for number in range(4):
            for name, times in took.items():
                began = time.process_time()  # of the processor, so that a busy machine does not matter
                await sign_in(pages.browser(f"198.51.100.{number}"), name, "a wrong password")
                times.append(time.process_time() - began)
        assert statistics.median(took["Igor"]) > statistics.median(took["Olga"]) / 2

    play(database, measured)


def test_tries_are_slowed_down_by_name_and_address_and_a_stranger_shuts_nobody_out(database: Database) -> None:
    async def attack(pages: Inside, clock: FakeClock) -> None:
        stranger, olga = pages.browser("198.51.100.66"), pages.browser("203.0.113.5")
        for _try in range(30):
            await sign_in(stranger, "Olga", "a wrong password")
        assert (await sign_in(stranger)).status_code == 429  # the right one is not even looked at
        assert (await sign_in(olga)).status_code == 303
        clock.advance(1)
        assert (await sign_in(stranger)).status_code == 303

    play(database, attack)


def test_one_address_cannot_try_many_names(database: Database) -> None:
    async def spray(pages: Inside, clock: FakeClock) -> None:
        answers = [(await sign_in(pages.browser(), f"user {number}", "123456")).status_code for number in range(22)]
        assert answers == [401] * 20 + [429] * 2
        assert (await sign_in(pages.browser("203.0.113.6"))).status_code == 303
        # An own account does not buy new tries at others'.
        clock.advance(2)
        assert (await sign_in(pages.browser())).status_code == 303
        clock.advance(1)
        assert (await sign_in(pages.browser(), "user 1", "123456")).status_code == 401
        assert (await sign_in(pages.browser(), "user 2", "123456")).status_code == 429

    play(database, spray)


@pytest.mark.parametrize("many", ["2001:db8:1:2::{:x}", "::ffff:203.0.113.9"])
def test_addresses_of_one_place_count_as_one(database: Database, many: str) -> None:
    async def spray(pages: Inside, clock: FakeClock) -> None:
        answers = [
            (await sign_in(pages.browser(many.format(number)), "Olga", "wrong word")).status_code for number in range(6)
        ]
        assert answers == [401] * 5 + [429]

    play(database, spray)


def test_many_addresses_at_one_name_are_slowed_down_for_a_minute_at_most(database: Database) -> None:
    async def botnet(pages: Inside, clock: FakeClock) -> None:
        for number in range(80):
            clock.advance(61 if number >= 50 else 0)
            answer = await sign_in(pages.browser(f"198.51.{number}.1"), "Olga", "wrong word")
            assert answer.status_code == 401
        assert (await sign_in(pages.browser("198.51.250.1"), "Olga", "wrong word")).status_code == 429
        clock.advance(61)
        assert (await sign_in(pages.browser())).status_code == 303

    play(database, botnet)


def test_what_one_process_counts_holds_in_another(prepared_postgres_url: str) -> None:
    async def both() -> None:
        clock = FakeClock()
        async with inside(prepared_postgres_url, clock) as one, inside(prepared_postgres_url, clock) as two:
            await one.add_user()
            for number in range(5):
                await sign_in((one, two)[number % 2].browser(), "Olga", "a wrong password")
            assert (await sign_in(one.browser())).status_code == 429
            assert (await sign_in(two.browser())).status_code == 429
            clock.advance(2)
            browser = one.browser()
            await sign_in(browser)
            elsewhere = two.browser(cookie="; ".join(f"{name}={value}" for name, value in browser.cookies.items()))
            assert (await elsewhere.get("/me")).status_code == 200

    asyncio.run(both())


@pytest.mark.parametrize(
    ("peer", "header", "counted"),
    [
        ("127.0.0.1", "198.51.100.7", "198.51.100.7"),  # a proxy on this machine
        ("172.18.0.2", "6.6.6.6, 198.51.100.7", "198.51.100.7"),  # in a network of containers
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", "unknown", "127.0.0.1"),
        ("203.0.113.5", "198.51.100.7", "203.0.113.5"),  # a browser itself may claim anything
    ],
)
def test_the_address_behind_a_proxy_is_the_browsers(database: Database, peer: str, header: str, counted: str) -> None:
    async def through(pages: Inside, clock: FakeClock) -> None:
        browser = pages.browser(peer, **({"x-forwarded-for": header} if header else {}))
        await sign_in(browser)
        assert counted in (await browser.get("/me")).text
        for _try in range(20):
            await sign_in(browser, f"user {_try}", "wrong word")
        waits = await pages.service.database.read(lambda connection: tries.wait(connection, "", counted, clock.now()))
        assert waits

    play(database, through)


@pytest.mark.parametrize("wanted", ["/chats/1?box=all", "/settings/people", "/"])
def test_after_the_sign_in_the_wanted_page_opens(database: Database, wanted: str) -> None:
    async def come(pages: Inside, clock: FakeClock) -> None:
        browser = pages.browser()
        sent = (await browser.get(wanted)).headers["location"]
        answer = await browser.post(sent, data={"name": "olga", "password": PASSWORD})
        assert answer.headers["location"] == wanted

    play(database, come)


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://elsewhere.example/",
        "//elsewhere.example",
        "/\\elsewhere.example",
        "\\\\elsewhere.example",
        "/\t/elsewhere.example",
        "/\n/elsewhere.example",
        "javascript:alert(1)",
        "elsewhere.example",
        "",
    ],
)
def test_no_sign_in_leads_elsewhere(database: Database, elsewhere: str) -> None:
    async def come(pages: Inside, clock: FakeClock) -> None:
        browser = pages.browser()
        for _time in ("not yet signed in", "signed in already"):
            answer = await browser.post(
                "/sign-in", params={"next": elsewhere}, data={"name": "Olga", "password": PASSWORD}
            )
            assert answer.headers["location"] == "/"
        assert (await browser.get("/sign-in", params={"next": elsewhere})).headers["location"] == "/"

    play(database, come)


def test_a_sign_in_begins_a_session_that_nobody_knew_before(database: Database) -> None:
    async def fixed(pages: Inside, clock: FakeClock) -> None:
        victim = pages.browser()
        victim.cookies.set("otvet_session", "chosen-by-somebody-else")
        first = cookie_of(await sign_in(victim))
        assert "chosen-by-somebody-else" not in first
        kept = {"cookie": first.partition(";")[0]}
        second = cookie_of(await sign_in(pages.browser(**kept)))
        assert second != first
        assert (await pages.browser(**kept).get("/me")).status_code == 303  # the one of before has ended

    play(database, fixed)


@pytest.mark.parametrize(
    ("origin", "public_url", "secure"),
    [
        (ORIGIN, None, False),
        (f"https://{HOST}", None, True),  # a proxy with TLS that passes the host on
        ("https://otvet.example.com", "https://otvet.example.com", True),  # one that does not
        ("https://otvet.example.com", "https://otvet.example.com:443", True),
        (ORIGIN, "https://otvet.example.com", False),  # at the machine itself
    ],
)
def test_the_cookie_is_kept_from_scripts_and_from_plain_http(
    database: Database, origin: str, public_url: str | None, secure: bool
) -> None:
    async def come(pages: Inside, clock: FakeClock) -> None:
        answer = await sign_in(pages.browser(origin=origin))
        assert answer.status_code == 303
        parts = {part.strip().lower() for part in cookie_of(answer).split(";")[1:]}
        assert parts >= {"httponly", "samesite=lax", "path=/", "max-age=2592000"}
        assert ("secure" in parts) == secure
        assert not any(part.startswith("domain") for part in parts)

    play(database, come, public_url=public_url)


@pytest.mark.parametrize(
    "origin",
    [
        "http://otvet.example.com",  # the same place without TLS
        "https://otvet.example.com:8443",
        "https://otvet.example.com.elsewhere.example",
        "https://otvet.example.com@elsewhere.example",
        "https://elsewhere.example",
        f"http://{HOST}:81",
        "http://[::1",
        "http://a:b",
        "file://",
        "",
        "null",
    ],
)
def test_a_form_of_another_page_is_refused(database: Database, origin: str) -> None:
    async def come(pages: Inside, clock: FakeClock) -> None:
        assert (await sign_in(pages.browser(origin=origin))).status_code == 403

    play(database, come, public_url="https://otvet.example.com")


def test_an_odd_host_leads_nowhere(database: Database) -> None:
    async def come(pages: Inside, clock: FakeClock) -> None:
        for host in ("elsewhere.example", "", "a b", "[::1", 'x"><script>', "otvet.test:99999"):
            browser = pages.browser(host=host)
            for path in ("/", "/sign-in", "/sign-in/", "/knowledge/", "//elsewhere.example/", "/static/otvet.css"):
                answer = await browser.get(path)
                assert "elsewhere.example" not in answer.headers.get("location", "").partition("?")[0]
                assert "<script>" not in answer.text.lower().replace('<script src="', "")
            assert (await sign_in(browser)).status_code == 403

    play(database, come)


def test_the_form_of_a_stranger_is_small(database: Database) -> None:
    async def send(pages: Inside, clock: FakeClock) -> None:
        browser = pages.browser()
        for path in ("/sign-in", "/set-up"):
            assert (await browser.post(path, data={"name": "x" * LARGEST_FORM})).status_code == 413
            assert (await browser.post(path, content="a=1&" * 50)).status_code == 413

        async def endless() -> AsyncIterator[bytes]:
            for _chunk in range(10_000):
                yield b"name=" + b"x" * 1000

        assert (await browser.post("/sign-in", content=endless())).status_code == 413
        odd = {"name": "Olga\0", "password": "\ud7ff\uffff" * 90}
        assert (await browser.post("/sign-in", data=odd)).status_code == 401
        assert (await browser.post("/sign-in", content=b"name=%ff%00&password=\xff")).status_code == 401
        assert (await browser.post("/sign-in", files={"name": ("x", b"x")})).status_code == 401

    play(database, send)


def test_the_form_of_an_error_leads_back_to_our_own_page(database: Database) -> None:
    async def send(pages: Inside, clock: FakeClock) -> None:
        browser = pages.browser(origin="https://elsewhere.example", referer="https://elsewhere.example/lure?a=1")
        answer = await sign_in(browser)
        assert "elsewhere.example" not in answer.text
        assert 'href="/lure?a=1"' in answer.text

    play(database, send)


def test_an_invitation_holds_once_also_for_two_at_the_same_moment(database: Database) -> None:
    async def both(pages: Inside, clock: FakeClock) -> None:
        make = pages.service.database.write
        token = await make(lambda connection: invitations.make(connection, Role.MANAGER, "Olga", clock.now()))
        path = f"/invitation/{token}"
        assert (await pages.browser().get(path)).status_code == 200
        short = await pages.browser().post(path, data={"name": "Igor", "password": "short"})
        taken = await pages.browser().post(path, data={"name": "olga", "password": PASSWORD})
        assert (short.status_code, taken.status_code) == (422, 422)
        two = (pages.browser().post(path, data={"name": name, "password": PASSWORD}) for name in ("Igor", "Anna"))
        answers = await asyncio.gather(*two)
        assert sorted(answer.status_code for answer in answers) == [303, 404]
        people = await pages.service.database.read(users.listed)
        assert sorted(user.role for user in people) == ["manager", "owner"]
        assert (await pages.browser().get(path)).status_code == 404

    play(database, both)


def test_an_invitation_ends_after_a_week(database: Database) -> None:
    async def late(pages: Inside, clock: FakeClock) -> None:
        token = await pages.service.database.write(
            lambda connection: invitations.make(connection, Role.VIEWER, "Olga", clock.now())
        )
        clock.advance(invitations.LASTS.total_seconds())
        answer = await pages.browser().post(f"/invitation/{token}", data={"name": "Igor", "password": PASSWORD})
        assert answer.status_code == 404

    play(database, late)


def test_the_first_visit_needs_its_code_which_cannot_be_tried_for_ever(database: Database) -> None:
    async def come(pages: Inside, clock: FakeClock) -> None:
        form = {"name": "Olga", "password": PASSWORD}
        guesses = [
            (await pages.browser().post("/set-up", data={**form, "code": f"ABCDEFG{n}"})).status_code for n in range(6)
        ]
        assert guesses == [401] * 5 + [429]
        code = await pages.service.database.read(first_code.waiting)
        good = {**form, "code": first_code.shown(code).lower()}
        assert (await pages.browser().post("/set-up", data=good)).status_code == 429
        two = (pages.browser(f"198.51.100.{n}").post("/set-up", data={**good, "name": f"Olga {n}"}) for n in (1, 2))
        answers = sorted((answer.status_code, answer.headers["location"]) for answer in await asyncio.gather(*two))
        assert answers == [(303, "/sign-in"), (303, "/try")]
        assert len(await pages.service.database.read(users.listed)) == 1

    async def run() -> None:
        clock = FakeClock()
        async with inside(database.url, clock) as pages:
            await come(pages, clock)

    asyncio.run(run())


def test_a_new_role_and_a_shut_door_hold_at_once(database: Database) -> None:
    async def act(pages: Inside, clock: FakeClock) -> None:
        igor = await pages.add_user("Igor", Role.OWNER)
        owner, other = pages.browser(), pages.browser("203.0.113.6")
        await sign_in(owner)
        await sign_in(other, "Igor")
        link = await other.post(
            "/settings/people/invitations", data={"csrf": csrf_of(await other.get("/me")), "role": "owner"}
        )
        found = re.search(r"/invitation/[\w-]+", link.text)
        assert found
        csrf = csrf_of(await owner.get("/me"))
        await owner.post(f"/settings/people/{igor}/role", data={"csrf": csrf, "role": "viewer"})
        assert (await other.get("/settings/people")).status_code == 403
        assert (await pages.browser().get(found[0])).status_code == 404  # what an owner of before had made
        await owner.post(f"/settings/people/{igor}/disable", data={"csrf": csrf})
        assert (await other.get("/")).status_code == 303
        assert (await sign_in(pages.browser(), "Igor")).status_code == 401
        await owner.post(f"/settings/people/{igor}/enable", data={"csrf": csrf})
        assert (await sign_in(pages.browser(), "Igor")).status_code == 303

    play(database, act)


def test_somebody_stays_owner(database: Database) -> None:
    async def act(pages: Inside, clock: FakeClock) -> None:
        olga = pages.browser()
        await sign_in(olga)
        page = await olga.get("/settings/people")
        found = re.search(r"/settings/people/(\d+)", page.text)
        assert found
        form = {"csrf": csrf_of(page), "role": "viewer"}
        for path in ("role", "disable"):
            answer = await olga.post(f"/settings/people/{found[1]}/{path}", data=form)
            assert answer.status_code == 409
            assert "stay owner" in answer.text
        assert (await olga.post(f"/settings/people/{found[1]}/role", data={**form, "role": "king"})).status_code == 422

    play(database, act)


def test_a_new_password_signs_all_other_browsers_out(database: Database) -> None:
    async def act(pages: Inside, clock: FakeClock) -> None:
        here, there = pages.browser(), pages.browser("203.0.113.6")
        await sign_in(here)
        await sign_in(there)
        form = {"csrf": csrf_of(await here.get("/me")), "password": PASSWORD, "new": "battery staple"}
        assert (await here.post("/me/password", data=form | {"password": "wrong"})).status_code == 422
        assert (await here.post("/me/password", data=form | {"new": "short"})).status_code == 422
        assert (await here.post("/me/password", data=form)).headers["location"] == "/me?done=password"
        assert (await here.get("/me")).status_code == 200
        assert (await there.get("/me")).status_code == 303
        assert (await sign_in(pages.browser())).status_code == 401
        assert (await sign_in(pages.browser(), password="battery staple")).status_code == 303
        for _try in range(6):
            answer = await here.post("/me/password", data=form)
        assert answer.status_code == 429  # who finds a browser open cannot try passwords there

    play(database, act)


def test_sessions_are_ended_one_by_one_and_all(database: Database) -> None:
    async def act(pages: Inside, clock: FakeClock) -> None:
        igor = await pages.add_user("Igor", Role.VIEWER)
        olga, mine, lost = pages.browser(), pages.browser("203.0.113.6"), pages.browser("203.0.113.7")
        await sign_in(olga)
        await sign_in(mine, "Igor")
        await sign_in(lost, "Igor")
        page = await mine.get("/me")
        ends = re.findall(r'action="(/me/sessions/\d+/end)"', page.text)
        assert len(ends) == 1
        await mine.post(ends[0], data={"csrf": csrf_of(page)})
        assert (await lost.get("/me")).status_code == 303
        assert (await mine.get("/me")).status_code == 200
        # Nobody ends a session of somebody else by its number.
        (hers,) = await pages.service.database.read(lambda connection: sessions.of_user(connection, 1, clock.now()))
        await mine.post(f"/me/sessions/{hers.id}/end", data={"csrf": csrf_of(page)})
        assert (await olga.get("/me")).status_code == 200
        await olga.post(f"/settings/people/{igor}/sign-out", data={"csrf": csrf_of(await olga.get("/me"))})
        assert (await mine.get("/me")).status_code == 303

    play(database, act)
