"""Knows sentences that models and their services write instead of an answer, in every language. No I/O."""

import re
from collections.abc import Iterable

_REFUSAL = re.compile(
    # GigaChat and YandexGPT
    r"у нейросетев\w+ языков\w+ модел|не люблю менять тему|совсем не хочу говорить на эту тему"
    r"|вопросе меня смущает|поговорим на другую тему"
    r"|(?:поговорим|поговорить) о ч[её]м-нибудь (?:ещ[её]|другом)|(?:давайте )?сменим тему"
    r"|не обладают собственным мнением|разговоры на (?:чувствительные|некоторые) темы"
    r"|(?:не могу|нельзя|не готов\w*|не буду|отказываюсь) (?:обсуждать|говорить|отвечать|общаться"
    r"|беседовать) на (?:эту|такую|подобн\w+|данн\w+) тем|не могу обсуждать эту тему"
    r"|много сайтов с информацией на эту тему|не могу (?:помочь|ответить)\w* (?:вам )?(?:с |на )?(?:этим |этот "
    r"|данным |данный |вашим |ваш |таким |такой )?(?:запрос\w*)"
    r"|не могу (?:выполнить|обработать|удовлетворить|предоставить ответ на) (?:этот |ваш |данный |такой )?запрос"
    r"|нарушает (?:правила|политику) (?:использования|безопасности|сервиса)"
    r"|не могу (?:созда(?:ва)?ть|генерировать|предоставить) (?:такой|подобн\w+|этот|данн\w+) (?:контент|материал"
    r"|текст|содержани)\w*"
    r"|не можу (?:допомогти|відповісти)\w* (?:вам )?(?:з |на )?(?:цим |цей )?запит\w*|бұл (?:сұрауға"
    r"|тақырып)\w*[^.!?]{0,30}(?:көмектесе алмаймын|талқылай алмаймын|жауап бере алмаймын)"
    # OpenAI, Anthropic, Google, Qwen and others
    r"|\b(?:can(?:'|’)?t|cannot|can not|unable to|not able to|won(?:'|’)t|will not) (?:assist|help|comply|engage"
    r"|fulfil\w*|complete|process|continue|proceed)\b[^.!?\n]{0,30}\b(?:that|this|request|topic|your request"
    r"|these)\b"
    r"|\b(?:can(?:'|’)?t|cannot|unable to|not able to) (?:discuss|talk about|provide|generate"
    r"|create)[^.!?\n]{0,30}\b(?:that topic|this topic|that content|this content|such content|that kind of"
    r"|this type of)"
    r"|\b(?:don(?:'|’)t|do not) feel comfortable\b|\bagainst my (?:guidelines|programming|policy|policies)\b"
    r"|\bviolates? (?:our|my|the) (?:content |usage |safety )?(?:polic|guideline)\w+",
    re.IGNORECASE,
)
_OTHER_REFUSAL = re.compile(
    r"не могу (?:это|такое|этого) обсуждать|не могу помочь с (?:этой|такой|данной|вашей) просьб"
    r"|на (?:эту|такую|данную) тем\w+ (?:я )?(?:говорить|общаться|отвечать|беседовать) не (?:буду|могу|хочу)"
    r"|\b(?:cannot|can(?:'|’)?t|unable to) provide (?:any )?(?:assistance|help) with (?:that|this)"
    r"|\b(?:must|have to) decline\b|\bflagged as (?:potentially|possibly|violating)|\busage polic(?:y|ies)\b",
    re.IGNORECASE,
)
_SHORT_REFUSAL = re.compile(
    r"\A\W*(?:(?:извините|простите|к сожалению|сожалею|увы|вибачте|на жаль|кешіріңіз|sorry|i(?:'|’)?m sorry"
    r"|i am sorry|i apologi[sz]e|apologies|unfortunately)\W+)?(?:но |but |however,? |але )?"
    r"(?:я )?(?:i )?(?:не могу (?:помочь с этим|на это ответить|с этим помочь|ответить на это|продолжить (?:этот "
    r"|данный )?разговор)"
    r"|не можу (?:з цим допомогти|допомогти з цим)|(?:can(?:'|’)?t|cannot|am unable to|(?:'|’)?m unable to"
    r"|am not able to) (?:assist|help)(?: (?:you )?(?:with|in) (?:that|this))?|(?:can(?:'|’)?t|cannot) (?:answer"
    r"|do) (?:that|this))\W*\Z",
    re.IGNORECASE,
)
_ERROR = re.compile(
    r"\A\W*(?:(?:api|внутренняя|системная|неизвестная|internal|server|system|network|runtime)\s+)?(?:ошибка|error"
    r"|exception|помилка|қате)\b(?:\s*(?:сервера|сети|api|генерации|запроса|code|\d{3}|server))*\s*[:.№#\d—-]"
    r"|\A\W*(?:произошла|возникла|случилась|сталася|an?)\s+(?:\w+\s+){0,2}(?:ошибка|помилка"
    r"|error)\s+(?:(?:occurred|has occurred|while)\b|при|во время|на стороне|сервера|обработк|генерац|під час)"
    r"|\A\W*(?:something went wrong|failed to (?:generate|fetch|get|connect|load|parse)|could not (?:generate"
    r"|connect)|unable to (?:generate|connect|reach)|request (?:timed out|failed)|timed? ?out\b"
    r"|connection (?:error|refused|reset|timed)"
    r"|превышен\w* (?:лимит|врем\w+ ожидания|квот\w+)|не удалось (?:сгенерировать|получить ответ"
    r"|обработать запрос|выполнить запрос)|сервис (?:временно )?(?:недоступен|перегружен)\W*(?:попробуй|повтори|\Z)"
    r"|модель (?:временно )?(?:недоступна|перегружена)"
    r"|the (?:model|server|service|engine) is (?:currently )?(?:overloaded|unavailable|busy|at capacity|loading)"
    r"|service (?:temporarily )?unavailable|too many requests|internal server error|bad gateway|gateway time-?out"
    r"|http(?: error)? [45]\d\d|[45]\d\d (?:internal|bad|service|gateway|too many|unauthorized|forbidden"
    r"|not found)"
    r"|traceback \(most)"
    r"|\b(?:rate.?limit(?:ed|s)? (?:exceeded|reached|error|hit)|quota (?:has been )?exceeded"
    r"|exceeded your (?:current )?quota|insufficient (?:balance|quota|funds|credits)|context.?length.?exceeded"
    r"|maximum context length|invalid.?api.?key|(?:лимит|квот)\w* (?:запросов|токенов)(?: к api)?|запрос\w* к api"
    r"|недостаточно (?:токенов|кредитов)|max(?:imum)?.?tokens)\b",
    re.IGNORECASE,
)
_OTHER_ERROR = re.compile(
    r"\A\W*(?:upstream (?:connect|request)|\[error\]|(?:(?:sorry|oops|извините|упс)\W+)?(?:something went wrong"
    r"|что-то пошло не так"
    r"|an? (?:\w+ )?error occurred)|(?:the )?(?:server|model|service) is (?:busy|overloaded)"
    r"|недостаточно средств на балансе\W*\Z"
    r"|you exceeded your)",
    re.IGNORECASE,
)
_SELF = re.compile(
    r"(?<!\w)я\s*[—–-]?\s*(?:просто |всего лишь |только )?(?:ии|нейросеть|искусственный интеллект)(?:\s*,"
    r"|\s+и\s+не|\s+и\s+поэтому)"
    r"|(?<!\w)мо(?:и|их) знани\w+ (?:ограничен|заканчива|обрыва)\w*|\bmy knowledge (?:is limited|ends|only goes)\b"
    r"|(?<!\w)(?:как|будучи|являясь|оскільки я|я\s?[—–-]?\s?(?:всего лишь |просто |лишь )?(?:большая "
    r"|это )?)(?:\s?(?:большая |ии-?)?(?:языковая|мовна|нейросетевая|языковой|языковою)\s?(?:модел\w+)?"
    r"|\s?(?:искусственн\w+ интеллект\w*|нейросеть\w*|нейронная сеть|ии-модел\w+|тілдік модель))"
    r"|(?<!\w)(?:(?:большая |большой )?языков(?:ая|ой|ую) модел(?:ь|и|ью)(?!\w)|large language model"
    r"|ai language model|language model|мовн\w+ модел\w+|тілдік модел\w+)|\bas an? (?:ai|artificial intelligence"
    r"|llm)\b|\b(?:i am|i(?:'|’)m) (?:just |only )?an? (?:ai|artificial intelligence|llm)\b(?! assistant (?:of"
    r"|for|at))"
    r"|(?<!\w)(?:я|меня зовут|мене звати|моё имя|i(?:'|’)m|i am|my name is"
    r"|this is)\b[^.!?\n\w]{0,5}(?:[^\W\d_]+\W+){0,3}?(?:qwen|chatgpt|gpt-?[3-9]\w*|claude|deepseek|gemini|gemma"
    r"|llama|mistral|gigachat|гигачат|yandexgpt|alice|kimi|grok|chatglm|copilot)\b"
    r"|(?<!\w)(?:я|меня|мене|i|me|мной)\b[^.!?\n]{0,60}(?:разработан\w*|создан\w*|создал\w*|обуч\w+|developed"
    r"|created|trained|made|built)[^.!?\n]{0,30}(?:openai|anthropic|alibaba|google|deepseek|яндекс\w*|сбер\w*"
    r"|mistral|meta|microsoft|moonshot|xai|zhipu)"
    r"|\b(?:my (?:training data|knowledge cut-?off)|knowledge cut-?off)\b|(?<!\w)мо(?:и|ей|их"
    r"|ём) (?:обучающ\w+ данн\w+|данн\w+ обучени\w+|обучени\w+)|(?<!\w)дат\w+ (?:отсечки|среза) (?:моих )?знаний",
    re.IGNORECASE,
)
_TOLD = re.compile(
    r"(?<!\w)баз\w+ знаний|(?<!\w)баз\w+ знань|білім базас\w*|(?<!\w)(?:предоставленн|переданн|наданн|приведённ"
    r"|приведенн)\w+ (?!ва[мш])(?:мне )?(?:контекст\w*|информаци\w+|данн\w+|текст\w*|документ\w*|материал\w*"
    r"|фрагмент\w*|сведени\w+|інформаці\w+|контекст\w*|даних)"
    r"|(?<!\w)(?:в|из) (?:моём |моем |данном |текущем |этом |доступном )?контекст[еа](?: (?:нет|не|отсутств"
    r"|указан|сказан)\w*|[,.]| диалога| разговора)|(?<!\w)контекст не содержит|системн\w+ (?:промпт|инструкци"
    r"|сообщени)\w*|(?<!\w)промпт\w*"
    r"|(?<!\w)мо(?:и|их|им|ими|ей|ю) инструкци\w+|(?<!\w)(?:по|согласно) инструкци\w+,? (?:я|мне)"
    r"|мне (?:запрещено|не разрешено|предписано|велено) (?:инструкци|говорить|отвечать|раскрывать|обсуждать)\w*"
    r"|\bthe context (?:do(?:es)?(?:n(?:'|’)t)?|has|contains?|provides?|says?)\b|\bknowledge base\b"
    r"|\bprovided (?:context|information|knowledge|documents?|passages?|text|data|materials?"
    r"|excerpts?)\b|\b(?:context|documents?|passages?|information) (?:i was |you(?:'ve| have)? "
    r"|that was )?(?:given|provided)\b"
    r"|\b(?:in|from) (?:the|my) (?:given |available |current )?context\b|\bsystem (?:prompt|message"
    r"|instructions?)\b|\bmy (?:instructions|prompt|guidelines|system)\b|</?knowledge>|</?known>",
    re.IGNORECASE,
)
_SOURCE = re.compile(
    r"контекст|баз\w+ знан|предоставленн(?!\w* ва[мш])|переданн\w+ мне|knowledge|\bcontext\b|\bprovided\b|<"
    r"|білім базас",
    re.IGNORECASE,
)
_TOLD_BEFORE = re.compile(
    r"(?:\A|(?<=[.!?…]\s)|(?<=\n))(?:согласно|судя по|исходя из|на основ\w+|опираясь на|по|как указано в"
    r"|в соответствии с|відповідно до"
    r"|згідно з|according to|based on|as per|from|per)\s(?P<source>[^,:\n.!?]{0,80})[,:]\s*(?P<next>\S)"
    r"|(?:\A|(?<=[.!?…]\s)|(?<=\n))(?:согласно|исходя из|на основ\w+|опираясь на"
    r"|по)\s(?P<short>предоставленн\w+ (?!ва[мш])\w+|баз\w+ знаний)\s(?P<then>\S)"
    r"|(?:\A|(?<=[.!?…]\s)|(?<=\n))(?:в|у)\s(?P<where>(?:\w+\s)?(?:баз\w+ знан\w+|контекст\w*))\s(?:указано"
    r"|сказано|написано|говорится|есть информация|вказано),? (?:что|о том, что|що)\s(?P<that>\S)",
    re.IGNORECASE,
)
_HIDDEN = re.compile(
    r"плейсхолдер\w*|placeholder\w*|заполнител\w+|заглушк\w+ (?:вместо|на месте)|(?<!\w)(?:номер|телефон|почт\w"
    r"|адрес|данные|карт\w|e-?mail|паспорт)[^.!?\n]{0,40}(?:замаскирован|скрыт|зашифрован|заменен|заменён"
    r"|обезличен)\w*"
    r"|(?:замаскирован|скрыт|зашифрован|обезличен)\w* (?:номер|телефон|почт|адрес|данн|e-?mail)\w*|\b(?:phone"
    r"|number|e-?mail|card|data|address|details)\b[^.!?\n]{0,40}\b(?:masked|redacted|hidden|anonymi[sz]ed"
    r"|replaced with)\b|\b(?:masked|redacted|anonymi[sz]ed) (?:phone|number|e-?mail|card|data|details)\b"
    r"|(?<!\w)(?:код|метк|обозначени|токен)\w* (?:вида |вместо )?\[?(?:phone|email|card|телефон)|замаскован\w*"
    r"|прихован\w+ (?:номер|телефон|пошт)\w*",
    re.IGNORECASE,
)

