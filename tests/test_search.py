"""The search over all messages: what is found, in which order, and what is not in the index any more."""

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from otvet.amocrm.events import read_delivery
from otvet.conversations.messages import add_reply, move_to_conversation, remove_reply, reply_of, reword
from otvet.conversations.tables import TRIAL, clients, conversations, messages
from otvet.intake.inbox import Received, store
from otvet.search import find, index
from otvet.search.words import Wanted, indexed, triples
from otvet.staff import erasure
from otvet.storage.database import Database
from tests.clocks import FakeClock
from tests.databases import prepared_file
from tests.standins.sender import incoming
from tests.tables import every


class Shop:
    """A database whose clients have written."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = FakeClock()
        self._said = 0

    def said(self, text: str, lead: int = 1, *, indexed: bool = True, **about: Any) -> int:
        """A message of a client: its id."""
        self._said += 1
        now = self.clock.now()
        names = {"message_id": f"m-{self._said}", "lead_id": lead, "chat_id": f"chat-{lead}", "contact_id": lead}
        body = incoming(text, created_at=int(now.timestamp()) + self._said, **(names | about))
        with self.database.writes.begin() as connection:
            store(connection, [Received(body, read_delivery(body, now), now)])
        if indexed:
            self.add()
        with self.database.reads.connect() as connection:
            return int(connection.scalar(sa.select(sa.func.max(messages.c.id))) or 0)

    def add(self) -> None:
        with self.database.writes.begin() as connection:
            while index.add_some(connection):
                pass

    def change(self, *functions: Any) -> None:
        with self.database.writes.begin() as connection:
            for function in functions:
                function(connection)

    def leads(self, text: str) -> list[int]:
        """The deals that are found, page after page."""
        found: list[int] = []
        before = None
        with self.database.reads.connect() as connection:
            while True:
                page, before = find.page(connection, text, before)
                ids = [one.conversation_id for one in page]
                of = dict(
                    connection.execute(
                        sa.select(conversations.c.id, conversations.c.amocrm_lead_id).where(conversations.c.id.in_(ids))
                    ).all()
                )
                found += [of[id_] for id_ in ids]
                if before is None:
                    return found

    def indexed(self) -> list[int]:
        """The messages that are in the index."""
        with self.database.reads.connect() as connection:
            name = "rowid" if self.database.is_sqlite else "message_id"
            return list(connection.scalars(sa.text(f"SELECT {name} FROM search_index ORDER BY 1")))


@pytest.fixture
def shop(database: Database) -> Shop:
    return Shop(database)


@every("search", "words", "wanted, text, found")
def test_words_are_found_by_form_and_by_part(wanted: str, text: str, found: bool) -> None:
    assert Wanted(wanted).found_in(text) is found


@every("search", "words", "wanted, text, found")
def test_the_index_gives_every_message_that_has_the_words(wanted: str, text: str, found: bool) -> None:
    """And perhaps some more; whether it does is only of interest where the text has them."""
    threes = triples(indexed(text))
    given = all(any(some <= threes for some in word) for word in Wanted(wanted).alternatives)
    assert given or not found


@every("search", "snippets", "wanted, text, shown")
def test_a_snippet_shows_the_first_found_word(wanted: str, text: str, shown: str) -> None:
    assert "".join(f"[{piece}]" if hit else piece for piece, hit in Wanted(wanted).snippet(text)) == shown


def test_chats_are_found_the_newest_message_first_and_each_once(shop: Shop) -> None:
    shop.said("Сколько стоит доставка?", 1)
    shop.said("А доставки в Тверь бывают?", 2)
    shop.said("Плед из мериноса", 3)
    shop.said("Доставку оплачу картой", 1)
    assert shop.leads("доставкой") == [1, 2]
    assert shop.leads("мерино") == [3]
    assert shop.leads("доставкой Тверью") == [2]
    assert shop.leads("доставка мериноса") == []  # not in one message


@pytest.mark.parametrize("sign", ['"', "*", "-", "AND", "NOT", "NEAR(", ")", "'", "%", "_", "\\", ":", "words:", "\0"])
def test_signs_are_no_orders(shop: Shop, sign: str) -> None:
    shop.said("Плед из мериноса", 3)
    assert shop.leads(f"{sign} плед") == ([3] if not any(map(str.isalpha, sign)) else [])
    assert shop.leads(sign) == []
    shop.said(f"плед {sign} and near not words", 4)
    assert 4 in shop.leads(f"плед {sign}")


def test_a_word_of_fts5_is_a_word(shop: Shop) -> None:
    shop.said("salt AND pepper", 5)
    shop.said("salt", 6)
    assert shop.leads("salt AND pepper") == [5]
    assert shop.leads("and") == [5]


def test_pages_go_on_where_the_one_before_ended(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find, "PAGE", 3)
    for number in range(1, 9):
        shop.said("Есть плед?", number)
    shop.said("И второй плед", 1)
    shop.said("И пледы", 5)
    assert shop.leads("плед") == [5, 1, 8, 7, 6, 4, 3, 2]
    monkeypatch.setattr(find, "MOST_LOOKED_AT", 2)
    monkeypatch.setattr(find, "AT_ONCE", 2)
    assert shop.leads("плед") == [5, 1, 8, 7, 6, 4, 3, 2]


def test_old_messages_are_found_behind_many_others(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find, "NEWEST", 2)
    shop.said("Есть плед?", 1)
    for number in range(2, 9):
        shop.said("Спасибо", number)
    shop.said("Пледы", 9)
    assert shop.leads("плед") == [9, 1]


def test_a_chat_is_found_by_its_deal_contact_phone_and_name(shop: Shop) -> None:
    shop.said("Здравствуйте", 27754599, author_name="Ольга Петрова", contact_id=93589657)
    shop.said("Здравствуйте", 2, author_name="Пётр")
    phone = clients.update().where(clients.c.amocrm_contact_id == 93589657).values(phone="+7 (900) 123-45-67")
    shop.change(lambda connection: connection.execute(phone))
    for text in ("27754599", "93589657", "9001234567", "+7 900 123-45-67", "1234567", "петрова", "ОЛЬГА", "Ольга Пет"):
        assert shop.leads(text) == [27754599], text
    assert shop.leads("Ольга Пётр") == []
    assert shop.leads("100%") == []
    assert shop.leads("9" * 40) == []


def test_files_are_found_by_their_names_and_trials_not_at_all(shop: Shop) -> None:
    shop.said("", 1, attachment={"type": "file", "link": "https://example.com/1", "file_name": "договор поставки.pdf"})
    shop.said("Проверка договора", 2, chat_id=f"{TRIAL}1")
    assert shop.leads("договор") == [1]
    assert len(shop.indexed()) == 1


def test_an_edited_message_is_found_by_its_new_words_only(shop: Shop) -> None:
    one = shop.said("Есть плед?", 1)
    shop.said("Есть подушка?", 2)

    def edit(connection: Any) -> None:
        reword(connection, one, "Есть скатерть?", "text", {})
        index.renew(connection, messages.c.id == one)

    shop.change(edit)
    assert shop.leads("плед") == []
    assert shop.leads("скатерти") == [1]
    assert shop.leads("есть") == [2, 1]


def test_a_message_with_a_deleted_ones_id_is_found(shop: Shop) -> None:
    """SQLite gives the highest id a second time."""
    shop.said("Есть плед?", 1)
    with shop.database.reads.connect() as connection:
        turn = connection.scalar(sa.select(messages.c.turn_id))
        chat = connection.scalar(sa.select(messages.c.conversation_id))
    assert turn is not None
    assert chat is not None

    def reply(text: str) -> None:
        shop.change(lambda connection: add_reply(connection, chat, "chat-1", turn, text, {}, shop.clock.now()))

    reply("Пледы есть, мериносовые")
    shop.add()
    assert shop.leads("меринос") == [1]
    shop.change(
        lambda connection: index.drop(connection, reply_of(turn)), lambda connection: remove_reply(connection, turn)
    )
    assert shop.leads("меринос") == []
    reply("Пледы кончились")
    shop.add()
    assert shop.leads("кончились") == [1]


def test_a_merged_chat_is_found_under_the_one_it_was_merged_into(shop: Shop) -> None:
    shop.said("Есть плед?", 1)
    shop.said("Есть подушка?", 2)
    shop.change(lambda connection: move_to_conversation(connection, 1, 2))
    assert shop.leads("плед") == [2]


def test_an_erased_client_is_gone_from_the_index_at_once(shop: Shop) -> None:
    shop.said("Я живу в Занзибаре", 1)
    stays = shop.said("Еду в Занзибар", 2)

    def erase(connection: Any) -> None:
        whose = erasure.find(connection, lead_id=1)
        assert whose is not None
        erasure.erase(connection, whose, shop.clock.now())

    shop.change(erase)
    assert shop.indexed() == [stays]
    assert shop.leads("занзибар") == [2]
    shop.add()
    assert shop.indexed() == [stays]


RARE = ("ѪѬѮ", "ѰѴҀ", "ҊҌҎ")  # nobody else's letters: the index keeps three in a row as they are


@pytest.mark.parametrize("at_once", [False, True], ids=["many parts, some merged", "one part"])
def test_nothing_of_an_erased_client_is_left_in_the_file(tmp_path: Path, at_once: bool) -> None:
    file = tmp_path / "conversations.db"
    shutil.copy(prepared_file(), file)
    database = Database(f"sqlite:///{file}")
    shop = Shop(database)
    for number in range(40):  # enough parts for FTS5 to merge some by itself, which frees pages with old letters
        words = f"Пишет {number} {RARE[number % 2] if number < 30 else 'другой'}"
        shop.said(words, 1 if number < 30 else 2, indexed=not at_once)
    shop.add()
    assert all(rare.casefold()[1:] in letters(file) for rare in RARE[:2])

    async def forget() -> None:
        database.start()
        await erasure.forget(database, shop.clock, None, lead_id=1)
        await database.stop()

    asyncio.run(forget())
    assert not any(rare.casefold()[1:] in letters(file) for rare in RARE)  # a page leaves out a beginning it has said
    assert shop_of(file).leads("другой") == [2]
    assert shop_of(file).leads("пишет") == [2]


def test_what_a_dead_process_left_in_the_file_goes_with_the_next_look(tmp_path: Path) -> None:
    file = tmp_path / "conversations.db"
    shutil.copy(prepared_file(), file)
    database = Database(f"sqlite:///{file}")
    shop = Shop(database)
    shop.said(f"Пишет {RARE[0]}", 1)

    def erase(connection: Any) -> None:
        whose = erasure.find(connection, lead_id=1)
        assert whose is not None
        erasure.erase(connection, whose, shop.clock.now())

    shop.change(erase)
    assert RARE[0].casefold()[1:] in letters(file)

    async def look() -> None:
        database.start()
        await index.Indexer(database, shop.clock).look()
        await database.stop()

    asyncio.run(look())
    assert RARE[0].casefold()[1:] not in letters(file)


def letters(file: Path) -> str:
    """What a look at the raw bytes of the file and its journal finds, in whatever place."""
    found = b"".join(one.read_bytes() for one in (file, file.with_name(f"{file.name}-wal")) if one.exists())
    return found.decode("utf-8", errors="ignore").casefold()


def shop_of(file: Path) -> Shop:
    return Shop(Database(f"sqlite:///{file}"))


def test_another_way_to_read_words_makes_the_index_anew(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    one = shop.said("Есть плед?", 1)
    monkeypatch.setattr(index, "VERSION", "later")
    monkeypatch.setattr(index, "indexed", lambda text: "_иначе_")
    shop.add()
    assert shop.indexed() == [one]
    with shop.database.reads.connect() as connection:
        assert index._behind(connection) == 0


def test_late_commits_are_not_passed_over(shop: Shop) -> None:
    """On PostgreSQL a message may be committed after one with a higher id."""
    if shop.database.is_sqlite:
        return
    one = shop.said("Есть плед?", 1)
    shop.said("Есть подушка?", 2)
    shop.change(lambda connection: connection.execute(index.entries.delete().where(index.entries.c.message_id == one)))
    shop.add()
    assert shop.leads("плед") == [1]
