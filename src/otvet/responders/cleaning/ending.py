"""Whether a text came to its end: by the service's reason for the end, and by the text's own last words. No I/O."""

import re

from otvet.responders.sentences import last_whole

_FINISHED = frozenset(("stop", "eos", "eos_token", "end_turn", "stop_sequence", "end", "completed", "complete"))
"""The reasons of a model that had said all, in the words of OpenAI, Anthropic, Mistral, Gemini and local servers."""

_FILTERED = re.compile(
    r"filter|safety|blacklist|blocklist|prohibit|recitation|moderat|sensitive|refus|spii|policy|censor", re.IGNORECASE
)
_ENDED = re.compile(r"(?:[.!?…]|\W\)+|[;:=8]-?[()DP]+)[\"'»”)\]*_]*\s*\Z")
_EMOJI = re.compile("[\u2190-\u2bff\u3030\ufe0f\U0001f000-\U0001faff]\\s*\\Z")

# A text that ends with one of these, and without a dot, was cut off.
_HANGING = re.compile(
    r"(?:[,:;—–(«“\[{-]|\s[-*•]"
    r"|(?<![\w-])(?:и|а|но|или|либо|да и|в|во|на|с|со|к|ко|у|о|об|от|до|из|за|по|под|над|при|про|для|без|через|между"
    r"|перед|около|также|кроме|после|чтобы|если|что|котор\w{2,3}|не|ни|более|менее|очень|стоимостью|the|a|an|of"
    r"|and|or|but"
    r"|if|your|our|at|by|from|with|than|і|й|та|або|чи|але|з|із|від|під|щоб|якщо|що|який|яка|які|және|немесе|бірақ"
    r"|егер|мен|пен))\s*\Z",
    re.IGNORECASE,
)
_OPEN_BRACKET = re.compile(r"(?<![:;=8])\((?=[^()\n]*[^\W_][^()\n]*\Z)|«(?=[^«»\n]+\Z)")

_GREETING = (
    r"здравствуйте|добр\w+ (?:день|дня|вечер|вечора|утро|ранок|ранку)|привет\w*|вітаю|сәлем\w*(?: бе)?"
    r"|қайырлы күн|hello|hi|hey|dear"
    r"|good (?:morning|day|afternoon|evening)|спасибо\b[^.!?\n]{0,60}|благодар\w+\b[^.!?\n]{0,60}|дякую\b[^.!?\n]{0,60}"
    r"|рахмет\b[^.!?\n]{0,60}|thank(?:s| you)\b[^.!?\n]{0,60}|конечно|хорошо|отлично|рад\w*\b[^.!?\n]{0,40}"
    r"|приятно\b[^.!?\n]{0,40}|sure|of course"
    r"|great(?: question)?"
)
_ONLY_GREETS = re.compile(rf"(?:(?:{_GREETING})[^.!?…\n]{{0,25}}[.!?…,\s\W]*)*\Z", re.IGNORECASE)


def is_refusal(reason: object) -> bool:
    """Whether the service says that a filter ended the answer."""
    return isinstance(reason, str) and bool(_FILTERED.search(reason))


def whole(text: str, reason: object) -> str:
    """The text, or its beginning up to the last whole sentence if it was cut off; empty if that answers nothing."""
    if not _is_cut(text, reason):
        return text
    kept = last_whole(text)
    return "" if _ONLY_GREETS.match(kept) else kept


def _is_cut(text: str, reason: object) -> bool:
    hangs = bool(_HANGING.search(text) or _OPEN_BRACKET.search(text)) and not _ends(text)
    if isinstance(reason, str) and reason.casefold() in _FINISHED:
        return hangs
    return hangs or not _ends(text)


def _ends(text: str) -> bool:
    return bool(_ENDED.search(text) or _EMOJI.search(text))
