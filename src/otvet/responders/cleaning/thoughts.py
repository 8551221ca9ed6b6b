"""Separates a model's answer from its thoughts, in whatever marks they stand. No I/O."""

import re

_NAMES = (
    r"think|thinking|thoughts?|thought_process|reason|reasoning|reflections?|reflect|analysis|analyze"
    r"|scratch_?pad|inner_?monologue"
    r"|monologue|plan|planning|chain_?of_?thought|cot|internal|deliberation|begin_of_thought|rationale"
    r"|размышлени[ея]|мысл[иь]|анализ|рассуждени[ея]|думаю|план|міркування|ойлану"
)
_ANSWERS = (
    r"answer|response|reply|final|final_?answer|final_?response|output|solution|begin_of_solution|result"
    r"|customer_?reply|client_?reply"
    r"|assistant|text|ответ|відповідь|жауап"
)
_OPENING, _CLOSING = r"[<\[◁]\s*\|?\s*", r"\s*\|?\s*[>\]▷]"
_OPEN = rf"[<◁]\s*\|?\s*(?:\w+:)?(?:{_NAMES})\b[^<>▷\n]{{0,60}}?\s*\|?\s*[>▷]|\[(?:{_NAMES})\](?!\()"
_CLOSE = rf"{_OPENING}/\s*(?:\w+:)?(?:{_NAMES}){_CLOSING}|{_OPENING}end_of_thought{_CLOSING}"
_CURLY = re.compile(rf"\{{(?P<name>{_NAMES})\}}.*?\{{/(?P=name)\}}", re.DOTALL | re.IGNORECASE)
_ASIDE = re.compile(
    r"\A\s*[(*_]+(?:дума\w+|размышля\w+|мысл\w+|рассужда\w+|thinks?|thinking|reasoning|thoughts?)\b[^)*\n]*[)*_]+\s*"
    r"|\A\s*Thinking\.\.\..*?\.\.\.done thinking\.\s*",
    re.DOTALL | re.IGNORECASE,
)
_PAIR = re.compile(rf"(?:{_OPEN})(?:(?!{_OPEN}).)*?(?:{_CLOSE})", re.DOTALL | re.IGNORECASE)
_LONE_CLOSE = re.compile(rf"\A.*(?:{_CLOSE})", re.DOTALL | re.IGNORECASE)
_LONE_OPEN = re.compile(rf"(?:{_OPEN}).*\Z", re.DOTALL | re.IGNORECASE)
_SPOILER = re.compile(r"<details\b[^>]*>.*?</details>", re.DOTALL | re.IGNORECASE)

_ANSWER = re.compile(
    rf"{_OPENING}(?P<name>{_ANSWERS})\b[^<>\[\]\n]{{0,80}}?{_CLOSING}(?P<said>.*?){_OPENING}(?:/\s*(?P=name)"
    rf"|end_of_solution){_CLOSING}",
    re.DOTALL | re.IGNORECASE,
)
_ANSWER_EDGE = re.compile(
    rf"\A\s*<\s*(?:{_ANSWERS})\b[^<>\n]{{0,80}}>|</?\s*(?:{_ANSWERS})\s*>\s*\Z"
    rf"|^\s*<\s*(?:{_ANSWERS})\b[^<>\n]{{0,80}}>\s*$",
    re.IGNORECASE | re.MULTILINE,
)
_BOXED = re.compile(r"\A.*\\boxed\{(?:\\text\{)?([^{}]+)\}?\}.*\Z", re.DOTALL)

# OpenAI's harmony format: with its marks, and as servers leave it that drop them.
_CHANNEL = re.compile(
    r"<\|channel\|?>\s*(\w+)(?:(?!<\|message\|>)[^<]|<\|constrain\|>)*(?:<\|message\|>)?((?:(?!<\|).)*)", re.DOTALL
)
_BARE_FINAL = re.compile(r"\A(?:.*assistant\s*final|(?:assistant\s*)?final(?=[A-ZА-ЯЁІЇЄҐӘҚ\d]))[:\s]*", re.DOTALL)
_BARE_CHANNEL = re.compile(r"\A\s*(?:assistant)?(?:analysis|commentary)(?=[A-ZА-ЯЁІЇЄҐӘҚ]|\s*\n)")

