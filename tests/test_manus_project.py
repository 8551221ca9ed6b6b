"""The project that holds the role text."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx2
import pytest

from otvet.responders.manus.api import ManusApi
from otvet.responders.manus.project import PAUSE_SECONDS, Projects
from tests.clocks import FakeClock
from tests.standins.manus import ManusStandin, manus_standin
from tests.test_manus_webhook import Memory

ROLE = "\nYou answer for the shop.\n"


@pytest.fixture(scope="module")
def running() -> Iterator[ManusStandin]:
    with manus_standin() as standin:
        yield standin


@pytest.fixture
def manus(running: ManusStandin) -> ManusStandin:
    running.reset()
    return running


class Places:
    """So many places."""

    def __init__(self, count: int) -> None:
        self.count = count

    async def acquire(self, patience: float | None = None) -> bool:
        self.count -= 1
        return self.count >= 0


def use(
    manus: ManusStandin,
    scene: Callable[[Projects], Awaitable[Any]],
    kept: Memory | None = None,
    place: Places | None = None,
    clock: FakeClock | None = None,
    key: str | None = None,
) -> Any:
    async def run() -> Any:
        async with httpx2.AsyncClient(timeout=0.3) as http:
            return await scene(
                Projects(ManusApi(http, manus.url, key or manus.key), clock or FakeClock(), kept or Memory(), place)
            )

    return asyncio.run(run())


def test_it_is_made_once_for_a_text_also_after_a_restart(manus: ManusStandin) -> None:
    kept = Memory()
    ids = {use(manus, lambda projects: projects.with_instruction(ROLE), kept) for _ in range(3)}
    (project,) = manus.projects.values()
    assert ids == {project["id"]}
    assert project["instruction"] == ROLE.strip()


def test_two_turns_at_once_make_one(manus: ManusStandin) -> None:
    async def scene(projects: Projects) -> list[str | None]:
        return await asyncio.gather(*[projects.with_instruction(ROLE) for _ in range(5)])

    assert set(use(manus, scene)) == set(manus.projects)
    assert len(manus.projects) == 1


def test_another_text_gets_another_project_and_the_first_one_is_found_again(manus: ManusStandin) -> None:
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
def test_one_that_cannot_be_made_is_done_without_for_some_minutes(manus: ManusStandin, fault: dict[str, Any]) -> None:
    clock = FakeClock()
    manus.fault("project.create", **fault)

    async def scene(projects: Projects) -> list[str | None]:
        found = [await projects.with_instruction(ROLE), await projects.with_instruction(ROLE)]
        assert not manus.projects
        clock.advance(PAUSE_SECONDS)
        return [*found, await projects.with_instruction(ROLE)]

    assert use(manus, scene, clock=clock) == [None, None, *manus.projects]
    assert len(manus.projects) == 1


def test_one_that_manus_no_longer_takes_is_replaced_after_the_pause(manus: ManusStandin) -> None:
    clock, kept = FakeClock(), Memory()

    async def scene(projects: Projects) -> list[str | None]:
        found = [await projects.with_instruction(ROLE)]
        await projects.forget(ROLE)
        found.append(await projects.with_instruction(ROLE))
        clock.advance(PAUSE_SECONDS)
        return [*found, await projects.with_instruction(ROLE)]

    first, meanwhile, second = use(manus, scene, kept, clock=clock)
    assert [first, second] == list(manus.projects)
    assert meanwhile is None


def test_no_more_are_made_than_there_are_places(manus: ManusStandin) -> None:
    async def scene(projects: Projects) -> list[str | None]:
        return [await projects.with_instruction(f"Text {number}") for number in range(4)]

    assert use(manus, scene, place=Places(2)) == [*manus.projects, None, None]
    assert len(manus.projects) == 2


def test_without_a_text_none_is_needed(manus: ManusStandin) -> None:
    assert use(manus, lambda projects: projects.with_instruction(" \n")) is None
    assert not manus.projects
