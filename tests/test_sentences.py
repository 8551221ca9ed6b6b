from otvet.responders.sentences import cut
from tests.tables import every


@every("sentences", "a text is cut after the last whole sentence", "text, kept")
def test_a_text_is_cut_after_the_last_whole_sentence(text: str, kept: str) -> None:
    limit = text.index("|")
    assert cut(text.replace("| ", "").replace("|", ""), limit) == kept
