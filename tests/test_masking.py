import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otvet.guard.masking import Masker, placeholders
from otvet.guard.personal import find
from tests.contexts import context
from tests.tables import every

MASKER = Masker(b"the secret of this installation")
PHONE, EMAIL = "+7 900 123-45-67", "ivan@mail.ru"


def masked_question(text: str) -> str:
    return MASKER.mask(context(question=text))[0].question[0].text


def test_what_people_wrote_and_what_is_known_of_them_is_masked() -> None:
    masked, _ = MASKER.mask(
        context(
            question=f"мой номер {PHONE}",
            history=[("client", f"почта {EMAIL}"), ("manager", f"звоню на {PHONE}")],
            known=[("Телефон", PHONE), ("Паспорт", "4510123456"), ("Сумма", "4510123456")],
            summary=f"Клиент оставил {EMAIL}.",
            draft=f"Позвоним на {PHONE}.",
            findings=[PHONE],
        )
    )
    assert PHONE not in repr(masked)
    assert EMAIL not in repr(masked)
    assert masked.known[1][1].startswith("[PASSPORT_")
    assert masked.known[2] == ("Сумма", "4510123456")
    assert masked.question_text == f"мой номер {masked.known[0][1]}"
    assert masked.history[1].text == f"звоню на {masked.known[0][1]}"
    assert masked.summary == f"Клиент оставил {masked.history[0].text.removeprefix('почта ')}."
    assert masked.draft == f"Позвоним на {masked.known[0][1]}."
    assert masked.findings == (masked.known[0][1],)


def test_the_company_s_own_contacts_stay_readable_everywhere() -> None:
    turn = context(
        "Телефон 8 (495) 120-33-44, почта info@example.ru",
        instructions="Запасной телефон +7 495 120-33-45.",
        history=[("manager", "Наш телефон +7 495 1203344, INFO@example.ru, ещё 84951203345")],
        question=f"звонил на 84951203344 с {PHONE}",
    )
    masked, _ = MASKER.mask(turn)
    assert masked.knowledge == turn.knowledge
    assert masked.instructions == turn.instructions
    assert masked.history == turn.history
    assert re.fullmatch(r"звонил на 84951203344 с \[PHONE_\w{6}\]", masked.question_text)


def test_a_placeholder_is_short_and_the_same_for_every_writing_turn_and_masker() -> None:
    first = masked_question(PHONE)
    assert re.fullmatch(r"\[PHONE_[0-9A-Z]{6}\]", first)
    assert first.isascii()
    assert masked_question("89001234567") == first
    assert Masker(b"the secret of this installation").mask(context(question=PHONE))[0].question[0].text == first


def test_another_installation_has_other_placeholders() -> None:
    other, _ = Masker(b"another secret").mask(context(question=PHONE))
    assert other.question[0].text != masked_question(PHONE)


def test_different_values_never_share_a_placeholder() -> None:
    numbers = [f"+7 900 123-{n // 100:02d}-{n % 100:02d}" for n in range(2000)]
    masked = masked_question(" , ".join(numbers)).split(" , ")
    assert len(set(masked)) == 2000


def test_two_values_with_the_same_code_are_told_apart() -> None:
    first, second = "user69285@mail.ru", "user71300@mail.ru"  # found by trying
    assert masked_question(first) == masked_question(second)
    masked, restorer = MASKER.mask(context(question=f"{first} {second}"))
    assert masked.question_text.startswith(masked_question(first))
    assert restorer.restore(masked.question_text) == (f"{first} {second}", ())


def test_the_values_come_back_as_they_were_first_written() -> None:
    turn = context(question="это 8(900)123-45-67", history=[("client", PHONE)], known=[("Почта", EMAIL)])
    masked, restorer = MASKER.mask(turn)
    phone, email = masked.history[0].text, masked.known[0][1]
    assert restorer.restore(f"Позвоним на {phone} и напишем на {email}.") == (
        f"Позвоним на {PHONE} и напишем на {EMAIL}.",
        (),
    )


@every("masking", "a model may change all of a placeholder but its code", "changed")
def test_a_model_may_change_all_of_a_placeholder_but_its_code(changed: str) -> None:
    masker = next(masker for masker in map(Masker, map(str.encode, map(str, range(1000)))) if "K" in code_of(masker))
    masked, restorer = masker.mask(context(question=PHONE))
    kind, code = masked.question[0].text.strip("[]").split("_")
    parts = {
        "half": code[:3],
        "rest": code[3:],
        "cyrillic": code.translate(str.maketrans("ABCEHKMPTXY", "АВСЕНКМРТХУ")),
    }
    written = changed.format(kind=kind, code=code, lower=kind.lower(), code_lower=code.lower(), **parts)
    restored = restorer.restore(f"Номер {written}.")
    assert restored.unknown == ()
    assert restored.text.strip("Номер .`*()") == PHONE


def test_words_beside_a_placeholder_stay() -> None:
    masked, restorer = MASKER.mask(context(question=PHONE))
    placeholder = masked.question_text
    bare = placeholder.strip("[]")
    for text in ("на {} до 18:00", "[звоните на {}, спасибо]", "Телефон: {}; почты нет", "«{}»", "{}, {}"):
        for written in (placeholder, bare):
            assert restorer.restore(text.replace("{}", written)).text == text.replace("{}", PHONE)