_THOUGHT_LABEL = re.compile(
    r"\A[\W_]*(?:thinking(?: process)?|thoughts?|reasoning|analysis|internal (?:monologue|thoughts?)|plan|(?:step"
    r"|шаг) \d+"
    r"|размышлени[ея]|мысл[иь]|анализ(?: запроса| вопроса)?|рассуждени[ея]|ход мыслей|думаю|план ответа"
    r"|міркування|ойлану)[\W_]*:",
    re.IGNORECASE,
)
_WEAK_LABEL = re.compile(r"\A[\W_]*(?:plan|план|analysis|анализ|step|шаг)\b", re.IGNORECASE)  # of an order, too
_ANSWER_LABEL = re.compile(
    r"^[\W_]*(?:final|(?:final |итоговый |финальный |окончательный )?(?:answer|reply|response|output"
    r"|ответ)(?: to the (?:client|customer|user)| клиенту"
    r"| для клиента)?|відповідь|жауап)[\W_]*:[*_ ]*",
    re.IGNORECASE | re.MULTILINE,
)

_NOT_IF = (
    r"(?<!если )(?<!когда )(?<!каждый )(?<!любой )(?<!якщо )(?<!if )(?<!when )(?<!if a )(?<!if your )(?<!when a )"
    r"(?<!if the )(?<!when the )(?<!once the )(?<!each )(?<!every )(?<!any )"
)
_ABOUT_CLIENT = (
    rf"{_NOT_IF}(?<!\w)(?:пользователь|клиент|покупатель|юзер|клієнт|користувач|покупець)\s+(?:[а-яёіїє]+\s+){{0,2}}"
    r"(?:спрашивает|спросил[аи]?|интересуется|хочет|просит|попросил[аи]?|задал[аи]?|задаёт|задает|пишет"
    r"|написал[аи]?|уточняет|поздоровал\w+|здоровается"
    r"|благодарит|ищет|жалуется|говорит|сообщает|питає|запитує|запитав|хоче|цікавиться|пише|просить|сұрап|сұрайды"
    r"|сұрады)"
    rf"|{_NOT_IF}\b(?:user|client|customer)(?:'s|’s)?\s+(?:is |has |was |just |also |now |seems to be |wrote "
    rf"|said ){{0,2}}"
    r"(?:ask(?:s|ed|ing)|wants?\b|greet\w*|says\b|said\b|inquir\w+|wonder\w*|needs?\b|wrote\b|messages?\b"
    r"|questions?\b|request\w*|thank\w*|looking|writ\w+)"
)
_PLANS_TO_ANSWER = (
    r"(?<!вам )(?<!вас )(?<!\w)(?:нужно|надо|следует|должен|должна|необходимо|стоит|буду|треба"
    r"|потрібно)\s+(?:[а-яёіїє]+\s+){0,2}"
    r"(?:ответить|отвечать|сказать|сообщить|написать|упомянуть|уточнить|відповісти|сказати)"
    r"(?:\s*[.:]|\s[^.!?\n]{0,40}(?:клиент|пользовател|покупател|коротко|кратко|вежлив|на русском|по[- ]русски"
    r"|клієнт|коротко|ввічлив)\w*)"
    r"|(?<!\w)(?:коротко|кратко|вежливо)\s+отвечу|(?<!\w)(?:отвечу|відповім)\s+(?:коротко|кратко|вежливо|клиенту"
    r"|на русском|стисло)"
    r"|\b(?:i|we)(?:'ll|’ll| will)? (?:should|need to|must|have to|'ll|’ll|will|can)?\s?(?:just |also |briefly "
    r"|politely |simply ){0,2}"
    r"(?:answer|respond|reply)\b[^.!?\n]{0,40}(?:briefly|politely|concise\w*|short\w*|in (?:russian|english"
    r"|the same language)|to the (?:user|client|customer)|accordingly)"
    r"|\b(?:i|we) (?:should|need to|must|have to) (?:just |also |briefly |politely |not |only ){0,2}(?:answer"
    r"|respond|reply|mention|tell|say|keep|provide|write|use)\b"
    r"|\bso (?:the|my) (?:answer|reply|response) (?:is|should|would|will)\b|\blet me (?:think|draft|write|compose"
    r"|formulate|craft)\b"
    r"|жауап беру(?:ім|іміз)? керек|(?<!\w)(?:формулиру(?:ю|ем)|составл(?:ю|яю)|пишу|напишу|даю) ответ\b"
    r"|(?<!\w)отвечу так"
)
_FROM_KNOWLEDGE = (
    r"(?<!\w)(?:в|согласно|по|у) (?:предоставленн\w+ )?(?:баз[еі] знан\w+|контекст[еу]|инструкци\w+"
    r"|knowledge)[^.!?\n]{0,20}(?:указан|сказан|есть|написан|говорит|не |нет|вказан)\w*"
    r"|\b(?:the )?(?:knowledge(?: base)?|context|instructions?|passages?) (?:say|state|mention|indicate|show|tell"
    r"|do(?:es)? not|don't|doesn't)s?\b"
    r"|\A\s*(?:hmm+|хм+|wait)\b"
)
_PLAN = re.compile(rf"(?:{_ABOUT_CLIENT}|{_PLANS_TO_ANSWER})", re.IGNORECASE)
_THOUGHT = re.compile(rf"(?:{_ABOUT_CLIENT}|{_PLANS_TO_ANSWER}|{_FROM_KNOWLEDGE})", re.IGNORECASE)
_ANSWER_FOLLOWS = re.compile(_PLANS_TO_ANSWER, re.IGNORECASE)
_SENTENCE_GAP = re.compile(r"(?<=[.!?…:])\s+")


