"""The addresses of accounts: read as a person types them, their hosts, and amoCRM's page for the consent."""

from urllib.parse import urlencode, urlsplit

from otvet.errors import UsageError
from otvet.i18n import _

ZONES = ("amocrm.ru", "amocrm.com", "kommo.com")
HERE = ("127.0.0.1", "localhost", "::1")


def account_address(typed: str) -> str:
    """The account's address from ``example``, ``example.amocrm.ru`` or any of its pages; UsageError if it is none.

    The token is sent to this address, so it must be amoCRM's; a stand-in on this machine is accepted too.
    """
    text = typed.strip().rstrip("/")
    if text.isascii() and text.replace("-", "").isalnum():
        text = f"{text}.{ZONES[0]}"
    try:
        parts = urlsplit(text if "://" in text else f"https://{text}")
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        host, port = "", None
    if host in HERE and port:
        return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{port}"
    name, _dot, zone = host.partition(".")
    if zone not in ZONES or not name.replace("-", "").isalnum() or name == "www":
        raise UsageError(
            _("{text} is no address of an account; it looks like example.amocrm.ru or example.kommo.com").format(
                text=typed
            )
        )
    return f"https://{host}"


def host_of(address: str) -> str:
    """The host of an address, with the port if it has one; ``address`` may be a host alone."""
    try:
        parts = urlsplit(address if "://" in address else f"//{address}")
        return parts.netloc.rpartition("@")[2].lower()
    except ValueError:
        return ""


def subdomain_of(base_url: str) -> str | None:
    """The account's name in its address; None for an address that is not amoCRM's, such as a stand-in."""
    name, _dot, zone = host_of(base_url).partition(".")
    return name if zone in ZONES else None


def is_same_account(address: str, base_url: str) -> bool:
    """Whether an address is the account's, in whichever zone: amocrm.com and kommo.com are one service."""
    name = subdomain_of(base_url)
    return host_of(address) == host_of(base_url) or (name is not None and subdomain_of(address) == name)


def is_exposed(url: str) -> bool:
    """Whether a request to this address crosses a network unencrypted."""
    parts = urlsplit(url)
    return parts.scheme == "http" and parts.hostname not in HERE


def consent_page(base_url: str, client_id: str, state: str) -> str:
    """The page on which an administrator allows the integration to use the account.

    Source: https://www.amocrm.ru/developers/content/oauth/step-by-step
    """
    zone = host_of(base_url).partition(".")[2]
    home = f"https://www.{zone}" if zone in ZONES else base_url
    # post_message: amoCRM redirects the window that shows the page, not the window that opened it.
    return f"{home}/oauth?" + urlencode({"client_id": client_id, "state": state, "mode": "post_message"})
