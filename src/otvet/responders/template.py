"""The last responder: tells the client that a manager will reply. It promises no time and never fails."""

from otvet.i18n import N_, translator
from otvet.responders.base import Attempt, Context, Reply

THANKS = N_("Thank you for your message! A manager will read it and reply to you here.")

NOTHING_TO_READ = N_(
    "Thank you! A manager will look at what you sent and reply to you here. You can also write your question as text."
)


class TemplateResponder:
    """Thanks the client in the client's language."""

    name = "template"
    outside = False

    async def reply(self, context: Context, attempt: Attempt) -> Reply:
        text = NOTHING_TO_READ if context.nothing_to_read else THANKS
        return Reply(translator(context.own_language)(text), self.name)
