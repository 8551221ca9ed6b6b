import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otvet.guard.personal import find
from tests.tables import every, table

SAMPLES = table("personal")
_KINDS = re.compile(r"(?:(?:PHONE|EMAIL|CARD|PASSPORT|SNILS|INN) )+")


def test_there_are_enough_samples() -> None:
    assert len(SAMPLES["masked"]) >= 80
    assert len(SAMPLES["readable"]) >= 80


@every("personal", "masked", "sample")
def test_personal_data_is_found_and_nothing_beside_it(sample: str) -> None:
    kinds = _KINDS.match(sample)
    assert kinds
    marked = sample[kinds.end() :]
    text = marked.replace("«", "").replace("»", "")
    found = find(text)
    assert [text[piece.start : piece.end] for piece in found] == re.findall("«(.*?)»", marked)
    assert [piece.kind for piece in found] == kinds[0].split()


@every("personal", "readable", "text")
def test_the_numbers_of_things_are_not_personal(text: str) -> None:
    assert find(text) == []


@every("personal", "all writings of a value are one value", "writings")
def test_all_writings_of_a_value_are_one_value(writings: list[str]) -> None:
    assert len({find(text)[0].value for text in writings}) == 1


@pytest.mark.parametrize(
    "text",
    [
        "4276 3800 1234 5678",  # no card ends with this digit
        "112-233-445 96",
        "500100732258",
    ],
)
def test_check_digits_decide(text: str) -> None:
    assert find(text) == []


def test_letters_that_nobody_sees_hide_no_number() -> None:
    assert [piece.value for piece in find("\u202a+7 900\u200b123-45-67\u202c")] == ["+79001234567"]


@settings(deadline=None)  # the first example reads the tables of phones
@given(st.text() | st.text(alphabet="0123456789 +-().@/№abпаспорт", max_size=60))
def test_pieces_are_in_order_and_do_not_overlap(text: str) -> None:
    found = find(text)
    assert all(0 <= piece.start < piece.end <= len(text) for piece in found)
    assert all(one.end <= other.start for one, other in pairwise(found))
