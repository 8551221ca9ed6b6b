"""What a browser calls itself, in two words, so that people know their own sessions again."""

from otvet.i18n import N_, _

# In this order: each calls itself by the names of those below it as well.
BROWSERS = {
    "YaBrowser/": "Yandex",
    "Edg/": "Edge",
    "EdgA/": "Edge",
    "OPR/": "Opera",
    "SamsungBrowser/": "Samsung",
    "Firefox/": "Firefox",
    "FxiOS/": "Firefox",
    "CriOS/": "Chrome",
    "Chrome/": "Chrome",
    "Safari/": "Safari",
}
SYSTEMS = {
    "iPhone": "iPhone",
    "iPad": "iPad",
    "Android": "Android",
    "Windows": "Windows",
    "CrOS": "ChromeOS",
    "Mac OS X": "macOS",
    "Linux": "Linux",
}
UNKNOWN = N_("another program")


def spoken(user_agent: str) -> str:
    """Such as "Firefox, Windows"."""
    found = (next((name for mark, name in marks.items() if mark in user_agent), "") for marks in (BROWSERS, SYSTEMS))
    return ", ".join(filter(None, found)) or _(UNKNOWN)