def answer_in(text: str) -> str:
    """The answer without thoughts in tags, channels or below labels; empty if there are only thoughts."""
    text = _from_channel(text)
    text = _ASIDE.sub("", _CURLY.sub("", _SPOILER.sub("", text)))
    while (shorter := _PAIR.sub("", text)) != text:
        text = shorter
    text = _LONE_CLOSE.sub("", text)
    text = _LONE_OPEN.sub("", text)
    if answers := [match["said"] for match in _ANSWER.finditer(text) if match["said"].strip()]:
        text = answers[-1]
    text = _ANSWER_EDGE.sub("", _BOXED.sub(r"\1", text))
    return _below_label(text).strip()


def without_plan(text: str) -> str:
    """The text without a plan that stands before or after the answer; empty if the two cannot be told apart."""
    if not _PLAN.search(text):
        return text
    parts = [part for part in re.split(r"\n\s*\n|\n", text) if part.strip()]
    plans = [number for number, part in enumerate(parts) if _THOUGHT.search(part)]
    if not plans:
        return ""
    if plans[-1] < len(parts) - 1:
        return "\n".join(parts[plans[-1] + 1 :]).strip()
    if plans[0] > 0 and plans == list(range(plans[0], len(parts))):
        return "\n".join(parts[: plans[0]]).strip()
    return _after_plan(parts[-1]) if len(plans) == len(parts) or plans[-1] == len(parts) - 1 else ""


def _after_plan(part: str) -> str:
    """The sentences after the last one of a plan, if that said that the answer follows."""
    sentences = _SENTENCE_GAP.split(part)
    plans = [number for number, sentence in enumerate(sentences) if _THOUGHT.search(sentence)]
    if plans and _ANSWER_FOLLOWS.search(sentences[plans[-1]]):
        return " ".join(sentences[plans[-1] + 1 :]).strip()
    return ""


def _from_channel(text: str) -> str:
    """What stands in harmony's final channel, if the text has channels."""
    channels = _CHANNEL.findall(text)
    if channels:
        return next((said for name, said in reversed(channels) if name == "final"), "")
    if _BARE_FINAL.match(text):
        return _BARE_FINAL.sub("", text)
    return "" if _BARE_CHANNEL.match(text) else text


def _below_label(text: str) -> str:
    """What stands below "Answer:", if the text begins with "Thoughts:"."""
    if not _THOUGHT_LABEL.match(text):
        return text
    labels = list(_ANSWER_LABEL.finditer(text))
    if labels:
        return text[labels[-1].end() :]
    return text if _WEAK_LABEL.match(text) else text.partition("\n\n")[2]
