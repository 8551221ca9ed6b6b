"""Files as people have them, read as entries: what a person would quote of each."""

import io
import zipfile
from collections.abc import Callable
from datetime import time
from pathlib import Path

import docx
import openpyxl
import pytest

from otvet.app.checking import knowledge as knowledge_finding
from otvet.responders.base import Line
from otvet.responders.knowledge.passages import contradictions, read_folder, understood
from otvet.responders.knowledge.reading import apart, kinds
from otvet.responders.knowledge.reading.blocks import Unreadable
from otvet.responders.knowledge.responder import CHECK_SECONDS, Knowledge
from otvet.settings.loading import load_settings
from tests.clocks import FakeClock
from tests.running import otvet, wait_for
from tests.standins.sender import incoming


def entries(name: str, content: bytes | str) -> list[tuple[str, str]]:
    """(heading, text) of each entry, which the file has no problem with."""
    found, problem = understood(name, content.encode() if isinstance(content, str) else content, with_examples=True)
    assert problem == ""
    return [(one.heading, one.shown) for one in found]


def problem(name: str, content: bytes) -> str:
    found, reason = understood(name, content, with_examples=True)
    assert found == []
    return reason


def xlsx(**sheets: list[list[object]]) -> bytes:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name.replace("_", " "))
        for row in rows:
            sheet.append(row)
    return saved(book)


def saved(document: object) -> bytes:
    out = io.BytesIO()
    document.save(out)  # type: ignore[attr-defined]
    return out.getvalue()


def word(fill: Callable[[docx.document.Document], object]) -> bytes:
    document = docx.Document()
    fill(document)
    return saved(document)


def pdf(*lines: str, encrypted: bool = False) -> bytes:
    """A page of text in a standard font."""
    text = "BT /F1 12 Tf 14 TL 50 700 Td " + " ".join(f"({line}) Tj T*" for line in lines) + " ET"
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R"
        " /Resources << /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >>",
        f"<< /Length {len(text)} >>\nstream\n{text}\nendstream",
    ]
    out, places = "%PDF-1.4\n", []
    for number, one in enumerate(objects, 1):
        places.append(len(out))
        out += f"{number} 0 obj\n{one}\nendobj\n"
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    begin = len(out)
    out += f"xref\n0 {len(places) + 1}\n0000000000 65535 f \n{table}"
    out += f"trailer\n<< /Size {len(places) + 1} /Root 1 0 R >>\nstartxref\n{begin}\n%%EOF"
    content = out.encode("latin-1")
    if encrypted:
        from pypdf import PdfReader, PdfWriter

        writer = PdfWriter(PdfReader(io.BytesIO(content)))
        writer.encrypt("secret", algorithm="RC4-128")
        closed = io.BytesIO()
        writer.write(closed)
        return closed.getvalue()
    return content


def test_bold_questions_are_questions() -> None:
    text = (
        "**Можно с собакой?**\nДа, на поводке.\n\n**А парковка есть?** Есть, во дворе.\n\n*Где вы?*\n\nУл. Лесная, 3."
    )
    assert entries("faq.md", text) == [
        ("Можно с собакой?", "Да, на поводке."),
        ("А парковка есть?", "Есть, во дворе."),
        ("Где вы?", "Ул. Лесная, 3."),
    ]


@pytest.mark.parametrize("name", ["faq.md", "faq.txt"])
@pytest.mark.parametrize(
    ("asks", "answers"), [("В:", "О:"), ("Q:", "A:"), ("Вопрос:", "Ответ:"), ("Question.", "Answer.")]
)
def test_pairs_of_question_and_answer(name: str, asks: str, answers: str) -> None:
    text = f"{asks} Есть рассрочка?\n{answers} Да, на полгода.\n\n{asks} А залог?\n{answers} Не нужен."
    assert entries(name, text) == [("Есть рассрочка?", "Да, на полгода."), ("А залог?", "Не нужен.")]


def test_a_row_of_a_table_is_an_entry_with_its_head() -> None:
    text = "# Цены\n\n| Услуга | Цена, руб | Срок |\n|---|---|---|\n| Мойка | 1500 | 1 час |\n"
    text += "| Полировка | 12000 | 1 день |\n"
    found = entries("prices.md", text)
    assert ("Мойка", "Мойка — 1 500 ₽\nСрок: 1 час") in found
    assert ("Полировка", "Полировка — 12 000 ₽\nСрок: 1 день") in found


