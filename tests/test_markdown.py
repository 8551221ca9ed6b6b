import pytest
from hypothesis import given
from hypothesis import strategies as st

from otvet.responders.markdown import plain_text


@pytest.mark.parametrize(
    ("markdown", "text"),
    [
        pytest.param("**Да**, _есть_ `код`", "Да, есть код", id="marks"),
        pytest.param("Цена: ~~1 900 ₽~~ 1 500 ₽", "Цена: 1 500 ₽", id="struck through"),
        pytest.param(
            "Было ~~100 ₽~~, стало 90 ₽\n~~Старое~~ новое", "Было, стало 90 ₽\nновое", id="struck, with commas"
        ),
        pytest.param("~~всё~~", "", id="all struck"),
        pytest.param("# Итог\nТекст\n\nЕщё", "Итог\nТекст\n\nЕщё", id="heading"),
        pytest.param("Итог\n---\nТекст", "Итог\nТекст", id="underlined heading"),
        pytest.param("Есть:\n- стол\n- стул", "Есть:\n• стол\n• стул", id="list at once"),
        pytest.param("Есть:\n\n* стол\n\n* стул\n\nВсё", "Есть:\n\n• стол\n• стул\n\nВсё", id="list apart"),
        pytest.param("- стол\n  - белый\n  - серый\n- стул", "• стол\n  • белый\n  • серый\n• стул", id="list in list"),
        pytest.param("1. раз\n2. два", "1. раз\n2. два", id="numbers"),
        pytest.param("3) раз\n4) два", "3) раз\n4) два", id="numbers with brackets"),
        pytest.param("2026. Год", "2026. Год", id="a year is no list"),
        pytest.param("```python\na = '*b*'\n```", "a = '*b*'", id="code"),
        pytest.param("> цитата\n> дальше", "цитата\nдальше", id="quotation"),
        pytest.param("раз\n\n---\n\nдва", "раз\n\nдва", id="line"),
        pytest.param("раз\nдва  \nтри\\\nчетыре", "раз\nдва\nтри\nчетыре", id="line breaks"),
        pytest.param("раз<br>два<br/><b>три</b>", "раз\nдва\nтри", id="HTML"),
        pytest.param("5&nbsp;000&amp;", "5\u00a0000&", id="entities"),
        pytest.param("|Цвет|Цена|\n|-|-|\n|белый|500|", "Цвет | Цена\nбелый | 500", id="table"),
        pytest.param("[тут](https://a.ru/b)", "тут (https://a.ru/b)", id="link"),
        pytest.param("[**тут**](https://a.ru)", "тут (https://a.ru)", id="bold link"),
        pytest.param("<https://a.ru> и [https://a.ru](https://a.ru)", "https://a.ru и https://a.ru", id="bare links"),
        pytest.param("[сайт](https://пример.рф/кат_а_б)", "сайт (https://пример.рф/кат_а_б)", id="Cyrillic link"),
        pytest.param("[нам](mailto:a@b.ru), <a@b.ru>", "нам (a@b.ru), a@b.ru", id="mail"),
        pytest.param("[+7 900](tel:+7900), [нам](tel:+7900)", "+7 900, нам (+7900)", id="telephone"),
        pytest.param(
            "[PHONE_4K2M9X]: записали.\n\n[PHONE_4K2M9X] — ваш",
            "[PHONE_4K2M9X]: записали.\n\n[PHONE_4K2M9X] — ваш",
            id="no reference",
        ),
        pytest.param("[Доставка]: бесплатно", "[Доставка]: бесплатно", id="a label"),
        pytest.param("[1]: 500₽", "[1]: 500₽", id="a numbered label"),
        pytest.param(
            "![стол](https://a.ru/1.png) ![](https://a.ru/2.png)",
            "стол (https://a.ru/1.png) https://a.ru/2.png",
            id="pictures",
        ),
        pytest.param("Стол 100*200*50 и 2*3*4", "Стол 100*200*50 и 2*3*4", id="sizes"),
        pytest.param("`100*200*50`", "100*200*50", id="size as code"),
        pytest.param(">500 ₽ бесплатно", ">500 ₽ бесплатно", id="more than"),
        pytest.param("> 5 000 ₽ — бесплатно", "> 5 000 ₽ — бесплатно", id="more than, apart"),
        pytest.param("- > 5 кг\n- >= 10 кг", "• > 5 кг\n• >= 10 кг", id="more than, in a list"),
        pytest.param("300 ₽\n+ 500 ₽ за подъём", "300 ₽\n+ 500 ₽ за подъём", id="a surcharge"),
        pytest.param("+7 900 или +79001234567", "+7 900 или +79001234567", id="a phone"),
        pytest.param("<https://a.ru> 500 ₽", "https://a.ru 500 ₽", id="an address before a number"),
        pytest.param("5 < 6, a_b_c, #1, № 2, \\*", "5 < 6, a_b_c, #1, № 2, *", id="signs of their own"),
        pytest.param("&nbsp;раз&nbsp;", "раз", id="outer space"),
        pytest.param("  \n", "", id="nothing"),
    ],
)
def test_plain_text(markdown: str, text: str) -> None:
    assert plain_text(markdown) == text


@given(st.text(alphabet="абв 123,.!?\n"))
def test_plain_words_stay(text: str) -> None:
    assert plain_text(text).split() == text.split()


MARKS = [
    "500",
    "цена",
    "при",
    "7",
    " ",
    "\n",
    "\n\n",
    "*",
    "**",
    "_",
    "`",
    "```",
    "# ",
    "> ",
    "- ",
    "+ ",
    "1. ",
    "    ",
]
MARKS += ["|", "\n|-|-|\n", "[", "]", "(", ")", ":", "![", "=", "---", "<", '"']


@given(st.lists(st.sampled_from(MARKS), max_size=14))
def test_no_word_and_no_number_is_lost_among_marks(pieces: list[str]) -> None:
    markdown = "".join(pieces)
    shown = iter(plain_text(markdown))
    assert all(sign in shown for sign in markdown if sign.isalnum())  # in their order


@given(st.text(alphabet="*_`~#>-|[]()<>!\\1. a\n") | st.text())
def test_anything_can_be_read(text: str) -> None:
    assert plain_text(text) == plain_text(text).strip()
