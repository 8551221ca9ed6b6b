"""The one door: what a model wrote, and why it stopped, become clean words for a client or an error with the reason."""

import re
from collections.abc import Sequence

from otvet.i18n import N_, _
from otvet.responders.base import Context, Declined, ResponderError, Unclean
from otvet.responders.cleaning import broken, ending, labels, stock, thoughts, tools
from otvet.responders.markdown import plain_text

_REASONS = {
    "tag": N_("The model wrote marks that are meant for programs, or called a tool; it has none."),
    "thoughts": N_("The model wrote its thoughts; an answer cannot be told from them."),
    "cut": N_("The model's answer breaks off in the middle of a sentence."),
    "broken": N_("The model's answer is damaged: wrong characters, or words that repeat without end."),
    "dialogue": N_("The model wrote only what the client might say."),
    "itself": N_("The model speaks of itself as a model."),
    "told": N_("The model speaks of what it was told for its work."),
    "placeholder": N_("The model speaks of a placeholder that stands for personal data."),
}

_EDGE_OF_OURS = re.compile(
    r"\A\s*<(?:manager|review|known|summary|knowledge|passage|message|question|conversation)\b[^<>\n]*>"
    r"|</?(?:manager|review|known|summary|knowledge|passage|message|question|conversation)\b[^<>\n]*>(?=\s*\Z"
    r"|\s*\n)|</(?:manager|message|passage)>",
    re.IGNORECASE,
)


def clean(raw: str, context: Context, *, finish: object = "stop") -> str:
    """What the client gets of what a model wrote.

    finish: the service's reason for the end of the text, such as "stop" or "length".

    Raises Unclean if the model should write it anew, Declined for a refusal, ResponderError for a service's error.
    """
    if ending.is_refusal(finish):
        raise Declined(_("The model refused to answer this."))
    text = _answer(raw, context.question_text)
    if stock.is_refusal(text):
        raise Declined(_("The model refused to answer this."))
    if stock.is_error(text, context.question_text):
        raise ResponderError(_("The model's service wrote an error instead of an answer."))
    kept = ending.whole(text, finish)
    _must(bool(kept), "cut", text)
    said = [*(line.text for line in context.question), *company_texts(context)]
    if about := stock.of_its_work(kept, said):
        kind, piece = about
        raise Unclean(_(_REASONS[kind]), kind=kind, piece=piece, text=kept)
    return kept


def words_of(raw: str) -> str:
    """The words of what a model once wrote, without the question; empty if no client would have got it."""
    try:
        return _answer(raw, "")
    except ResponderError:
        return ""


def summary_in(raw: str) -> str:
    """A summary for ourselves without thoughts and marks; it speaks of the client, as a reply must not."""
    return plain_text(_EDGE_OF_OURS.sub("", thoughts.answer_in(broken.repaired(raw)))).strip()


def company_texts(context: Context) -> Sequence[str]:
    """What the company itself says: in its knowledge, its fields, and by its managers."""
    return [
        *(text for one in context.knowledge for text in (*one.above, one.heading, one.text)),
        *(value for _name, value in context.known),
        *(line.text for line in context.history if line.sender == "manager"),
    ]


def _answer(raw: str, question: str) -> str:
    """The answer alone; Unclean if it cannot be told from what is around it."""
    text = broken.repaired(raw)
    if not text.strip():
        raise ResponderError(_("The model's answer holds nothing for the client."))
    text = _some(thoughts.answer_in(text), "thoughts", raw)
    text = _some(tools.between_marks(tools.unwrapped(tools.between_marks(text))), "tag", raw)
    _must(not tools.is_call(text), "tag", text)
    text = plain_text(labels.without_citations(tools.without_html(_EDGE_OF_OURS.sub("", text)))).strip()
    text = _some(labels.answer_alone(text, question), "dialogue", text)
    text = _some(thoughts.without_plan(stock.without_source(text)), "thoughts", text)
    text = _some(labels.answer_alone(broken.without_loop(text), question), "broken", text)
    _must(tools.mark_in(text) is None, "tag", text)
    _must(not broken.is_broken(text), "broken", text)
    return text


def _some(text: str, kind: str, of: str) -> str:
    """The text; Unclean if nothing is left of it."""
    _must(bool(text.strip()), kind, of)
    return text


def _must(holds: bool, kind: str, text: str) -> None:
    if not holds:
        raise Unclean(_(_REASONS[kind]), kind=kind, piece="", text=text)
