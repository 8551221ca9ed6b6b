"""Sentences for staff: why a question was not answered by the assistant, or not in the ordinary way."""

from otvet.i18n import N_, _
from otvet.turns.turn import OPEN, Reason, State

REASONS = {
    "amocrm_not_connected": N_("amoCRM is not connected"),
    "trial": N_("this is a trial chat, of which nothing goes to amoCRM"),
    "manager": N_("a manager or another bot answers here"),
    "paused": N_("the assistant is paused in this conversation"),
    "stale": N_("it came too late to be answered without a person"),
    "ceiling": N_("the conversation has had as many replies as a day allows"),
    "repeated_words": N_("the same words came for the third time: perhaps an auto-reply writes here"),
    "too_many_a_minute": N_("the conversation had more replies within a minute than people need: see who writes here"),
    "reworded": N_("the client changed the words, and the question was asked anew"),
    "erased": N_("the client's data was erased"),
    "no_deal": N_("the message names no deal, and none was found in amoCRM: look for it by the client's name"),
    "pipeline_left_out": N_("by the settings, the assistant does not answer in this pipeline"),
    "stage_left_out": N_("by the settings, the assistant does not answer in this stage"),
    "tags_left_out": N_("by the settings, the assistant does not answer in deals with these tags"),
    "channel_left_out": N_("by the settings, the assistant does not answer in this channel"),
    "unseen": N_(
        "it cannot be told whether the client got this: the reply has not come back as an outgoing message, as others "
        "do. Look into the chat; if it is not there, send it by hand or with otvet retry"
    ),
    "out_of_hours": N_("it came out of working hours"),
    "asked": N_("the client asked for a person"),
    "doubted": N_("the reply that was written could not be checked, so a person has to answer"),
    "not_known": N_("the knowledge folder does not answer this, and no AI could"),
    "media": N_("the client sent something that the assistant cannot read"),
    "promised": N_("the assistant's reply says that a person will see to it"),
    "angry": N_("the client complains"),
    "small_talk": N_("it needs no answer"),
    "draft": N_("a draft of the reply waits for approval"),
    "waited": N_("it has been waiting for an answer for more than ten minutes"),
    "refused": N_("amoCRM did not take the reply"),
    "off": N_("the assistant is switched off in this conversation"),
    "stopped": N_("the assistant was stopped everywhere"),
    "rejected": N_("a manager rejected the draft"),
}


def why_left(state: State, code: str | None, summary: str | None, because: str | None) -> str | None:
    """Why a person has to see to a question of the list. code, summary, because: as the turn has them.

    A reply that did not arrive says so, whatever it was.
    """
    if summary is None and state == State.DRAFT:
        return reason(Reason.DRAFT)
    if summary is None and state in OPEN:
        return reason(Reason.WAITED)
    return reason(code if state == State.FAILED else because or code)


def reason(code: str | None) -> str | None:
    """The sentence for a turn's reason. amoCRM's refusals are sentences already and returned as they are."""
    return _(REASONS[code]) if code in REASONS else code