def test_the_line_above_a_table_says_what_its_figures_are() -> None:
    text = "# Ремонт\n\nЦена за метр, рублей:\n\n| Вид | Сколько |\n|---|---|\n| Косметический | 6900 |\n"
    text += "| Капитальный | 14500 |\n"
    (whole, *rows) = understood("r.md", text.encode(), with_examples=True)[0]
    assert whole.shown.startswith("Цена за метр, рублей:")
    assert [one.heading for one in rows] == ["Косметический", "Капитальный"]
    assert all("Цена за метр, рублей" in one.above for one in rows)


def test_a_table_of_hours_is_sentences() -> None:
    text = "## Мы на связи\n\n| День | Часы |\n|---|---|\n| Пн–Пт | 9:00–20:00 |\n"
    text += "| Сб | 10:00–16:00 |\n| Вс | выходной |\n"
    assert entries("hours.md", text) == [("Мы на связи", "Пн–Пт: 9:00–20:00\nСб: 10:00–16:00\nВс: выходной")]


def test_an_item_of_a_long_list_stands_with_the_line_that_leads_to_it() -> None:
    items = [
        f"- Правило {number}: " + "мы так делаем всегда и просим это учитывать заранее. " * 2 for number in range(5)
    ]
    found = understood("r.md", ("# Условия\n\nВажно знать:\n\n" + "\n".join(items)).encode(), with_examples=True)[0]
    assert len(found) == 5
    assert all("Важно знать" in one.above for one in found)


def test_a_list_in_a_list_stays_with_its_item() -> None:
    text = "# Памятка\n\n- Оплата:\n  - картой\n  - по счёту\n- Доставка:\n  - по городу\n  - в область\n"
    text += "- Ещё:\n  - " + "очень длинное пояснение к этому пункту, " * 9 + "\n"
    found = dict(entries("m.md", text))
    assert "картой" in " ".join(found.values())
    assert not any("картой" in one and "по городу" in one for one in found.values())


def test_a_text_without_any_heading_is_about_what_its_file_is_called() -> None:
    assert entries("гарантия.txt", "Год на всё, кроме ламп.") == [("гарантия", "Год на всё, кроме ламп.")]
    assert entries("наши_условия.md", "Предоплата половина.") == [("наши условия", "Предоплата половина.")]


