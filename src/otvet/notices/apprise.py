"""Sends notices by Apprise, which knows Telegram, e-mail and a hundred others: https://github.com/caronc/apprise."""

from collections.abc import Sequence


class ByApprise:
    """One notice to all of its addresses. The library is loaded when the first notice is sent."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses

    def send(self, title: str, body: str) -> bool:
        """Blocks while it sends. False if an address is not understood or did not take the notice."""
        import apprise

        sender = apprise.Apprise()
        understood = [sender.add(address) for address in self._addresses]
        return bool(sender.notify(body=body, title=title, body_format=apprise.NotifyFormat.TEXT)) and all(understood)
