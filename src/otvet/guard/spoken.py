"""Finds a reply in another language than the client's. No I/O."""

import re
from collections.abc import Iterator, Mapping

from otvet.guard.finding import Finding
from otvet.languages import evidence, without_links, words_of
from otvet.responders.base import Context

_SHOWN = 60
_ENOUGH = 2
"""How much has to speak for a language, in words that only it has."""

_CLEARLY = 1.5  # times as much as for the client's own
_MIXED_SHARE = 0.4  # of the language that most speaks for: the client mixes the two
_SENTENCE = re.compile(r"[^.!?…\n]+[.!?…]*")
_SENTENCE_END = re.compile(r"[.!?…]+(?=\s|$)|\n")
_LINK = re.compile(r"://|@|\w\.\w")
_CYRILLIC_WORD = re.compile(r"[а-яё]{2,}", re.IGNORECASE)
_ENGLISH_WORDS = (
    "the a an and or of to in on for with from at by is are was be we you i it our your this that yes no not can do"
    " have will please thank thanks hello hi"
)
_ENGLISH = frozenset(_ENGLISH_WORDS.split())
_NAMED = {
    "en": re.compile(r"по[- ]?английски|на английском|англійською|ағылшынша|\bin english\b|\benglish\b", re.IGNORECASE),
    "ru": re.compile(
        r"по[- ]?русски|на русском|російською|орысша|\bin russian\b|\brussian\b|po[- ]russki", re.IGNORECASE
    ),
    "uk": re.compile(r"по[- ]?украински|на украинском|українською|\bin ukrainian\b|\bukrainian\b", re.IGNORECASE),
    "kk": re.compile(r"по[- ]?казахски|на казахском|қазақша|казакша|\bin kazakh\b|\bkazakh\b", re.IGNORECASE),
    "other": re.compile(
        r"по[- ]?(?:немецки|французски|испански|итальянски|польски|турецки|узбекски|китайски|сербски|белорусски"
        r"|киргизски)"
        r"|на (?:немецком|французском|испанском|итальянском|польском|турецком|узбекском|сербском|белорусском"
        r"|киргизском)"
        r"|\bin (?:german|french|spanish|italian|polish|turkish|uzbek|serbian)\b",
        re.IGNORECASE,
    ),
}


def check(text: str, context: Context) -> Iterator[Finding]:
    """The finding, if the reply or a sentence of it is in a language that the client does not write or ask for."""
    spoken = languages(context)
    if "other" in spoken:
        return
    if "ru" in spoken and "en" not in spoken and (said := _in_english(text, context)):
        yield Finding("language", said[:_SHOWN])
        return
    known = frozenset(words_of("\n".join(_company(context)))) if "ru" in spoken else frozenset()
    text = without_links(text)
    if _is_all_foreign(text, evidence(text, known), spoken):
        yield Finding("language", text.strip()[:_SHOWN])
        return
    for piece in (text, *(match[0] for match in _SENTENCE.finditer(text))):
        if _is_foreign(evidence(piece, known), spoken):
            yield Finding("language", piece.strip()[:_SHOWN])
            return


def languages(context: Context) -> frozenset[str]:
    """The languages in which the client may be answered."""
    asked = "\n".join(line.text for line in context.question if line.words)
    earlier = "\n".join(line.text for line in context.history if line.sender == "client" and line.words)
    written = evidence(asked)
    spoken = _spoken(written) or _spoken(evidence(earlier)) or frozenset((context.language,))
    if written.get("en", 0) < _ENOUGH and not _spoken(evidence(earlier)):
        spoken |= {"ru"} if spoken == {"en"} else set()  # "ok" and "iPhone 15?" are written in every language
    if "translit" in spoken:
        spoken |= {"ru"}
    told = f"{asked}\n{context.instructions}"
    return spoken | {language for language, pattern in _NAMED.items() if pattern.search(told)}


def _spoken(found: Mapping[str, float]) -> frozenset[str]:
    most = max(found.values(), default=0)
    return frozenset(language for language, much in found.items() if much >= most * _MIXED_SHARE)


def _is_foreign(found: Mapping[str, float], spoken: frozenset[str]) -> bool:
    ours = sum(much for language, much in found.items() if language in spoken)
    foreign = max((much for language, much in found.items() if language not in spoken), default=0)
    return foreign >= _ENOUGH and foreign > ours * _CLEARLY


def _is_all_foreign(text: str, found: Mapping[str, float], spoken: frozenset[str]) -> bool:
    """Whether the text is in the other alphabet, and nothing in it speaks for the client's language."""
    if "ru" in spoken or found.keys() <= spoken or found.keys() & spoken:
        return False
    words = words_of(text)
    cyrillic = sum(word[0] > "\u0250" for word in words)
    return len(words) > 1 and (cyrillic * 2 > len(words) if spoken == {"en"} else not cyrillic)


def _in_english(text: str, context: Context) -> str:
    """The English words of the first sentence that is not Russian, apart from names and the conversation's words."""
    known = set(re.findall(r"[a-z]+", "\n".join([context.instructions, *_company(context)]).casefold()))
    for sentence in _SENTENCE_END.split(text):
        strange = [word for word in _latin_words(sentence) if word.casefold() not in known]
        plain = [word for word in strange if word.islower() and len(word) > 2]
        russian = len(_CYRILLIC_WORD.findall(sentence))
        english = len(plain) > 1 or any(word.casefold() in _ENGLISH for word in strange)
        if english and len(plain) >= russian:
            return " ".join(strange)
    return ""


def _latin_words(text: str) -> list[str]:
    words = (word for word in text.split() if not _LINK.search(word))
    return [word for text in words for word in re.findall(r"[A-Za-z]+", text)]


def _company(context: Context) -> Iterator[str]:
    for passage in context.knowledge:
        yield from (*passage.above, passage.heading, passage.text)
    yield from (value for _name, value in context.known)
    yield from (line.text for line in (*context.history, *context.question))
