"""From what people write to what is searched: Russian and English words without their endings."""

import re

import Stemmer

_ADDRESS = re.compile(r"\bhttps?://\S+|\b[\w-]+(?:\.[\w-]+)*\.[a-z]{2,}(?:/\S*)?", re.IGNORECASE)
_GREETING = re.compile(
    r"\b(?:добр\w+ (?:день|дня|утро|утра|вечер|вечера|ночи|времени суток)|меня зовут \w+"
    r"|good (?:morning|day|afternoon|evening)|my name is \w+)"
)
_WORD = re.compile(r"[^\W_]+")
_LATIN = re.compile(r"[a-z]+")
_NOT = re.compile(r"n['’]t\b")
_TIMES = re.compile(r"(?<=\d)[xх*](?=\d)")

_QUESTION_WORDS = frozenset(
    "где куда откуда когда сколько как почему зачем where when how who why".split()
)

# What a question is built of, but not what it is about.
_SKIPPED = _QUESTION_WORDS | frozenset(
    """
    а бы был была были было быть в вам вами вас ваш ваша ваше вашего вашей вашем ваши вашу во вообще вот все всё
    вы да для до его ее если есть еще ж же за здесь и из или им имеется их к каждый какая какие каким каких какого
    какое какой какую ко кого которая которое которого которые который ли либо кто лучше меня мне мной моего моей моем
    моему моим моими моих мои мой моя мое мою можем может можете можно мы на над нам нами нас наш него нее нет ни
    них но ну о об он она они оно от отчего очень перед по под пока после при примерно про просто раз с сам сама сами
    самой самому свой своего своей своем своим своих своя свои себе сейчас со совсем так такая такие такое такой там тебе
    тебя то тогда того тоже той только том тот ту тут ты у уж уже чего чей чем через что чтобы эта эти это этим
    этих этого этой этом этот эту я

    нужен нужна нужно нужны надо необходимо хочу хочется хотел хотела хотели хотим хотелось могу могла могли мог
    смогу сможете буду будет будете будут дайте дать дадите даете дают делать делаете делаю сделать сделаете получится
    бывает бывают взять возьму возможен возможна возможно возможны

    здравствуйте здраствуйте здравствуй привет приветствую добрый
    подскажите подскажете подскажи скажите скажи расскажите сообщите ответьте ответ ответа жду помогите помочь
    пожалуйста пожалуста плиз пжл пож спасибо благодарю благодарен благодарна заранее извините простите
    интересует интересуют интересно вопрос вопросик узнать уточнить уточните понять знать знаете видите именно кстати
    скок скока типа короче ок окей ага алло хорошо понятно ясно че чо щас

    a about am an and any are as at be been but by ca can could did do does for from get got had has have hello hey hi i
    if in into is it its just know like may me much my need no of on or our please should so some tell than thank
    thanks that the their them then there these they this to us want was we were what which will with wo would yes you your
    """.split()
)

_NEGATIONS = frozenset(("не", "not"))

# "And how much is it?" asks about something said earlier, which is not searched.
_WITHOUT_SUBJECT = frozenset("стоит стоят стоить стоимость почем дорого дешево cost costs".split())

# Different words for one thing in every shop.
_SAME = (
    "цена цены стоит стоят стоимость почем",
    "доставка привезти привезете привезут везете привозите",
    "возврат вернуть верну вернете возвращать",
    "оплата оплачивать платить заплатить",
    "заказ заказывать",
    "обмен обменять обменивать поменять",
    "отмена отменить отменять",
    "купить покупка приобрести",
    "забрать заберу забирать самовывоз",
    "адрес находитесь расположены",
    "покупатель клиент",
    "упаковка упаковать",
    "price prices cost costs",
    "delivery deliver ship shipping",
)

# Snowball keeps доставк-, доставля- and достав- apart; cutting these brings them together.
_TAILS = "ыва ива ова ичн ийн лен ени ля ск ен ан ик ок ек л к а я и".split()
_SHORTEST_ROOT = 4

_russian = Stemmer.Stemmer("russian")
_english = Stemmer.Stemmer("english")


def words(text: str) -> list[str]:
    """The words that say what a text is about, in their order and folded to one spelling.

    "Not" becomes a part of its word: who writes that a parcel has not come does not ask how parcels come.
    """
    found = []
    negated = ""
    for word in _all_words(text):
        if word in _NEGATIONS:
            negated = word
        elif word not in _SKIPPED:
            found.append(negated + word)
            negated = ""
    return [] if _WITHOUT_SUBJECT.issuperset(found) else found


def question_words(text: str) -> list[str]:
    """Where, when, how: they do not say what is asked about, but tell two passages about it apart."""
    return [word for word in _all_words(text) if word in _QUESTION_WORDS]


def stem(word: str) -> str:
    """A word without its ending."""
    return str((_english if _LATIN.fullmatch(word) else _russian).stemWord(word))


def family(stem: str) -> str:
    """One name for a stem and its nearest relatives."""
    root = _root(stem)
    return _FAMILIES.get(root, root)


def _all_words(text: str) -> list[str]:
    text = _ADDRESS.sub(" ", text.casefold().replace("ё", "е"))
    text = _TIMES.sub(" ", _NOT.sub(" not", text))
    return _WORD.findall(_GREETING.sub(" ", text))


def _root(stem: str) -> str:
    for tail in _TAILS:
        if stem.endswith(tail) and len(stem) - len(tail) >= _SHORTEST_ROOT:
            return stem.removesuffix(tail)
    return stem


_FAMILIES = {_root(stem(word)): _root(stem(group.split()[0])) for group in _SAME for word in group.split()}
