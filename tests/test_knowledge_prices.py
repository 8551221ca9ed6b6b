"""Price lists: what spreadsheets save, how a row reads to a client, and what is left out rather than told wrong."""

from pathlib import Path

import pytest

from otvet.responders.base import Line
from otvet.responders.knowledge.passages import read_folder
from otvet.responders.knowledge.prices import NoPriceList, Row, decode, read
from otvet.responders.knowledge.responder import Knowledge
from tests.clocks import FakeClock
from tests.tables import every

LIST = """\
Название;Цена, ₽;Размер
Лампы
Торшер «Маяк»;7900;высота 150 см
Бра;2600,50;
Подушки
Подушка детская;по запросу;40×60 см
"""


def rows(text: str) -> list[tuple[str, str]]:
    return [(row.name, row.text) for row in read(text).rows]


def answer(folder: Path, *texts: str, with_examples: bool = True) -> str | None:
    clock = FakeClock()
    hit = Knowledge(folder, clock, with_examples=with_examples).answer([Line("client", t, clock.now()) for t in texts])
    return hit.told if hit else None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "prices.csv").write_text(LIST, encoding="utf-8")
    return tmp_path


# A row as an answer


def test_a_row_is_told_with_the_names_of_its_columns(folder: Path) -> None:
    assert answer(folder, "сколько стоит торшер?") == "Торшер «Маяк» — 7 900 ₽\nРазмер: высота 150 см"
    assert answer(folder, "какой размер у торшера") == "Торшер «Маяк» — 7 900 ₽\nРазмер: высота 150 см"


@pytest.mark.parametrize("page", ["docs/knowledge.md", "docs/ru/knowledge.md"])
def test_the_documents_example_reads_as_the_document_says(tmp_path: Path, page: str) -> None:
    blocks = (Path(__file__).parents[1] / page).read_text(encoding="utf-8").split("```")[1::2]
    file, reply = [block.removeprefix("text\n") for block in blocks if block.startswith("text\n")]
    (tmp_path / "a.csv").write_text(file, encoding="utf-8")
    assert answer(tmp_path, "сколько стоит торшер?") == reply.strip()
    assert answer(tmp_path, "напольный светильник") == reply.strip()


def test_an_empty_cell_is_not_told(folder: Path) -> None:
    assert answer(folder, "цена бра") == "Бра — 2 600,50 ₽"


def test_a_price_in_words_stays_as_it_stands(folder: Path) -> None:
    assert answer(folder, "почём детская подушка") == "Подушка детская — по запросу\nРазмер: 40×60 см"


def test_what_the_list_does_not_have_is_not_answered(folder: Path) -> None:
    assert answer(folder, "сколько стоит люстра") is None
    assert answer(folder, "сколько весит торшер") is None
    assert answer(folder, "торшер складной?") is None


def test_rows_of_one_name_are_not_chosen_between(tmp_path: Path) -> None:
    lines = [
        "Товар;Цена;Цвет",
        "Плед;900;синий",
        "Плед;950;серый",
        "Чашка;300;белый",
        "Полка;1400;сосна",
        "Бра;260;бук",
    ]
    (tmp_path / "a.csv").write_text("\n".join(lines), encoding="utf-8")
    assert answer(tmp_path, "сколько стоит плед") is None
    assert answer(tmp_path, "сколько стоит синий плед") == "Плед — 900\nЦвет: синий"
    assert answer(tmp_path, "плед зелёный есть?") is None


