"""Tells the languages of short texts: Russian, also in Latin letters, Ukrainian, Kazakh and English. No I/O.

By letters and by the commonest words, because the texts of a chat are a few words long. What is none of the four is
"other" if that can be told; a text of names and numbers has no language.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Set

_WORD = re.compile(r"[^\W\d_]+(?:['’ʼ][^\W\d_]+)?")
_PIECE = re.compile(r"\S+|\s+")
_LINK = re.compile(r"://|@|\w\.[a-z]{2}", re.IGNORECASE)

# The commonest words that only one of the languages has in this spelling.
_CYRILLIC_WORDS = {
    "ru": "и как что или есть нет когда где сколько стоит стоят можно нужно только если для при без уже ещё еще"
    " будет были"
    " был была это этот эта эти мы вы вас вам вами нас нам наш ваш ваша ваше ваши его её ее их он она они также"
    " чтобы после"
    " сегодня завтра пожалуйста спасибо здравствуйте добрый день привет цена размер размеры наличии доставим"
    " привезём привезем"
    " подскажите хочу хотите могу можем сожалению работаем работаете заказ заказать заказа города городу город"
    " очень почем здрасте"
    " скидка скидки нужен нужна самовывоз бесплатно бесплатный вот тоже понял поняла рублей рубля покупку возврат"
    " дней чек оплатить"
    " картой наличными адрес напишите уточните второй до скольки или ли меня мне вопрос чё ок беру под кто чем"
    " который товара товар"
    " сейчас всё все ждём отправим стирать пришлите отличается теплее так та бар ли",
    "uk": "і й та або чи що як є немає коли де скільки коштує коштують можна треба потрібно тільки якщо щоб вже"
    " ще буде був була"
    " це цей ця ці ми ви вас вам наш ваш ваша ваше її їх він вона вони також після сьогодні будь ласка дякую"
    " вітаю доброго добрий день"
    " ціна розмір наявності доставимо привеземо підкажіть хочу хочете можу можемо жаль працюємо працюєте"
    " замовлення замовити містом"
    " місті місто дуже знижка безкоштовно безкоштовний зрозумів зрозуміла протягом днів оплатити карткою готівкою"
    " адресу напишіть"
    " уточніть так вихідних гарантія рік зберігайте чекаємо вартість грн подивитись самовивіз колір синій актуальна",
    "kk": "бар жоқ жок және мен немесе қанша канша турады тұрады тұр қашан қайда кайда қалай калай керек болады"
    " болама бола ма ме ба"
    " бе па пе рахмет рақмет сәлеметсіз салеметсиз сәлем салем иә өкінішке орай бүгін бугин ертең ертен кейін"
    " кейин үшін ушин біз сіз"
    " сиз сізге маған баға бага бағасы багасы жеткізу жеткизу төлеуге алуға қайтаруға тауар тегін тегин күн кун"
    " ішінде ишинде қандай"
    " кандай мұндай осы бұл қала өлшем түс түстер айтыңызшы апарамыз жұмыс істейміз істейсіздер барма жатыр екен"
    " ғой гой",
    "other": "имате имамо имаме ли ћу кошта града граду сутра хвала што смо сте није се је су како где коштује"
    " молимо достава"
    " колькі каштуе ці ёсць няма калі дзякуй так вашага струва колко можем това как ще няма благодаря утре"
    " доставката града"
    " канча кандай турат жана менен үчүн рахматтар шаар ичинде болот",
}
_LATIN_WORDS = {
    "en": "the a an and or of to in on for with from at by is are was were be been we you i it its our your this"
    " that these those"
    " yes no not can could do does did have has had will would shall should please thank thanks hello hi hey what"
    " when where which who"
    " how much many if but there their they he she his her my me us as about any all also only more most some"
    " than then so up out"
    " one two day days price size delivery available unfortunately sorry ok get got take ship shipping pay card"
    " cash return returns"
    " within tomorrow today order free open every address tell bring outside is pickup warranty year receipt keep"
    " washable grey blue",
    "ru": "skolko stoit stoyat est net da kogda gde mozhno nuzhno zdravstvuyte zdravstvujte zdravstvuite privet"
    " spasibo dobryj dobryi"
    " dobry den dostavka dostavki dostavku cena ceny tsena tsenu cenu nalichii razmer razmera razmery pozhaluysta"
    " pozhaluista pozhalujsta"
    " podskazhite hochu khochu zakazat zakaz gorod goroda gorodu rabotaem rabotaete vy my nas vas vam nam"
    " nahodites kakie kakoj kakoy"
    " kakaya cveta cvet zavtra segodnya rublej rubley rub oplatit oplata kartoj kartoy ponyal ponyala sozhaleniyu"
    " takogo takoj"
    " eto dlya ili esli uzhe eshche esche budet privezem privezyom pochem cherez posle chto kak za po do na iz ot"
    " ne a no pled",
    "other": "der die das und ist sind nicht haben sie wir mit für ein eine kostet lieferung stadt guten tag"
    " danke bitte auch auf"
    " le la les des est sont nous vous avec pour une coûte livraison bonjour merci oui non dans votre"
    " el los las una es son tienen con para cuesta envío ciudad hola gracias por está usted"
    " il gli sono siamo con per consegna città aperti tutti giorni grazie buongiorno"
    " ve bir bu için teslimat şehir var mı merhaba teşekkürler evet ile"
    " jest są nie czy dla dostawa mieście kosztuje dzień dobry dziękuję proszę oraz się"
    " bormi qancha yetkazib berish salom rahmat shahar ichida va uchun bor",
}
_KAZAKH, _UKRAINIAN, _RUSSIAN = re.compile("[әғқңөұүһ]"), re.compile("[їєґ]"), re.compile("[ыэъё]")
_NEITHER = re.compile("[ўјљњћђџѓќ]|ъ[бвгджзклмнпрстфхцчшщ]")
_SHARED = re.compile("і")  # of Ukrainian, Kazakh and Belarusian
_LATIN_ACCENTS = re.compile("[ßäöüàâçéèêëîïôùûœñáíóúãõąćęłńśźżşğıøåæčřšžěů]|[og][‘ʻ`]")
_TRANSLIT = re.compile(
    r"(?:zh|kh|shch|sch|ya|yu|yj|ij|oj|aya|oye|iye|tsya|stv|zdr|vst)|(?:ogo|omu|ykh|ymi|ami|yat|ost|nyj|nyy|skij"
    r"|skiy)\Z"
)
_LETTERS_WEIGH = 1.5
_LANGUAGES = ("ru", "uk", "kk", "en", "translit", "other")


def _by_word(words: dict[str, str]) -> dict[str, Set[str]]:
    found: dict[str, set[str]] = {}
    for language, text in words.items():
        for word in text.split():
            found.setdefault(word, set()).add(language)
    return {word: frozenset(languages) for word, languages in found.items()}


_CYRILLIC, _LATIN = _by_word(_CYRILLIC_WORDS), _by_word(_LATIN_WORDS)


def evidence(text: str, known: Set[str] = frozenset()) -> Mapping[str, float]:
    """How much speaks for each language in a text: "ru", "uk", "kk", "en", "translit" and "other".

    known: words in lower case that tell nothing, such as names.
    """
    words = [word for word in words_of(text) if word not in known]
    cyrillic = _of_cyrillic([word for word in words if "\u0400" <= word[0] <= "\u04ff"])
    latin = _of_latin([word for word in words if word[0] < "\u0250"])
    both = {language: cyrillic[language] + latin[language] for language in _LANGUAGES}
    return {language: much for language, much in both.items() if much}


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, without links."""
    return _WORD.findall(without_links(text.casefold()))


