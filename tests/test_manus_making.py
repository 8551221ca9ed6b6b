"""How a task is made when Manus refuses an argument and does not say which."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx2
import pytest

from otvet.responders.base import Declined, NoVerdict, ResponderError
from otvet.responders.manus.api import INVALID_ARGUMENT, ManusApi, ManusError
from otvet.responders.manus.making import ONE_WAY_SECONDS, Maker
from otvet.responders.manus.project import PAUSE_SECONDS, Projects
from otvet.responders.manus.responder import ManusResponder
from tests.clocks import FakeClock
from tests.contexts import context
from tests.notebooks import Entry
from tests.standins.manus import ManusStandin, manus_standin
from tests.test_manus_webhook import Memory

TOLD = context(question="How much is it?", instructions="You answer for the shop.")


@pytest.fixture(scope="module")
def running() -> Iterator[ManusStandin]:
    with manus_standin(limits={}) as standin:
        yield standin


@pytest.fixture
def manus(running: ManusStandin) -> ManusStandin:
    running.reset()
    return running


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


class Scene:
    """One maker, and how often it asked whether it may try once more."""

    def __init__(self, manus: ManusStandin, clock: FakeClock) -> None:
        self.manus = manus
        self.clock = clock
        self.places = 0

    def play(self, act: Callable[[Maker], Awaitable[Any]], profile: str = "lite") -> Any:
        async def run() -> Any:
            async with httpx2.AsyncClient(timeout=5) as http:
                api = ManusApi(http, self.manus.url, self.manus.key)
                return await act(Maker(api, self.clock, profile, Projects(api, self.clock, Memory())))

        return asyncio.run(run())

    async def make(self, maker: Maker) -> str:
        return await maker.make(TOLD, await maker.project(TOLD), self.place)

    async def refused(self, maker: Maker) -> None:
        with pytest.raises(ManusError) as caught:
            await self.make(maker)
        assert caught.value.code == INVALID_ARGUMENT

    async def place(self) -> None:
        self.places += 1

    @property
    def tries(self) -> int:
        return self.manus.requests.count("task.create")


@pytest.fixture
def scene(manus: ManusStandin, clock: FakeClock) -> Scene:
    return Scene(manus, clock)


def test_a_text_that_manus_does_not_take_costs_few_tries_and_no_project(scene: Scene, manus: ManusStandin) -> None:
    async def act(maker: Maker) -> None:
        await scene.make(maker)
        manus.most_tokens = 1
        for _question in range(5):
            await scene.refused(maker)
            scene.clock.advance(PAUSE_SECONDS + 1)
        assert await maker.project(TOLD) in manus.projects

    scene.play(act)
    assert len(manus.projects) == 1
    assert scene.tries == 1 + 4 + 4  # every way once, and then one way alone
    assert scene.places == 3  # the first try has its place already


def test_after_a_while_every_way_is_tried_again(scene: Scene, manus: ManusStandin) -> None:
    async def act(maker: Maker) -> str:
        await scene.make(maker)
        manus.most_tokens = 1
        await scene.refused(maker)
        manus.most_tokens, manus.profiles = 5000, {"manus-1.6-lite"}
        scene.clock.advance(ONE_WAY_SECONDS - 1)
        await scene.refused(maker)
        scene.clock.advance(1)
        await scene.make(maker)
        return maker.profile

    assert scene.play(act) == "manus-1.6-lite"


def test_a_first_text_that_manus_does_not_take_does_not_hide_the_name_from_the_next(
    scene: Scene, manus: ManusStandin
) -> None:
    async def act(maker: Maker) -> None:
        manus.profiles, manus.most_tokens = {"manus-1.6-lite"}, 1
        await scene.refused(maker)
        manus.most_tokens = 5000
        await scene.make(maker)
        await scene.make(maker)

    scene.play(act)
    assert scene.tries == 4 + 1 + 1


def test_a_name_that_changes_while_the_server_runs_is_found_out(scene: Scene, manus: ManusStandin) -> None:
    async def act(maker: Maker) -> str:
        manus.profiles = {"manus-1.6-lite"}
        await scene.make(maker)
        manus.profiles = {"lite"}
        await scene.make(maker)
        return maker.profile

    assert scene.play(act) == "lite"


@pytest.mark.parametrize("code", ["invalid_argument", "not_found"])
def test_a_project_is_replaced_when_the_text_passes_without_it(scene: Scene, manus: ManusStandin, code: str) -> None:
    async def act(maker: Maker) -> None:
        await scene.make(maker)
        manus.fault("task.create", code=code)
        if code == "invalid_argument":
            manus.fault("task.create", code=code)  # under the other name
        await scene.make(maker)
        await scene.make(maker)
        scene.clock.advance(PAUSE_SECONDS)
        await scene.make(maker)

    scene.play(act)
    assert len(manus.projects) == 2
    assert ["project_id" in body for body in manus.creates] == [True, False, False, True]


def test_a_project_that_is_gone_is_forgotten_whatever_becomes_of_the_text(scene: Scene, manus: ManusStandin) -> None:
    async def act(maker: Maker) -> None:
        await scene.make(maker)
        manus.projects.clear()
        manus.fault("task.create", code="not_found")
        manus.fault("task.create", code="internal")
        with pytest.raises(ManusError):
            await scene.make(maker)
        scene.clock.advance(PAUSE_SECONDS)
        await scene.make(maker)

    scene.play(act)
    assert manus.creates[-1]["project_id"] in manus.projects


def test_two_questions_at_once_find_the_name_out_for_themselves() -> None:
    class Api:
        """Takes the old name alone. Of two that come with the new one the second is refused when the first was made."""

        account = "account"

        def __init__(self) -> None:
            self.asked = 0
            self.both_have_asked = asyncio.Event()
            self.one_was_made = asyncio.Event()

        async def create_task(self, _content: str, *, profile: str, **_: object) -> str:
            if profile == "lite":
                self.asked += 1
                if self.asked == 2:
                    self.both_have_asked.set()
                    await self.one_was_made.wait()
                await self.both_have_asked.wait()
                raise ManusError("?", code=INVALID_ARGUMENT, permanent=True)
            self.one_was_made.set()
            return "task"

    async def run() -> list[str]:
        api: Any = Api()
        maker = Maker(api, FakeClock(), "lite", None)

        async def place() -> None: ...

        return await asyncio.gather(*(maker.make(TOLD, None, place) for _ in range(2)))

    assert asyncio.run(run()) == ["task", "task"]


@pytest.mark.parametrize(("made_before", "kind"), [(True, Declined), (False, ResponderError)])
def test_a_refused_text_says_nothing_against_manus_where_it_takes_others(
    manus: ManusStandin, clock: FakeClock, made_before: bool, kind: type[ResponderError]
) -> None:
    async def run() -> ResponderError:
        async with httpx2.AsyncClient(timeout=5) as http:
            responder = ManusResponder(ManusApi(http, manus.url, manus.key), clock)
            if made_before:
                await responder.reply(TOLD, Entry(started_at=clock.now()))
            manus.most_tokens = 1
            with pytest.raises(ResponderError) as caught:
                await responder.reply(TOLD, Entry(started_at=clock.now()))
            return caught.value

    assert type(asyncio.run(run())) is kind


def test_a_further_try_waits_for_its_place(manus: ManusStandin, clock: FakeClock) -> None:
    class Places:
        """One place alone."""

        count = 1

        async def acquire(self, patience: float | None = None) -> bool:
            self.count -= 1
            return self.count >= 0

    journal = Entry(started_at=clock.now())
    manus.most_tokens = 1

    async def run() -> None:
        async with httpx2.AsyncClient(timeout=5) as http:
            api = ManusApi(http, manus.url, manus.key)
            await ManusResponder(api, clock, places={"task.create": Places()}).reply(TOLD, journal)

    with pytest.raises(NoVerdict):
        asyncio.run(run())
    assert manus.requests.count("task.create") == 1
    assert journal.facts["asking"] is None  # so nothing is unknown