def test_a_definition_list() -> None:
    assert entries("w.md", "Смета\n: список работ с ценами\n") == [("w", "Смета: список работ с ценами")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1251", "koi8-r", "utf-16"])
def test_a_memo_in_any_encoding(encoding: str) -> None:
    text = "Позвоните за час до приезда, охрана откроет шлагбаум. Пропуск не нужен, достаточно назвать фамилию."
    assert entries("memo.txt", text.encode(encoding)) == [("memo", text)]


def test_titles_of_a_plain_text() -> None:
    text = "НАШИ УСЛОВИЯ\n\nПредоплата половина.\n\nКак добраться\n\nОт метро налево.\n"
    assert entries("t.txt", text) == [("НАШИ УСЛОВИЯ", "Предоплата половина."), ("Как добраться", "От метро налево.")]


def test_a_spreadsheet_with_titles_merged_heads_and_its_currency_in_the_sheets_name() -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "Работы, руб"
    for row in (
        ["Прайс с 1 мая", None, None],
        ["Работа", "Квартира", None],
        [None, "новая", "старая"],
        ["Стены", None, None],
        ["Штукатурка", 700, 850.5],
        ["Обои", 380, None],
    ):
        sheet.append(row)
    for cells in ("A1:C1", "B2:C2", "A2:A3", "A4:C4"):
        sheet.merge_cells(cells)
    found, _problem = understood("p.xlsx", saved(book), with_examples=True)
    (plaster,) = [one for one in found if one.heading == "Штукатурка"]
    assert plaster.shown == "Штукатурка\nКвартира, новая: 700 ₽\nКвартира, старая: 850,5 ₽"
    assert {"Работы, руб", "Прайс с 1 мая", "Стены"} <= set(plaster.above)


def test_every_sheet_is_read_and_times_are_as_people_write_them() -> None:
    content = xlsx(Цены=[["Услуга", "Цена, ₽"], ["Стрижка", 1200]], Часы=[["День", "С"], ["Пн", time(9, 30)]])
    found = dict(entries("a.xlsx", content))
    assert found["Стрижка"] == "Стрижка — 1 200 ₽"
    assert "Пн: 9:30" in found.values()


def test_a_word_file() -> None:
    def fill(document: docx.document.Document) -> None:
        document.add_heading("Гарантия", 1)
        document.add_paragraph("Год на работу.")
        table = document.add_table(rows=2, cols=2)
        for row, cells in zip(table.rows, (("Что", "Срок"), ("Электрика", "5 лет")), strict=True):
            row.cells[0].text, row.cells[1].text = cells
        document.add_heading("Возврат", 2)
        document.add_paragraph("По заявлению.", style="List Bullet")

    found = entries("d.docx", word(fill))
    assert ("Гарантия", "Год на работу.") in found
    assert ("Электрика", "Электрика: 5 лет") in found
    assert ("Возврат", "• По заявлению.") in found


def test_a_saved_page_without_its_menu() -> None:
    page = (
        "<html><head><title>x</title><style>p{}</style></head><body><nav><a href='/'>Главная</a></nav>"
        "<div class='top-menu'>Каталог</div><main><h1>Контакты</h1><p>Ул. Лесная, <b>3</b>, вход со двора.</p>"
        "<table><tr><th>День</th><th>Часы</th></tr><tr><td>Пн</td><td>9:00–18:00</td></tr></table></main>"
        "<script>alert(1)</script><footer>© Мы</footer></body></html>"
    )
    found = entries("k.html", page)
    assert ("Контакты", "Ул. Лесная, 3, вход со двора.") in found
    assert not any(word in text for _heading, text in found for word in ("Главная", "Каталог", "©", "alert"))
    assert any("Пн: 9:00–18:00" in text for _heading, text in found)


def test_a_leaflet() -> None:
    assert entries("l.pdf", pdf("Delivery within the city costs", "350 roubles.")) == [
        ("l", "Delivery within the city costs 350 roubles.")
    ]


def test_a_leaflet_that_takes_too_long_is_given_up() -> None:
    with pytest.raises(Unreadable, match="too long"):
        apart.blocks(".pdf", pdf("hello, slowly"), seconds=0)


def test_a_small_file_that_would_take_all_memory_ends_the_process_that_reads_it_and_no_more(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.append(["Услуга", "Цена"])
    book.active["XFD19000"] = "a stray cell"
    (tmp_path / "stray.xlsx").write_bytes(saved(book))
    (tmp_path / "good.md").write_text("# Адрес\n\nУл. Лесная, 3.")
    passages, problems = read_folder(tmp_path, with_examples=True)
    assert [one.file for one in passages] == ["good.md"]
    assert "too much memory" in problems[0].reason


def test_a_long_text_is_read_line_by_line() -> None:
    """A memo of 200,000 lines: what takes the square of that does not end."""
    (found,) = entries("m.txt", "цена пятьсот рублей\n" * 200_000)
    assert found[1].count("\n") == 199_999


def packed(name: str, content: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return out.getvalue()


BROKEN = {
    "bomb.xlsx": (lambda: packed("xl/workbook.xml", b"0" * (kinds.MOST_UNPACKED + 1)), "unpacks to more than"),
    "bomb.docx": (lambda: packed("word/document.xml", b"0" * (kinds.MOST_UNPACKED + 1)), "unpacks to more than"),
    "macros.xlsm": (lambda: b"PK", "macros"),
    "macros.docx": (lambda: packed("word/vbaProject.bin", b"x"), "macros"),
    "cut.xlsx": (lambda: xlsx(a=[["b", "c"], ["d", 1]])[:200], "no whole file"),
    "cut.docx": (lambda: word(lambda document: document.add_paragraph("x"))[:300], "no whole file"),
    "other.docx": (lambda: packed("hello.txt", b"x"), "no whole Word file"),
    "noise.xls": (lambda: bytes(range(256)) * 9, "no whole spreadsheet"),
    "cut.pdf": (lambda: pdf("hello")[:150], "no whole PDF"),
    "closed.pdf": (lambda: pdf("hello", encrypted=True), "password"),
    "empty.pdf": (lambda: pdf(""), "no text"),
    "noise.txt": (lambda: b"\0\1\2\3" * 50, "no text"),
    "old.doc": (lambda: b"\xd0\xcf\x11\xe0", "before 2007"),
    "picture.jpg": (lambda: b"\xff\xd8", "of this kind"),
    "large.txt": (lambda: b"a" * (kinds.LARGEST + 1), "larger than 20 MB"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_or_hostile_file_is_named_with_the_reason(name: str, tmp_path: Path) -> None:
    make, told = BROKEN[name]
    (tmp_path / name).write_bytes(make())
    (tmp_path / "good.md").write_text("# Адрес\n\nУл. Лесная, 3.")
    passages, problems = read_folder(tmp_path, with_examples=True)
    assert [one.file for one in passages] == ["good.md"]
    assert [one.file for one in problems] == [name]
    assert told in problems[0].reason


def test_folders_inside_are_read_and_what_lies_outside_or_is_left_behind_is_not(tmp_path: Path) -> None:
    folder = tmp_path / "knowledge"
    for name in ("для клиентов/ещё/цены.md", ".hidden/x.md", "~$a.docx", "b.md~", ".c.md"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("# Цены\n\nОт 500 ₽.")
    (tmp_path / "secret.md").write_text("# Пароль\n\nqwerty")
    (folder / "link.md").symlink_to(tmp_path / "secret.md")
    passages, problems = read_folder(folder, with_examples=True)
    assert [one.file for one in passages] == ["для клиентов/ещё/цены.md"]
    assert [(one.file, "outside" in one.reason) for one in problems] == [("link.md", True)]


def test_two_prices_of_one_thing_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("Услуга;Цена\nСтрижка;1200\nМойка;500")
    (tmp_path / "b.xlsx").write_bytes(xlsx(Цены=[["Услуга", "Цена, ₽"], ["стрижка", 1300], ["Мойка", 500]]))
    ((one, other),) = contradictions(read_folder(tmp_path, with_examples=True)[0])
    assert (one.file, other.file, other.heading) == ("a.csv", "b.xlsx", "стрижка")
    found = knowledge_finding(load_settings(knowledge_dir=tmp_path))
    assert found.sign == "note"
    assert "two prices of Стрижка: a.csv and b.xlsx" in found.sentence


def test_a_picture_in_the_folder_is_told_and_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# Адрес\n\nУл. Лесная, 3.")
    (tmp_path / "b.jpg").write_bytes(b"x")
    found = knowledge_finding(load_settings(knowledge_dir=tmp_path))
    assert (found.sign, "b.jpg: files of this kind are not read" in found.sentence) == ("note", True)


def test_a_half_saved_file_leaves_what_it_said(tmp_path: Path) -> None:
    clock = FakeClock()
    file = tmp_path / "p.xlsx"
    whole = xlsx(Цены=[["Услуга", "Цена, ₽"], ["Стрижка", 1200]])
    file.write_bytes(whole)
    knowledge = Knowledge(tmp_path, clock)

    def told() -> str | None:
        clock.advance(CHECK_SECONDS)
        found = knowledge.answer([Line("client", "сколько стоит стрижка?", clock.now())])
        return found.told if found else None

    assert told() == "Стрижка — 1 200 ₽"
    file.write_bytes(whole[: len(whole) // 2])
    assert told() == "Стрижка — 1 200 ₽"
    assert "what it said before holds" in knowledge.problems[0].reason
    file.write_bytes(xlsx(Цены=[["Услуга", "Цена, ₽"], ["Стрижка", 1300]]))
    assert told() == "Стрижка — 1 300 ₽"
    assert knowledge.problems == ()
    file.unlink()
    assert told() is None


DROPPED: dict[str, Callable[[str], bytes]] = {
    "цены.xlsx": lambda price: xlsx(Цены=[["Услуга", "Цена, ₽"], ["Стрижка собаки", price]]),
    "цены.docx": lambda price: word(
        lambda one: (one.add_heading("Сколько стоит стрижка собаки?"), one.add_paragraph(price))
    ),
    "цены.txt": lambda price: f"В: Сколько стоит стрижка собаки?\nО: {price}".encode("cp1251"),
    "цены.html": lambda price: f"<body><h2>Сколько стоит стрижка собаки?</h2><p>{price}</p></body>".encode(),
    "внутри/цены.md": lambda price: f"**Сколько стоит стрижка собаки?**\n{price}".encode(),
    "цены.csv": lambda price: f"Прайс\nУслуга;Цена\nСтрижка собаки;{price}".encode(),
}


def test_each_kind_dropped_into_the_folder_of_a_running_server_answers(tmp_path: Path) -> None:
    folder = tmp_path / "knowledge"
    folder.mkdir()
    lead = 9000

    def answer() -> str:
        """What a client is told who asks now, in a deal of its own."""
        nonlocal lead
        lead += 1
        about = {"lead_id": lead, "chat_id": f"chat-{lead}", "contact_id": lead}
        server.deliver(incoming("Сколько стоит стрижка собаки?", message_id=f"m-{lead}", **about))
        wait_for(server.settled, "the question is answered")
        (reply,) = server.messages(lead, "assistant")
        return str(reply["content"]).replace(" ", "")

    with otvet(tmp_path, OTVET_KNOWLEDGE_DIR=str(folder)) as server:
        for number, (name, make) in enumerate(DROPPED.items(), 1):
            price = f"{number}500"
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(make(price))
            wait_for(lambda price=price: price in answer(), f"{name} is read")
            (folder / name).unlink()