def without_links(text: str) -> str:
    """The text without addresses of pages and mailboxes."""
    return "".join(piece for piece in _PIECE.findall(text) if not _LINK.search(piece))


def language_in(text: str) -> str:
    """The language of a text; "" if it cannot be told. Russian in Latin letters is "translit"."""
    found = evidence(text)
    return max(found, key=lambda language: found[language]) if found else ""


def _of_cyrillic(words: list[str]) -> defaultdict[str, float]:
    found = _counted(words, _CYRILLIC)
    kazakh, ukrainian, russian, neither, shared = (
        sum(bool(letters.search(word)) for word in words)
        for letters in (_KAZAKH, _UKRAINIAN, _RUSSIAN, _NEITHER, _SHARED)
    )
    found["kk"] += kazakh * _LETTERS_WEIGH + (shared if kazakh else 0)
    found["other"] += neither * 2 * _LETTERS_WEIGH + (shared * 2 if neither else 0)
    found["uk"] += ukrainian * _LETTERS_WEIGH + (0 if kazakh or neither else shared)
    if not (kazakh or neither or shared):
        found["ru"] += russian * _LETTERS_WEIGH / 2  # the others have some of these letters too
    return found


def _of_latin(words: list[str]) -> defaultdict[str, float]:
    found = _counted(words, _LATIN)
    found["translit"] = found.pop("ru", 0.0)
    if found["translit"] or not found["en"]:
        found["translit"] += sum(bool(_TRANSLIT.search(word)) for word in words if word not in _LATIN) / 2
    found["other"] += sum(bool(_LATIN_ACCENTS.search(word)) for word in words) * _LETTERS_WEIGH
    return found


def _counted(words: Iterable[str], of: Mapping[str, Set[str]]) -> defaultdict[str, float]:
    found: defaultdict[str, float] = defaultdict(float)
    for word in words:
        languages = of.get(word, frozenset())
        for language in languages:
            found[language] += 1 / len(languages)
    return found