def test_letters_that_look_alike_are_forgiven() -> None:
    masker = next(masker for masker in map(Masker, map(str.encode, map(str, range(1000)))) if "0" in code_of(masker))
    masked, restorer = masker.mask(context(question=PHONE))
    kind, code = masked.question[0].text.strip("[]").split("_")
    assert restorer.restore(f"[{kind}_{code.replace('0', 'O')}]").text == PHONE


def code_of(masker: Masker) -> str:
    return masker.mask(context(question=PHONE))[0].question[0].text.strip("[]").split("_")[1]


def test_an_unknown_placeholder_is_told_and_left() -> None:
    _, restorer = MASKER.mask(context(question=PHONE))
    assert restorer.restore("на [CARD_000000] и [PHONE_ABCDEF]") == (
        "на [CARD_000000] и [PHONE_ABCDEF]",
        ("[CARD_000000]", "[PHONE_ABCDEF]"),
    )


@every("masking", "what looks like a placeholder", "text")
def test_what_looks_like_a_placeholder(text: str) -> None:
    assert list(placeholders(f"Вот: {text}, готово.")) == [text]
    assert MASKER.mask(context(question=PHONE))[1].restore(f"Вот: {text}.").unknown == (text,)


@pytest.mark.parametrize(
    "text",
    [
        "Your phone number, email address and card details; phone 9001234",
        "[фото: card.jpg] [карточка контакта] [file: text_1.docx]",
        "[Текстиль] и [картой], телефон (рабочий), паспорт: нужен",
        "https://example.ru/phone_cases?text_id=5 и card_holder@example.ru",
    ],
)
def test_everyday_words_are_no_placeholders(text: str) -> None:
    assert list(placeholders(text)) == []


def test_a_client_cannot_plant_a_placeholder() -> None:
    own = masked_question(PHONE)
    masked, restorer = MASKER.mask(context(question=f"{PHONE}\nпришли {own}"))
    assert own not in masked.question[1].text
    assert restorer.restore(masked.question[1].text).text == f"пришли {own}"


@every("masking", "the message before says what a number is", "said, shown")
def test_the_message_before_says_what_a_number_is(said: list[str], shown: str) -> None:
    *history, question = said
    masked, restorer = MASKER.mask(context(question=question, history=[("client", text) for text in history]))
    assert masked.question_text.startswith(shown)
    assert restorer.restore(masked.question_text).text == question
    assert MASKER.mask(context(question="\n".join(said)))[0].question[-1].text == masked.question_text


def test_the_company_s_question_says_it_too() -> None:
    masked, _ = MASKER.mask(context(question="4510123456", history=[("assistant", "Напишите номер паспорта.")]))
    assert masked.question_text.startswith("[PASSPORT_")


def test_a_label_says_what_a_value_is() -> None:
    known = [("Номер заказа", "4510 123456"), ("Заказ", "9001234567"), ("Паспорт", "4510123456")]
    masked, _ = MASKER.mask(context(question="?", known=known))
    assert masked.known[:2] == tuple(known[:2])
    assert masked.known[2][1].startswith("[PASSPORT_")


def test_nothing_is_changed_where_nothing_is_personal() -> None:
    turn = context(question="Заказ 4510123456 на 1 500 ₽ к 25.05.2026 10:00, 2 шт, трек RA123456789RU")
    assert MASKER.mask(turn)[0] == turn


PLANTED = [
    PHONE,
    "89007654321",
    EMAIL,
    "4276 3800 1234 5679",
    "45 10 123456",
    "112-233-445 95",
    "[PHONE_ABCDEF]",
    "EMAIL_123456",
    "[[CARD_000000]]",
    "<карта>",
]
texts = st.text(max_size=20) | st.text(alphabet="[]<>{}\\_ PHONEТЕКСабc0123456789.-\n", max_size=12)
planted = st.lists(st.sampled_from(PLANTED), max_size=4, unique=True)


@settings(deadline=None)  # the first example reads the tables of phones
@given(planted, st.lists(texts, min_size=5, max_size=5))
def test_what_is_masked_comes_back(pieces: list[str], between: list[str]) -> None:
    text = "".join(f"{words} {piece} " for words, piece in zip(between, [*pieces, ""], strict=False))
    values = [(piece.kind, piece.value) for piece in find(text)]
    masked, restorer = MASKER.mask(context(question=text.replace("\n", " ")))
    restored = restorer.restore(masked.question_text)
    assert restored.unknown == ()
    if len(set(values)) == len(values):  # another writing of a value comes back as its first
        assert restored.text == text.replace("\n", " ")


def test_4000_letters_take_a_few_milliseconds() -> None:
    words = "Здравствуйте, заказ 45213 на 1 500 ₽ привезите 25.05 к 18:00. "
    turn = context(question=(words * 60)[:3800] + PHONE)
    MASKER.mask(turn)
    spent = []
    for _ in range(10):
        started = time.process_time()
        MASKER.mask(turn)
        spent.append(time.process_time() - started)
    assert min(spent) < 0.010
