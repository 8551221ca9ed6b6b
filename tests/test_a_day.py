"""A day of one shop, from the clients' and the managers' side: sixty chats over HTTP, and what each has at its end."""

import itertools
import re
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from otvet.storage.engines import make_engine
from otvet.turns.handoffs import handoffs
from tests.running import Otvet, otvet, wait_for
from tests.standins.amocrm import AmoStandin, amocrm_standin
from tests.standins.chats import Seen
from tests.standins.openai import OpenAiStandin, openai_standin
from tests.standins.sender import incoming, outgoing
from tests.test_arrival import BY_BOT
from tests.test_end_to_end import connected

FIRST = 27754600
BOT = 36143
A_MANAGER = re.compile("менеджер|manager", re.IGNORECASE)
ITEM = re.compile(r"плед «([а-я]+)»")

ASKS_FOR_A_PERSON = (
    "позовите живого человека",
    "соедините с вашим менеджером пожалуйста",
    "дайте поговорить с оператором",
    "с ботом говорить не буду",
    "а можно менеджера?",
    "переведи меня на специалиста",
    "есть кто живой?",
    "хочу поговорить с человеком",
    "соедените с менеджером",
    "пусть мне менеджер напишет",
)
ANGRY = (
    "Верните деньги, иначе иду в Роспотребнадзор!",
    "С меня дважды списали деньги, это безобразие",
    "Вы меня обманули, плед пришёл рваный",
    "Третий день жду ответа, отвратительный сервис",
    "Я буду жаловаться в суд",
    "Привезли не то и хамят, верните деньги",
)


def name(number: int) -> str:
    """A made-up item that only one client asks for."""
    letters = "абвгдежзик"
    return "пл" + "".join(letters[int(digit)] for digit in f"{number:03}")


class Day:
    """What clients and managers do, and what they have seen."""

    def __init__(self, server: Otvet, amo: AmoStandin, openai: OpenAiStandin) -> None:
        self.server, self.amo, self.openai = server, amo, openai
        self._counter = itertools.count()
        self._reporter = ThreadPoolExecutor(1)
        amo.chats.on_seen = self._report

    def close(self) -> None:
        self._reporter.shutdown(cancel_futures=True)

    def _report(self, seen: Seen) -> None:
        """amoCRM tells of what the bot said, as of any outgoing message; not before it has answered the call."""
        contact = (seen.contact_id or 10 * seen.lead_id + 1) - 10 * seen.lead_id
        said = outgoing(seen.text, event="outgoing_message", **self._of(seen.lead_id, contact), **BY_BOT)
        self._reporter.submit(self.server.deliver, said)

    def client(self, lead: int, text: str, *, contact: int = 1, **more: Any) -> None:
        answer = self.server.deliver(incoming(text, **self._of(lead, contact), **more))
        assert answer.status_code == 200

    def manager(self, lead: int, text: str) -> None:
        assert self.server.deliver(outgoing(text, **self._of(lead, 1))).status_code == 200

    def _of(self, lead: int, contact: int) -> dict[str, Any]:
        about = {"chat_id": f"chat-{lead}-{contact}", "contact_id": 10 * lead + contact, "talk_id": 10 * lead + contact}
        self.amo.chats.deals[10 * lead + contact] = lead
        now = int(time.time())
        return {"lead_id": lead, "message_id": f"day-{next(self._counter)}", "created_at": now, **about}

    def told(self, lead: int, contact: int | None = None) -> list[str]:
        """What the client has read."""
        seen = [one for one in self.amo.chats.seen if one.lead_id == lead]
        return [one.text for one in seen if contact is None or one.contact_id in (None, 10 * lead + contact)]

    def wait(self) -> None:
        wait_for(self.server.settled, "an end of all questions")

    def listed(self) -> list[dict[str, Any]]:
        return list(self.server.get("/api/turns?state=person&limit=200")["turns"])

    def stats(self) -> dict[str, Any]:
        return dict(self.server.get("/api/stats"))


@pytest.fixture
def day(tmp_path: Path) -> Iterator[Day]:
    with amocrm_standin() as amo, openai_standin() as openai:
        amo.rate = 1000
        field = amo.chats.add_bot(BOT)
        settings = connected(amo) | {
            "OTVET_REPLY_VIA": "salesbot",
            "OTVET_SALESBOT_ID": str(BOT),
            "OTVET_SALESBOT_FIELD_ID": str(field),
            "OTVET_RESPONDERS": "openai,knowledge",
            "OTVET_OPENAI_BASE_URL": f"{openai.url}/v1",
            "OTVET_OPENAI_MODEL": "m",
            "OTVET_AMOCRM_CALLS_A_SECOND": "100",
            "OTVET_ARRIVAL_MINUTES": "0.25",
        }
        openai.answer = lambda body: f"Да, плед «{ITEM.findall(str(body['messages'][-1]))[-1]}» есть."
        with otvet(tmp_path, **settings) as server, closing(Day(server, amo, openai)) as the_day:
            yield the_day


