"""Tells a number that is denied from one that is claimed: "за 500 ₽ не отдадим" claims nothing. No I/O."""

import re

_EDGE = re.compile(r"[.!?;\n]|,\s|\s-\s|\s(?:но|а|зато|but)\s")
_NOT = re.compile(
    r"(?<![а-яёa-z])(?:не|ни|нет|нету|нельзя|невозможн\w+|нереальн\w+|исключен\w*|слишком|отсутству\w+|not|no|cannot|unable|never|немає|нема|емес|жоқ)"
    r"(?![а-яёa-z])|n't\b|(?:май|мей|пай|пей|бай|бей)(?:ды|ді|мыз|міз)"
)
_NO_DENIAL = re.compile(
    r"не\s(?:более|больше|дороже|меньше|менее|ниже|выше|позднее|позже|раньше|дольше|только|просто|забудьте|упустите|пропустите|волну\w+|пережива\w+"
    r"|сомнева\w+|беспоко\w+|стесня\w+|считая|включая|учитывая|суммир\w+|складыва\w+|выходя|проблема|вопрос)"
    r"|нет\sпроблем|not\s(?:more|less|only|later|including|counting)|no\s(?:more|less|later|problem|worries)|(?:don't|not)\s(?:worry|forget|miss|hesitate)"
)


def is_denied(text: str, start: int, end: int) -> bool:
    """Whether the clause around a piece of a text in lower case denies it."""
    before, after = _EDGE.split(text[:start])[-1], _EDGE.split(text[end:])[0]
    rest = " ".join(_NO_DENIAL.sub(" ! ", f"{before} # {after}").split())
    return "!" not in rest and bool(_NOT.search(rest))