def test_a_row_without_a_price_does_not_answer_what_it_costs(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("Товар;Цена;Цвет\nПлед;;синий\nЧашка;300;белый\n", encoding="utf-8")
    assert answer(tmp_path, "сколько стоит плед?") is None
    assert answer(tmp_path, "сколько стоит чашка?") == "Чашка — 300\nЦвет: белый"


def test_signs_of_markdown_in_a_cell_are_no_marks(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("Товар;Размер\nСтол *Дуб*;100*200*75 _см_\n", encoding="utf-8")
    assert answer(tmp_path, "размер стол дуб") == "Стол *Дуб*\nРазмер: 100*200*75 _см_"


def test_a_group_is_searched_and_not_told() -> None:
    assert read(LIST).rows[0].group == "Лампы"
    assert read(LIST).rows[2].group == "Подушки"
    assert "Лампы" not in read(LIST).rows[0].text


def test_further_words_are_searched_and_never_told(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("Название;Иначе;Цена\nТоршер;напольный светильник, лампа на ножке;900\n")
    assert answer(tmp_path, "напольный светильник") == "Торшер — 900"
    assert answer(tmp_path, "лампа на ножке есть?") == "Торшер — 900"


# Columns


@every("knowledge_prices", "columns are known by their names", "header, line, text")
def test_columns_are_known_by_their_names(header: str, line: str, text: str) -> None:
    assert read(f"{header}\n{line}\n").rows[0].text == text


# What spreadsheets save


@pytest.mark.parametrize("separator", [";", ",", "\t"])
def test_cells_may_be_separated_by_what_the_spreadsheet_uses(separator: str) -> None:
    assert rows(separator.join(("Название", "Цена")) + "\n" + separator.join(("Бра", "5"))) == [("Бра", "Бра — 5")]


def test_a_comma_in_a_column_name_does_not_separate() -> None:
    assert rows("Название;Цена, ₽\nБра;5") == [("Бра", "Бра — 5 ₽")]


def test_the_line_that_names_the_separator_is_no_header() -> None:
    assert rows("sep=|\nНазвание|Цена\nБра|5") == [("Бра", "Бра — 5")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1251"])
def test_the_encoding_does_not_matter(tmp_path: Path, encoding: str) -> None:
    content = "Название;Цена\r\nТоршер «Маяк» – белый;7900\r\n"
    (tmp_path / "PRICES.CSV").write_bytes(content.encode(encoding))
    passages, problems = read_folder(tmp_path, with_examples=True)
    assert [passage.text for passage in passages] == ["Торшер «Маяк» – белый — 7 900"]
    assert problems == []


def test_a_title_empty_lines_and_empty_columns_do_no_harm() -> None:
    text = "Прайс-лист;;;\n;;;\nНазвание;Цена;;\n;;;\nБра;5;;\n;;;\n"
    assert rows(text) == [("Бра", "Бра — 5")]


def test_a_cell_may_hold_quotes_separators_and_line_breaks() -> None:
    assert rows('Название;Цена\n"Торшер ""Маяк""; белый,\nвысокий";5\n') == [
        ('Торшер "Маяк"; белый, высокий', 'Торшер "Маяк"; белый, высокий — 5')
    ]


# What cannot be trusted


@pytest.mark.parametrize(
    "line", [";7900;белый", "Торшер;7900;белый;80 Вт", "Торшер;#Н/Д;белый", "Торшер;#REF!;белый", "Торшер;####;белый"]
)
def test_a_line_that_cannot_be_trusted_is_left_out_and_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.csv").write_text(f"Название;Цена;Цвет\nБра;5;серый\n{line}\n", encoding="utf-8")
    passages, problems = read_folder(tmp_path, with_examples=True)
    assert [passage.heading for passage in passages] == ["Бра"]
    (problem,) = problems
    assert problem.file == "a.csv"
    assert "3" in problem.reason


def test_of_many_such_lines_the_first_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("Название;Цена\nБра;5\n" + ";1\n" * 50, encoding="utf-8")
    (problem,) = read_folder(tmp_path, with_examples=True)[1]
    assert "12…" in problem.reason
    assert "13" not in problem.reason


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Название\nТоршер\n",
        "Торшер;7900\nБра;5\n",
        "Торшер;7 900 ₽\nБра;5 ₽\n",
        "Название;Цена\n",
        "Название;Цена\nЛампы;\n",
        'Название;Цена\n"Торшер;5\nБра;6\n',
        'Название;Цена\n"Торшер" белый;5\n',
    ],
)
def test_what_is_no_price_list_is_named_and_the_others_answer(tmp_path: Path, text: str) -> None:
    with pytest.raises(NoPriceList):
        read(text)
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    (tmp_path / "b.csv").write_text("Название;Цена\nБра;5\n", encoding="utf-8")
    passages, problems = read_folder(tmp_path, with_examples=True)
    assert [passage.heading for passage in passages] == ["Бра"]
    assert [problem.file for problem in problems] == ["a.csv"]


@pytest.mark.parametrize("content", ["Название;Цена\nБра;5".encode("utf-16"), b"\xff\x98\x98", b"PK\x03\x04\x00\x00"])
def test_a_workbook_or_another_encoding_is_named(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(NoPriceList):
        decode(content)
    (tmp_path / "a.csv").write_bytes(content)
    assert [problem.file for problem in read_folder(tmp_path, with_examples=True)[1]] == ["a.csv"]


@pytest.mark.parametrize("line", ["Название;Цена, ₽\nБра;5", "Название;Цена\nБра;5 ₽", "Название;Цена (₽)\nБра;5"])
def test_a_rouble_sign_that_was_lost_is_not_told_as_a_question_mark(line: str) -> None:
    with pytest.raises(NoPriceList, match="rouble"):
        decode(line.encode("cp1251", errors="replace"))


# The example


EXAMPLE = "# пример: цены выдуманы\nНазвание;Цена, ₽\nТоршер;7900\n"


@pytest.mark.parametrize(
    ("first", "encoding"),
    [
        ("# пример: цены выдуманы", "utf-8"),
        ("# Example: the prices are made up", "utf-8-sig"),
        ("# пример: цены выдуманы;", "cp1251"),
        ('"# пример: цены; выдуманы";', "utf-8-sig"),
    ],
)
def test_an_example_answers_only_in_a_trial_even_when_a_spreadsheet_saved_it(
    tmp_path: Path, first: str, encoding: str
) -> None:
    (tmp_path / "a.csv").write_bytes(f"{first}\r\nНазвание;Цена, руб.\r\nТоршер;7900\r\n".encode(encoding))
    assert answer(tmp_path, "сколько стоит торшер") == "Торшер — 7 900 ₽"
    assert answer(tmp_path, "сколько стоит торшер", with_examples=False) is None
    (problem,) = read_folder(tmp_path, with_examples=False)[1]
    assert problem.file == "a.csv"


def test_without_its_first_line_it_answers_for_good(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(EXAMPLE.split("\n", 1)[1], encoding="utf-8")
    assert answer(tmp_path, "сколько стоит торшер", with_examples=False) == "Торшер — 7 900 ₽"


def test_the_starter_list_is_an_example_and_reads_without_problems() -> None:
    starter = Path(__file__).parents[1] / "knowledge"
    text = (starter / "prices.csv").read_text(encoding="utf-8")
    found = read(text)
    assert found.left_out == ()
    assert (
        Row(
            "Наволочка",
            "Наволочка — 600 ₽\nРазмер: 50×70 см\nИз чего: сатин",
            "Постельное бельё поштучно",
            "цена Наволочка",
        )
        in found.rows
    )
    assert "prices.csv" in [problem.file for problem in read_folder(starter, with_examples=False)[1]]
    assert (
        answer(starter, "почем торшер")
        == "Торшер «Маяк» — 7 900 ₽\nРазмер: высота 150 см\nИз чего: бук, абажур изо льна"
    )
