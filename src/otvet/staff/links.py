"""Addresses of amoCRM's own pages."""


def deal(base_url: str | None, lead_id: int | None) -> str | None:
    """The deal's page in amoCRM; None while the account or the deal is not known."""
    return None if base_url is None or lead_id is None else f"{base_url.rstrip('/')}/leads/detail/{lead_id}"
