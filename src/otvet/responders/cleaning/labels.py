"""Cuts off what a model writes around its answer: labels, preambles, an invented dialogue, notes, citations. No I/O."""

import re

_WHO = (
    r"ии(?:-ассистент|-помощник)?|ассистент|помощник|бот|чат-?бот|менеджер|оператор|консультант|продавец"
    r"|администратор|ai(?: assistant)?|bot|chatbot|assistant"
    r"|manager|agent|support|operator|model|асистент|помічник|көмекші"
)
_WHAT = (
    r"(?:вариант|пример|текст) ответа|(?:итоговый |финальный |готовый |черновой |мой |возможный |краткий )?ответ"
    r"|черновик(?: ответа)?"
    r"|текст (?:ответа|сообщения|для клиента)|сообщение"
    r"|реплика|(?:final |draft |suggested |proposed |possible |my )?(?:reply|response|answer|draft|output)"
    r"|message|відповідь|жауап"
)
_FOR_WHOM = (
    r"(?: (?:клиент[уа]|покупател[юя]|пользовател[юя]|для (?:клиента|покупателя|пользователя)|менеджера|бота"
    r"|ассистента|на вопрос(?: клиента)?"
    r"|to (?:the )?(?:client|customer|user)|for (?:the )?(?:client|customer|user)|клієнту|для клієнта|клиентке"
    r"|клиентке?))?"
)
_LABEL = re.compile(
    rf"\A[\W_]{{0,4}}(?:(?:{_WHO})"
    rf"|(?:{_WHAT}){_FOR_WHOM})(?:\s*\([^()\n]{{0,40}}\))?\s*(?:[\]\)»”*_]{{0,3}}\s*:[*_]{{0,3}}|[\]】]\s*:?)\s*",
    re.IGNORECASE,
)
_ROLE_LINE = re.compile(r"\A\s*(?:assistant|model|bot|ai|ассистент|бот)\s*\n", re.IGNORECASE)
_INSTRUCT_LABEL = re.compile(r"\A[\s#]*(?:response|answer|ответ|output)\s*:?\s*\n", re.IGNORECASE)
_PREAMBLE = re.compile(
    r"\A[\W_]{0,3}(?:(?:конечно|хорошо|отлично|готово|понял[аи]?|принято|разумеется|да|ок|sure(?: thing)?"
    r"|certainly|of course|okay|ok|absolutely|great|done"
    r"|звісно|добре|готово)\s*[!.,—-]*\s+){0,2}"
    r"(?:(?:вот|ниже|предлагаю|подготовил[аи]?|составил[аи]?|here(?:'s|’s| is| are)|below is|this is|i(?:'ve|’ve"
    r"| have)? (?:prepared|drafted|written)|ось|міне)"
    r"(?![^\W_])[^\n:]{0,60}?(?:ответ\w*|черновик\w*|текст\w* (?:для|сообщ)\w*|сообщени\w* (?:для|клиент)\w*"
    r"|reply|response|answer|draft"
    r"|message (?:to|for) (?:the )?(?:client|customer)|відповід\w*|жауап\w*)[^\n:]{0,60}"
    r"|(?:я бы |what i would |here(?:'s|’s| is) what i would |вот как я бы |можно |предлагаю |i would |you (?:can"
    r"|could) |we can )(?:\w+ ){0,2}(?:ответи\w+|отвечу|написать"
    r"|reply|answer|respond|say|write)(?: (?:\w+ ?){1,3})?)"
    r"\s*:[*_]{0,3}\s*",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"\A(?:«([^«»]+)»|“([^“”]+)”|\"([^\"]+)\"|„([^„“]+)“)\.?\Z", re.DOTALL)

_CLIENT = (
    r"клиент(?:ка)?|покупатель(?!\s*:\s*(?:ооо|ип|ао)\b)|пользователь|user|client|customer|human|клієнт|покупець"
    r"|тұтынушы|вопрос(?: клиента)?|question"
)
_CLIENT_LINE = re.compile(
    rf"(?:^|\n)[\W_]{{0,4}}(?:{_CLIENT})(?:\s*\d)?\s*(?:\([^()\n]{{0,30}}\))?[\]\)*_]{{0,3}}\s*(?::|\n)|(?:^"
    rf"|\n)\s*(?:###\s*(?:instruction|user)\b|system\s*\n|q:\s)",
    re.IGNORECASE,
)
_OUR_LINE = re.compile(
    rf"^[\W_]{{0,4}}(?:(?:{_WHO})|(?:{_WHAT}){_FOR_WHOM}|a)[\]\)*_]{{0,3}}\s*(?::[*_ ]*|\n)",
    re.IGNORECASE | re.MULTILINE,
)