@pytest.mark.slow
def test_a_day_of_a_shop(day: Day, tmp_path: Path) -> None:
    leads = iter(range(FIRST, FIRST + 100))

    def chats(count: int) -> list[int]:
        made = [next(leads) for _ in range(count)]
        for lead in made:
            day.amo.add_lead(lead)
        return made

    def asks(lead: int, contact: int = 1) -> str:
        """The client asks for something that nobody else asks for."""
        item = name(10 * (lead - FIRST) + contact)
        day.client(lead, f"Есть ли у вас плед «{item}»?", contact=contact)
        return item

    # The morning: questions that the assistant can answer, and thanks for it.
    answered = chats(21)
    items = {lead: asks(lead) for lead in answered}
    day.wait()
    for lead in answered[:8]:
        day.client(lead, ("Спасибо!", "ок", "👍", "Понял, спасибо большое")[lead % 4])
    # Ten ask for a person, six are angry, four send a voice message.
    asking, angry, voice = chats(10), chats(6), chats(4)
    for lead, text in zip(asking, ASKS_FOR_A_PERSON, strict=True):
        day.client(lead, text)
    for lead, text in zip(angry, ANGRY, strict=True):
        day.client(lead, text)
    for lead in voice:
        day.client(lead, "", attachment={"type": "voice", "link": "https://example.com/a.ogg"})
    # Two contacts of a deal, at the same time.
    shared = chats(3)
    of_two = {(lead, contact): asks(lead, contact) for lead in shared for contact in (1, 2)}
    day.wait()
    for lead in asking[:3]:
        day.client(lead, "Алло, так что с менеджером?")  # the promise is not said again
    # A manager steps in, and the client goes on with them.
    stepped_in = chats(3)
    for lead in stepped_in:
        asks(lead)
    day.wait()
    for lead in stepped_in:
        day.manager(lead, "Здравствуйте, я на связи")
        day.client(lead, "А со скидкой?")
        day.manager(lead, "Да, пять процентов.")
    day.wait()
    # The Salesbot is started and says nothing, though amoCRM takes every call.
    day.amo.chats.is_silent = True
    silent = chats(3)
    for lead in silent:
        asks(lead)
    day.wait()
    assert [day.told(lead) for lead in silent] == [[]] * 3
    day.amo.chats.is_silent = False
    # The model is down for an hour; meanwhile amoCRM refuses two tasks.
    day.openai.app.plan(path="*/chat/completions", status=500, times=None)
    day.amo.fault(path="/api/v4/tasks", method="POST", status=400, times=2)
    unanswered = chats(10)
    for lead in unanswered:
        asks(lead)
    day.wait()
    day.client(unanswered[0], "Ну что там?")
    day.wait()

    promised = [*asking, *angry, *voice, *unanswered]
    left_over = [*asking, *angry, *voice, *silent, *unanswered]
    wait_for(lambda: sum(bool(day.amo.tasks(lead)) for lead in promised) == len(promised) - 2, "the tasks")
    wait_for(lambda: sum("задачу" in one["why"] or "task" in one["why"] for one in day.listed()) == 2, "two refusals")
    as_if_ten_minutes_had_passed(tmp_path)
    wait_for(lambda: all(day.amo.tasks(lead) for lead in left_over), "the tasks: refused ones, and of the silent bot")

    # Each client who was promised a person, or may have got nothing, has one task, and nobody else has any.
    every = range(FIRST, FIRST + 60)
    assert {lead: len(day.amo.tasks(lead)) for lead in every if day.amo.tasks(lead)} == dict.fromkeys(left_over, 1)
    assert all("cannot be told whether the client got this" in day.amo.tasks(lead)[0]["text"] for lead in silent)
    assert {lead for lead in every if any(A_MANAGER.search(text) for text in day.told(lead))} == set(promised)
    assert sum(lead in silent for _bot, lead in day.amo.chats.runs) == len(silent)  # never sent again by itself
    # Nobody got a word twice, and nobody another's answer.
    for lead in every:
        assert [text for text, count in Counter(day.told(lead)).items() if count > 1] == []
    for lead, item in items.items():
        assert day.told(lead) == [f"Да, плед «{item}» есть."]
    for (lead, contact), item in of_two.items():
        assert day.told(lead, contact) == [f"Да, плед «{item}» есть."]
    # The list and the numbers agree with what amoCRM saw.
    assert sorted(one["lead_id"] for one in day.listed()) == left_over
    left = {"asked": 13, "angry": 6, "media": 4, "not_known": len(unanswered) + 1, "unseen": 3}  # three wrote on
    assert day.stats()["left_to_staff"] == left
    assert day.stats()["waiting_for_staff"] == len(left_over)
    assert day.stats()["answered"] == len(answered) + len(of_two) + len(stepped_in)
    # In the evening the managers answer, and the list is empty.
    for lead in left_over:
        day.manager(lead, "Здравствуйте! Отвечаю на ваш вопрос.")
    wait_for(lambda: day.listed() == [], "an empty list")
    assert day.stats()["median_seconds_to_staff"] is not None
    assert day.stats()["left_to_staff"] == left
    assert all(len(day.amo.tasks(lead)) == 1 for lead in left_over)


def as_if_ten_minutes_had_passed(folder: Path) -> None:
    """Refused tasks are tried again now."""
    engine = make_engine(f"sqlite:///{folder / 'conversations.db'}")
    with engine.begin() as connection:
        connection.execute(handoffs.update().values(retry_at=None))
    engine.dispose()
