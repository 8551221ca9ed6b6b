"""Tells a number that is denied from one that is claimed: "за 500 ₽ не отдадим" claims nothing. No I/O."""

import re

_ASIDE = re.compile(r",\s(?:к\sсожалению|увы|конечно|извините|простите|unfortunately|sorry|на\sжаль|өкінішке\sорай),")
_EDGE = re.compile(r"[.!?;\n]|,\s|\s-\s|\s(?:но|а|зато|but)\s")
_CLAUSE = 120  # characters
_NOT = re.compile(
    r"(?<![а-яёa-z])(?:не|ни|нет|нету|никак|нельзя|невозможн\w+|нереальн\w+|исключен\w*|слишком|отсутству\w+|not|no|cannot|unable|never|немає|нема|емес|жоқ)"
    r"(?![а-яёa-z])|n't\b|(?:май|мей|пай|пей|бай|бей)(?:ды|ді|мыз|міз)"
)
_NO_DENIAL = re.compile(
    r"не\s(?:более|больше|дороже|меньше|менее|ниже|выше|позднее|позже|раньше|дольше|только|просто|забудьте|упустите|пропустите|волну\w+|пережива\w+"
    r"|сомнева\w+|беспоко\w+|стесня\w+|считая|включая|учитывая|суммир\w+|складыва\w+|выходя|проблема|вопрос)"
    r"|нет\sпроблем|not\s(?:more|less|only|later|including|counting)|no\s(?:more|less|later|problem|worries)|(?:don't|not)\s(?:worry|forget|miss|hesitate)"
)


def clause_around(text: str, start: int, end: int) -> tuple[str, str]:
    """What stands before and after a piece of a text in its clause."""
    return _EDGE.split(text[max(0, start - _CLAUSE) : start])[-1], _EDGE.split(text[end : end + _CLAUSE])[0]


def is_denied(text: str, start: int, end: int) -> bool:
    """Whether the clause around a piece of a text in lower case denies it."""
    before, after = clause_around(_ASIDE.sub(lambda words: " " * len(words[0]), text), start, end)
    rest = " ".join(_NO_DENIAL.sub(" ! ", f"{before} # {after}").split())
    return "!" not in rest and bool(_NOT.search(rest))