_OF_THE_ANSWER = (
    r"(?:этот |данный |мой )?ответ\w* (?:был |была )?(?:составлен|основан|сгенерирован|дан|подготовлен"
    r"|сформирован|создан|написан|опира|учитыва|соответств|построен|не содерж|должен)\w*"
    r"|баз\w+ знаний|контекст\w* |предоставленн\w+|промпт\w*|инструкци\w+ (?:не|запрещ|указ|магазин|компани)"
    r"|в ответе|тон\w* ответа|если клиент|клиент\w* (?:спраш|спрос|не указ|хо[чт]|интерес|прос|пиш|написал)\w*"
    r"|клиенту\b|ответ\w* (?:коротк|кратк)\w*|(?:указано|сказано) в инструкци\w*|as (?:instructed|requested)"
    r"|\bi (?:kept|used|avoided)\b"
    r"|уточните у |данных (?:о|по) .{0,40}нет|нет (?:данных|информации)"
    r"|\b(?:this|the|my) (?:reply|response|answer|message) (?:is|was|has|follows|uses|stays|keeps|avoids|does)"
    r"|knowledge base|provided|\bcontext\b|\bprompt\b|the (?:client|customer|user)\b|\btone\b"
    r"|відповідь (?:складен|сформован|базу)\w*|баз\w+ знань|білім базас\w*"
)
_NOTE = re.compile(
    r"\A[\W_]*(?:(?:примечани\w+|пояснени\w+|комментари\w+|заметк\w+|справка|обоснование|источник\w*|важно"
    r"|внимание|note|notes|explanation|comment|rationale|reasoning|disclaimer|sources?"
    r"|примітка|пояснення|ескертпе|ескерту|p\.?\s?s\.?|n\.?b\.?)\b[^\n:]{0,40}[:—.]?(?=[\s\S]*?(?:"
    + _OF_THE_ANSWER
    + r"))"
    r"|(?:источник\w*|sources?|обоснование|rationale|reasoning|confidence|уверенность|action|intent)"
    r"\W{0,3}:\s"
    r"|коллеги\b[,!]|(?:p\.?\s?s\.?\s+)?(?:(?:заметка|комментарий|примечание|пометка|note|comment)s?\s+)?(?:для "
    r"|к |to |for )?(?:the "
    r"|our )?(?:менеджер[уа]|оператор[уа]|коллег(?:а|е|и)|сотрудник(?:а|у|ов)|manager|operator|staff"
    r"|internal(?: use| note)?|служебн\w+(?: пометка| заметка)?|внутренн\w+ (?:заметка|комментарий"
    r"|пометка))\b(?!\w)[^\n:]{0,30}:)",
    re.IGNORECASE,
)
_BRACKETED = re.compile(r"\A[\s*_]*[(\[]([^()\[\]]{8,600})[)\]][\s*_.]*\Z", re.DOTALL)
_ABOUT = re.compile(_OF_THE_ANSWER, re.IGNORECASE)
_BRACKET_NOTE = re.compile(
    rf"\s*[(\[](?=[^()\[\]\n]{{0,300}}(?:{_OF_THE_ANSWER}))[^()\[\]\n]{{8,300}}[)\]]", re.IGNORECASE
)
_SAYS_OF_ITSELF = re.compile(
    r"\A[\s*_(]*(?:этот |данный )?ответ\w* (?:составлен|основан|сгенерирован|подготовлен|сформирован|написан"
    r"|соответствует инструкц|учитывает инструкц|не содержит)"
    r"|\A[\s*_(]*th(?:is|e) (?:reply|response|answer) (?:(?:is|was) (?:based|written|generated|short|kept"
    r"|intended|drafted)"
    r"|follows|uses|stays|keeps|avoids)\b",
    re.IGNORECASE,
)
_OFFER = re.compile(
    r"\A[\s*_(]*(?:если (?:нужно|хотите|требуется|необходимо)|при необходимости|могу|хотите|нужно ли"
    r"|would you like|let me know|if you(?:'d| would)? (?:like|need|want)|i can|feel free)"
    r"[^.!?\n]*?(?:(?:измен|скоррект|поправ|правк|сократ|перепи|переформул|адаптир|сдела"
    r"|подгот)\w*[^.!?\n]*(?:ответ|(?<!\w)тон\b|короче|официальн|формулировк)\w*"
    r"|(?:adjust|shorten|rewrite|revise|rephrase|tweak|edit|modify|chang)\w*[^.!?\n]*(?:reply|response|answer"
    r"|this message|tone|draft|wording)\w*|make (?:it|this|the \w+) (?:shorter|more (?:formal|friendly|concise)"
    r"|less formal|longer))[^.!?\n]*[.!?)*_\s]*\Z",
    re.IGNORECASE,
)
_ASKED = re.compile(r"вопрос|высп(?:росили|рашива)|вызадал|вопросклиента|youasked|question|запитання|сұрақ")
_SOURCES = re.compile(
    r"\n\s*\W*(?:источник\w*|sources?|references|ссылки)\W*(?:\n\s*[\[\d•*-][^\n]*)+\s*\Z",
    re.IGNORECASE,
)
_SENTENCE_GAP = re.compile(r"(?<=[.!?…])\s+(?=\S)")

