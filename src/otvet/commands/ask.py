"""``otvet ask``: the knowledge folder's passages for a question, and the local answer. Sends and stores nothing."""

from collections.abc import Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from otvet.clock import SystemClock
from otvet.commands.terminal import printable, whole
from otvet.errors import UsageError
from otvet.i18n import DEFAULT_LANGUAGE, _, language_of_client, ngettext, translator
from otvet.responders.base import Line
from otvet.responders.knowledge.explained import Explained
from otvet.responders.knowledge.passages import no_folder
from otvet.responders.knowledge.responder import Knowledge
from otvet.responders.template import THANKS
from otvet.settings.settings import Settings

MOST_SHOWN = 5


def ask(settings: Settings, texts: Sequence[str]) -> None:
    """Print the passages found for a client's messages, best first, and the local answer to them.

    Once amoCRM is connected, the examples are left out, as in the service.
    """
    folder = settings.knowledge_dir
    if not folder.is_dir():
        raise UsageError(no_folder(folder))
    clock = SystemClock()
    knowledge = Knowledge(folder, clock, with_examples=not settings.amocrm_connected)
    question = [Line("client", text, clock.now()) for text in texts]
    near = knowledge.explained(question, MOST_SHOWN)
    answer = knowledge.answer(question)
    console = Console(highlight=False)
    console.print(whole(_passages(near)) if near else _("No passage speaks of it."))
    if problems := len(knowledge.problems):
        left_out = ngettext(
            "{count} file with a problem, see otvet check", "{count} files with a problem, see otvet check", problems
        )
        console.print(left_out.format(count=problems), style="yellow")
    console.print()
    if answer:
        console.print(_("The local answer, word for word:"), style="green")
        told = answer.told
    else:
        console.print(_("No passage clearly fits; without an AI the client is told:"), style="yellow")
        told = translator(language_of_client("\n".join(texts), "", DEFAULT_LANGUAGE))(THANKS)
    console.print(Padding(Text(printable(told)), (0, 0, 0, 2), expand=False))


def _passages(near: Sequence[Explained]) -> Table:
    table = Table("", _("Entry"), _("File"), _("Does it answer"), _("Why it is not sent"))
    for one in near:
        passage = one.hit.passage
        table.add_row(
            "" if one.why_not else "[green]✓[/]",
            Text(printable(passage.heading)),
            Text(printable(passage.file)),
            _(one.sure),
            Text(printable(one.why_not)),
        )
    return table