# What is said of the model's own work, by the kind of the finding.
_KINDS = (("itself", _SELF), ("told", _TOLD), ("placeholder", _HIDDEN))


def is_refusal(text: str) -> bool:
    """Whether the text is a model's stock refusal."""
    return bool(_REFUSAL.search(text) or _OTHER_REFUSAL.search(text) or _SHORT_REFUSAL.match(text))


def is_error(text: str, question: str) -> bool:
    """Whether the text is a program's error; not if the client asks about an error."""
    return bool(_ERROR.search(text) or _OTHER_ERROR.search(text)) and not re.search(
        r"ошибк|error|помилк|лимит|limit", question, re.IGNORECASE
    )


def without_source(text: str) -> str:
    """The text without "According to the knowledge base, " and the like at the beginning of a sentence."""

    def cut(match: re.Match[str]) -> str:
        source = match["source"] or match["short"] or match["where"]
        first = match["next"] or match["then"] or match["that"]
        return first.upper() if _SOURCE.search(source) else match[0]

    return _TOLD_BEFORE.sub(cut, text)


def of_its_work(text: str, said: Iterable[str]) -> tuple[str, str] | None:
    """What the text says of the model or of what it was told, as (kind, piece); None if it says nothing of it.

    said: the texts of the conversation and of the company; what they name may be named.
    """
    for kind, pattern in _KINDS:
        for match in pattern.finditer(text):
            piece = " ".join(match[0].casefold().split())
            if not any(piece in " ".join(one.casefold().split()) for one in said):
                return kind, match[0].strip()
    return None
