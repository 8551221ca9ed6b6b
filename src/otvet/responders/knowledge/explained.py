"""Why a passage would be sent, or would not: for the people who keep the folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from otvet.i18n import N_, _
from otvet.responders.knowledge import decision, subjects
from otvet.responders.knowledge.choice import Answer, asked
from otvet.responders.knowledge.decision import Question
from otvet.responders.knowledge.search import Hit, Index

_MOST_WORDS = 4
_LIKELY = 0.6  # share of the question's words, weighted by rarity


class Sure(StrEnum):
    """How sure it is that a passage answers."""

    SURE = N_("for sure")
    LIKELY = N_("likely")
    UNSURE = N_("not sure")


@dataclass(frozen=True, slots=True)
class Explained:
    """A passage near to a question. why_not: why it is not sent; empty where it is."""

    hit: Hit
    sure: Sure
    why_not: str = ""


def explained(
    index: Index, hits: Sequence[Hit], answer: Answer | None, lines: Sequence[str], before: Sequence[str]
) -> list[Explained]:
    """What is to be said of each of these passages."""
    question = asked(index, lines, before)
    sent = [hit.passage for hit in answer.hits] if answer else []
    return [
        Explained(hit, Sure.SURE)
        if any(hit.passage is one for one in sent)
        else Explained(hit, *_doubt(index, question, hit, hits, answered=answer is not None))
        for hit in hits
    ]


def _doubt(index: Index, question: Question, hit: Hit, hits: Sequence[Hit], *, answered: bool) -> tuple[Sure, str]:
    sure = Sure.LIKELY if hit.coverage >= _LIKELY else Sure.UNSURE
    if subjects.is_emergency(question.own):
        return Sure.UNSURE, _("sounds like an emergency: the folder does not answer that")
    if answered:
        return sure, _("another entry answers better")
    if lacks := decision.lacks(index, question, hit.passage):
        return sure, _("it lacks: {words}").format(words=", ".join(lacks[:_MOST_WORDS]))
    if rivals := decision.rivals(index, question, hit, hits):
        return sure, _("“{entry}” fits as well").format(entry=rivals[0].passage.heading)
    if question.says_too_little:
        return sure, _("one word does not tell what is asked")
    return sure, _("it may speak of something else")
