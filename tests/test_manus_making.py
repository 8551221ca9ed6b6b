"""The project that holds the role text, and new tasks where Manus refuses an argument and does not say which."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx2
import pytest

from otvet.responders.base import Declined, NoVerdict, ResponderError
from otvet.responders.manus.api import INVALID_ARGUMENT, ManusApi, ManusError
from otvet.responders.manus.responder import ManusResponder
from otvet.responders.manus.tasks import ONE_WAY_SECONDS, PROJECT_PAUSE_SECONDS, Projects, Tasks
from tests.attempts import Book, Memory
from tests.clocks import FakeClock
from tests.contexts import context
from tests.standins.manus import ManusStandin, manus_standin

ROLE = "\nYou answer for the shop.\n"
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


class Limit:
    """A rate limit that allows ``count`` calls."""

    def __init__(self, count: int) -> None:
        self.count = count

    async def acquire(self, patience: float | None = None) -> bool:
        self.count -= 1
        return self.count >= 0


def use(
    manus: ManusStandin,
    scene: Callable[[Projects], Awaitable[Any]],
    kept: Memory | None = None,
    limit: Limit | None = None,
    clock: FakeClock | None = None,
    key: str | None = None,
) -> Any:
    async def run() -> Any:
        async with httpx2.AsyncClient(timeout=0.3) as http:
            return await scene(
                Projects(ManusApi(http, manus.url, key or manus.key), clock or FakeClock(), kept or Memory(), limit)
            )

    return asyncio.run(run())


def test_one_project_is_created_for_a_role_text_also_after_a_restart(manus: ManusStandin) -> None:
    kept = Memory()
    ids = {use(manus, lambda projects: projects.with_instruction(ROLE), kept) for _ in range(3)}
    (project,) = manus.projects.values()
    assert ids == {project["id"]}
    assert project["instruction"] == ROLE.strip()


def test_two_turns_at_once_create_one_project(manus: ManusStandin) -> None:
    async def scene(projects: Projects) -> list[str | None]:
        return await asyncio.gather(*[projects.with_instruction(ROLE) for _ in range(5)])

    assert set(use(manus, scene)) == set(manus.projects)
    assert len(manus.projects) == 1


def test_another_role_text_gets_another_project_and_the_first_one_is_found_again(manus: ManusStandin) -> None:
    async def scene(projects: Projects) -> list[str | None]:
        return [await projects.with_instruction(text) for text in (ROLE, "We are closed.", ROLE)]

    first, other, again = use(manus, scene)
    assert first == again != other
    assert [one["instruction"] for one in manus.projects.values()] == [ROLE.strip(), "We are closed."]


def test_another_account_has_projects_of_its_own(manus: ManusStandin) -> None:
    kept = Memory()
    use(manus, lambda projects: projects.with_instruction(ROLE), kept)
    manus.key = "sk-other"
    try:
        use(manus, lambda projects: projects.with_instruction(ROLE), kept)
    finally:
        manus.key = "sk-standin"
    assert len(manus.projects) == 2
    assert "sk-" not in repr(kept.values)


@pytest.mark.parametrize(
    "fault",
    [
        {"code": "invalid_argument"},
        {"code": "internal"},
        {"drop": "before"},
        {"delay": 30, "status": 500},
        {"status": 200, "body": '{"ok": true}'},
    ],
    ids=str,
)
def test_a_project_that_cannot_be_created_is_not_tried_again_for_some_minutes(
    manus: ManusStandin, fault: dict[str, Any]
) -> None:
    clock = FakeClock()
    manus.fault("project.create", **fault)

    async def scene(projects: Projects) -> list[str | None]:
        found = [await projects.with_instruction(ROLE), await projects.with_instruction(ROLE)]
        assert not manus.projects
        clock.advance(PROJECT_PAUSE_SECONDS)
        return [*found, await projects.with_instruction(ROLE)]

    assert use(manus, scene, clock=clock) == [None, None, *manus.projects]
    assert len(manus.projects) == 1


def test_a_project_that_manus_refuses_is_replaced_after_the_pause(manus: ManusStandin) -> None:
    clock, kept = FakeClock(), Memory()

    async def scene(projects: Projects) -> list[str | None]:
        found = [await projects.with_instruction(ROLE)]
        await projects.forget(ROLE)
        found.append(await projects.with_instruction(ROLE))
        clock.advance(PROJECT_PAUSE_SECONDS)
        return [*found, await projects.with_instruction(ROLE)]

    first, meanwhile, second = use(manus, scene, kept, clock=clock)
    assert [first, second] == list(manus.projects)
    assert meanwhile is None


def test_no_more_projects_are_created_than_the_rate_limit_allows(manus: ManusStandin) -> None:
    async def scene(projects: Projects) -> list[str | None]:
        return [await projects.with_instruction(f"Text {number}") for number in range(4)]

    assert use(manus, scene, limit=Limit(2)) == [*manus.projects, None, None]
    assert len(manus.projects) == 2


def test_without_a_role_text_no_project_is_created(manus: ManusStandin) -> None:
    assert use(manus, lambda projects: projects.with_instruction(" \n")) is None
    assert not manus.projects


class Scene:
    """One Tasks, and how often it waited for the rate limit before a further try."""

    def __init__(self, manus: ManusStandin, clock: FakeClock) -> None:
        self.manus = manus
        self.clock = clock
        self.waits = 0

    def play(self, act: Callable[[Tasks], Awaitable[Any]], profile: str = "lite") -> Any:
        async def run() -> Any:
            async with httpx2.AsyncClient(timeout=5) as http:
                api = ManusApi(http, self.manus.url, self.manus.key)
                return await act(Tasks(api, self.clock, profile, Projects(api, self.clock, Memory())))

        return asyncio.run(run())

    async def create(self, tasks: Tasks) -> str:
        return await tasks.create(TOLD, await tasks.project_for(TOLD), self.wait_for_limit)

    async def refused(self, tasks: Tasks) -> None:
        with pytest.raises(ManusError) as caught:
            await self.create(tasks)
        assert caught.value.code == INVALID_ARGUMENT

    async def wait_for_limit(self) -> None:
        self.waits += 1

    @property
    def tries(self) -> int:
        return self.manus.requests.count("task.create")


@pytest.fixture
def scene(manus: ManusStandin, clock: FakeClock) -> Scene:
    return Scene(manus, clock)


def test_a_text_that_manus_does_not_take_costs_few_tries_and_no_project(scene: Scene, manus: ManusStandin) -> None:
    async def act(tasks: Tasks) -> None:
        await scene.create(tasks)
        manus.most_tokens = 1
        for _question in range(5):
            await scene.refused(tasks)
            scene.clock.advance(PROJECT_PAUSE_SECONDS + 1)
        assert await tasks.project_for(TOLD) in manus.projects

    scene.play(act)
    assert len(manus.projects) == 1
    assert scene.tries == 1 + 4 + 4  # every way once, and then one way alone
    assert scene.waits == 3  # the first try has waited already


def test_after_a_while_every_way_is_tried_again(scene: Scene, manus: ManusStandin) -> None:
    async def act(tasks: Tasks) -> str:
        await scene.create(tasks)
        manus.most_tokens = 1
        await scene.refused(tasks)
        manus.most_tokens, manus.profiles = 5000, {"manus-1.6-lite"}
        scene.clock.advance(ONE_WAY_SECONDS - 1)
        await scene.refused(tasks)
        scene.clock.advance(1)
        await scene.create(tasks)
        return tasks.profile

    assert scene.play(act) == "manus-1.6-lite"


def test_a_first_text_that_manus_does_not_take_does_not_hide_the_name_from_the_next(
    scene: Scene, manus: ManusStandin
) -> None:
    async def act(tasks: Tasks) -> None:
        manus.profiles, manus.most_tokens = {"manus-1.6-lite"}, 1
        await scene.refused(tasks)
        manus.most_tokens = 5000
        await scene.create(tasks)
        await scene.create(tasks)

    scene.play(act)
    assert scene.tries == 4 + 1 + 1


def test_a_name_that_changes_while_the_server_runs_is_found_out(scene: Scene, manus: ManusStandin) -> None:
    async def act(tasks: Tasks) -> str:
        manus.profiles = {"manus-1.6-lite"}
        await scene.create(tasks)
        manus.profiles = {"lite"}
        await scene.create(tasks)
        return tasks.profile

    assert scene.play(act) == "lite"


@pytest.mark.parametrize("code", ["invalid_argument", "not_found"])
def test_a_project_is_replaced_when_the_text_passes_without_it(scene: Scene, manus: ManusStandin, code: str) -> None:
    async def act(tasks: Tasks) -> None:
        await scene.create(tasks)
        manus.fault("task.create", code=code)
        if code == "invalid_argument":
            manus.fault("task.create", code=code)  # under the other name
        await scene.create(tasks)
        await scene.create(tasks)
        scene.clock.advance(PROJECT_PAUSE_SECONDS)
        await scene.create(tasks)

    scene.play(act)
    assert len(manus.projects) == 2
    assert ["project_id" in body for body in manus.creates] == [True, False, False, True]


def test_a_project_that_is_gone_is_forgotten_whatever_becomes_of_the_text(scene: Scene, manus: ManusStandin) -> None:
    async def act(tasks: Tasks) -> None:
        await scene.create(tasks)
        manus.projects.clear()
        manus.fault("task.create", code="not_found")
        manus.fault("task.create", code="internal")
        with pytest.raises(ManusError):
            await scene.create(tasks)
        scene.clock.advance(PROJECT_PAUSE_SECONDS)
        await scene.create(tasks)

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
        tasks = Tasks(api, FakeClock(), "lite", None)

        async def wait_for_limit() -> None: ...

        return await asyncio.gather(*(tasks.create(TOLD, None, wait_for_limit) for _ in range(2)))

    assert asyncio.run(run()) == ["task", "task"]


@pytest.mark.parametrize(("made_before", "kind"), [(True, Declined), (False, ResponderError)])
def test_a_refused_text_says_nothing_against_manus_where_it_takes_others(
    manus: ManusStandin, clock: FakeClock, made_before: bool, kind: type[ResponderError]
) -> None:
    async def run() -> ResponderError:
        async with httpx2.AsyncClient(timeout=5) as http:
            responder = ManusResponder(ManusApi(http, manus.url, manus.key), clock)
            if made_before:
                await responder.reply(TOLD, Book(clock).of("manus"))
            manus.most_tokens = 1
            with pytest.raises(ResponderError) as caught:
                await responder.reply(TOLD, Book(clock).of("manus"))
            return caught.value

    assert type(asyncio.run(run())) is kind


def test_a_further_try_waits_for_the_rate_limit(manus: ManusStandin, clock: FakeClock) -> None:
    attempt = Book(clock).of("manus")
    manus.most_tokens = 1

    async def run() -> None:
        async with httpx2.AsyncClient(timeout=5) as http:
            api = ManusApi(http, manus.url, manus.key)
            await ManusResponder(api, clock, limits={"task.create": Limit(1)}).reply(TOLD, attempt)

    with pytest.raises(NoVerdict):
        asyncio.run(run())
    assert manus.requests.count("task.create") == 1
    assert attempt.facts["asking"] is None  # so nothing is unknown