_CITATION = re.compile(
    r"\s?(?:【[^【】\n]{0,60}】|〖[^〖〗\n]{0,60}〗|\ue200[^\ue201]{0,80}\ue201|\bcite(?:turn\d+\w+)+|\bturn\d+(?:search"
    r"|file|view)\d+"
    r"|\[\^?\d{1,2}(?:\s*[,–-]\s*\d{1,2})*\](?![(\w])|\[(?:doc|source|источник|ист\.|passage|ref"
    r"|см\.)\s*[\w.:№ /-]{0,60}\]"
    r"|\((?:источник\w*|source|см\. файл|из файла)\s*:?\s*[^()\n]{0,60}\)"
    r"|[\[(][\w-]{2,40}\.md(?:\s*>\s*[^\])\n]{1,60})?[\])]"
    r"|</?(?:cite|ref|citation|source)\b[^<>\n]*>)",
    re.IGNORECASE,
)
_BEGINS_LINE = re.compile(r"\A(?:\[\d|\(\d)")


def answer_alone(text: str, question: str) -> str:
    """The answer without labels, preambles, an invented dialogue, the question and notes; empty if nothing is left.

    question: the client's messages.
    """
    text, introduced = _without_labels(_before_dialogue(text.strip(), question))
    text = _without_question(text, question)
    text, labelled = _without_labels(text)
    text = _without_notes(text)
    if introduced or labelled:
        quoted = _QUOTED.match(text)
        text = next(filter(None, quoted.groups()), "") if quoted else text
    return text.strip()


def without_citations(text: str) -> str:
    """The text without references to where a fact stands."""
    text = _SOURCES.sub("", text)
    kept = "\n".join(line if _BEGINS_LINE.match(line.strip()) else _CITATION.sub("", line) for line in text.split("\n"))
    return re.sub(r"\s+([.,!?;:])(?=\s|\Z)", r"\1", kept) if kept != text else text


def _without_labels(text: str) -> tuple[str, bool]:
    """The text without what announces it, and whether there was any."""
    whole = text
    for _ in range(3):
        for pattern in (_PREAMBLE, _LABEL, _ROLE_LINE, _INSTRUCT_LABEL):
            if (match := pattern.match(text)) and text[match.end() :].strip():
                text = text[match.end() :].lstrip()
    return text, text != whole


def _before_dialogue(text: str, question: str) -> str:
    """The text up to the line where the model writes for the client too.

    If it begins with the client's line, the answer is what our line below says.
    """
    first = _CLIENT_LINE.match(text)
    if first:
        ours = _OUR_LINE.search(text, first.end())
        text = text[ours.end() :] if ours else _below_first_line(text, question)
    later = _CLIENT_LINE.search(text, 1)
    return text[: later.start()].rstrip() if later and text[: later.start()].strip() else text


def _below_first_line(text: str, question: str) -> str:
    line, _break, rest = text.partition("\n")
    return rest if _signs(line).endswith(_signs(question)) else text


def _without_question(text: str, question: str) -> str:
    """The text without the client's question at its beginning."""
    asked = _signs(question)
    if len(question.split()) < 4 and not ("?" in question and len(question.split()) > 1):
        return text
    for match in re.finditer(r"[.!?…]+[\"»”*_]*\s+|\n+", text):
        said = _signs(text[: match.start()])
        if len(said) > len(asked) + 20:
            break
        if text[: match.start()].rstrip().endswith(":"):
            continue  # a heading in the question's words
        if said == asked or (said.endswith(asked) and _ASKED.match(said)):
            return text[match.end() :].lstrip()
    return text


def _without_notes(text: str) -> str:
    """The text without paragraphs and last sentences that speak to staff, or of the answer itself."""
    text = _BRACKET_NOTE.sub("", text)
    parts = re.split(r"(\n\s*)", text)
    kept = [part for part in parts if not part.strip() or not _is_note(part)]
    text = "".join(kept).strip()
    sentences = _SENTENCE_GAP.split(text)
    while len(sentences) > 1 and (_OFFER.match(sentences[-1]) or _SAYS_OF_ITSELF.match(sentences[-1])):
        sentences.pop()
        text = text[: text.rindex(sentences[-1]) + len(sentences[-1])]
    return text


def _is_note(part: str) -> bool:
    bracketed = _BRACKETED.match(part)
    return bool(
        _NOTE.match(part)
        or _OFFER.match(part)
        or _SAYS_OF_ITSELF.match(part)
        or (bracketed and _ABOUT.search(bracketed[1]))
    )


def _signs(text: str) -> str:
    return "".join(filter(str.isalnum, text)).casefold()
