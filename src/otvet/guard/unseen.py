"""Finds a reply that speaks of a picture or file as if it had been seen; no responder sees any. No I/O."""

import re
from collections.abc import Iterator

from otvet.guard.finding import Finding
from otvet.responders.base import Context

_PICTURE = (
    r"(?:фото\w*|фотк\w*|снимк\w*|картинк\w*|изображени\w*|скриншот\w*|скрин\w*|видео|файл\w*|документ\w*"
    r"|вложени\w*|чек\w*|світлин\w*|зображенн\w*|сурет\w*"
    r"|photos?|pictures?|images?|pics?|screenshots?|files?|attachments?|videos?|documents?)"
)
_YOURS = (
    r"(?:ваш\w*|вашо\w*|присланн\w*|отправленн\w*|прикреплённ\w*|прикрепленн\w*|этом|этой|надісланн\w*|your"
    r"|the attached|attached|this|the)"
)
_NOT = r"(?<!не )(?<!не могу )(?<!not )(?<!n't )(?<!n’t )(?<!cannot )"
_SAW_YOURS = re.compile(
    rf"(?<!\w)(?:как )?(?:на|в|по|из|у) (?:ваш\w*|присланн\w*|отправленн\w*|прикрепл[её]нн\w*|надісланн\w*) {_PICTURE}"
    rf"|{_NOT}(?<!\w)(?:вижу|посмотрел[аи]?|рассмотрел[аи]?|изучил[аи]?|проверил[аи]?|увидел[аи]?|бачу|подивив\w*"
    rf"|подивилася?|көріп тұрмын|көрдім)(?: \w+){{0,2}} {_PICTURE}"
    rf"|(?<!\w){_NOT}вижу,? что на {_PICTURE}|(?<!\w)судя по (?:\w+ )?{_PICTURE}|(?<!\w)на (?:ваш\w+ |этом "
    rf"|этой )?{_PICTURE} (?:у вас |я )?(?:вижу|видно|изображ\w+|показан\w*|у вас|бачу|видно)"
    rf"|(?<!\w)спасибо за {_PICTURE}[^.!?\n]{{0,10}}[,.!—-]\s*(?:это|да|вижу|цвет|такой|такая|модель)"
    rf"|(?<!\w)(?:красив\w+|отличн\w+|хорош\w+) {_PICTURE}"
    rf"|\b(?:as |judging )?(?:in|on|from|by) (?:your|the attached|this) {_PICTURE}\b|\b(?:i (?:can )?(?:see|saw)"
    rf"|i(?:'ve| have)? (?:looked at|checked|viewed|seen|reviewed))(?: \w+){{0,3}} {_PICTURE}\b"
    rf"|\b(?:your|the|this) {_PICTURE} (?:shows?|looks?|depicts?|contains?)\b"
    rf"|(?<!\w)ваш\w+ {_PICTURE} (?:показыва|видно)\w*",
    re.IGNORECASE,
)
_AS_SHOWN = re.compile(
    rf"(?<!\w)(?:как|что|который|которая|которое|именно|точно|такой же|такая же|як|така сама"
    rf"|такий самий)(?: \w+)? на {_PICTURE}|(?<!\w)на {_PICTURE}\s*[—–,:-]|(?<!\w)это (?:же )?(?:наш\w*|модель"
    rf"|артикул|плед|диван|ткань)[^.!?\n]{{0,40}}на {_PICTURE}"
    rf"|\b(?:like|as|same as|the one) (?:shown |the one )?(?:in|on) (?:the|your|that|this) {_PICTURE}\b"
    rf"|сурет(?:те|тегі)\w*",
    re.IGNORECASE,
)
_SPEAKS_OF_ONE = re.compile(rf"(?<!\w){_PICTURE}", re.IGNORECASE)
_CANNOT = re.compile(
    r"(?<!\w)не (?:вижу|видно|видим|могу (?:посмотреть|открыть|увидеть|рассмотреть)|получ\w+|открыва\w+|загру\w+"
    r"|бачу)|\b(?:can(?:'|’)?t|cannot|can not|unable to|not able to|don(?:'|’)t) (?:see|open|view|look)",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"[^.!?…\n]+[.!?…]*")
_SHOWN = 60


def check(text: str, context: Context) -> Iterator[Finding]:
    """The first piece that tells of a picture as if it had been seen.

    "As in the photo" may be said of the company's own photos; of the client's, nothing.
    """
    asked = [line for line in (*context.history, *context.question) if line.sender == "client"]
    of_client = any(line.unseen or _SPEAKS_OF_ONE.search(line.text) for line in asked)
    company = " ".join(
        [
            *(f"{one.heading} {one.text}" for one in context.knowledge),
            *(one.text for one in context.history if one.sender == "manager"),
        ]
    )
    may_show = bool(_SPEAKS_OF_ONE.search(company)) and not context.has_unseen
    for sentence in (match[0] for match in _SENTENCE.finditer(text)):
        if _CANNOT.search(sentence):
            continue
        found = _SAW_YOURS.search(sentence) or (_AS_SHOWN.search(sentence) if of_client and not may_show else None)
        if found:
            yield Finding("unseen", found[0].strip()[:_SHOWN])
            return
