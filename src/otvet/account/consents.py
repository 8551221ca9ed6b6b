"""Requests for consent: each is answered once, within twenty minutes, at ``GET /oauth/amocrm`` or by hand."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.account.vault import Vault
from otvet.amocrm.addresses import consent_page
from otvet.amocrm.token import Keys
from otvet.storage import keyvalue
from otvet.storage.engines import UtcDateTime, metadata

consents = sa.Table(
    "consents",
    metadata,
    sa.Column("state", sa.Text, primary_key=True),  # a digest: a reader of the table cannot answer in amoCRM's name
    sa.Column("base_url", sa.Text, nullable=False),
    sa.Column("client_id", sa.Text, nullable=False),
    sa.Column("client_secret", sa.Text, nullable=False),  # encrypted
    sa.Column("redirect_url", sa.Text, nullable=False),
    sa.Column("ends_at", UtcDateTime, nullable=False),
    sa.Column("answered_at", UtcDateTime),
    sa.Column("given", sa.Boolean),  # null while the request is open
    sa.Column("sentence", sa.Text),  # the result, for the person who waits
)

PATH = "/oauth/amocrm"
LAST_CODE = "amocrm_last_code"
GOOD_FOR = timedelta(minutes=20)  # amoCRM's own limit for the code


@dataclass(frozen=True, slots=True)
class Asked:
    """An open request for consent. ``url``: amoCRM's page where an administrator gives it."""

    state: str
    url: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a request for consent."""

    given: bool
    sentence: str


def ask(connection: Connection, vault: Vault, base_url: str, keys: Keys, now: datetime) -> Asked:
    """Store a new request for consent."""
    connection.execute(consents.delete().where(consents.c.ends_at < now - timedelta(days=1)))
    state = secrets.token_urlsafe(32)
    connection.execute(
        consents.insert().values(
            state=_digest(state),
            base_url=base_url,
            client_id=keys.client_id,
            client_secret=vault.seal(keys.client_secret),
            redirect_url=keys.redirect_url,
            ends_at=now + GOOD_FOR,
        )
    )
    return Asked(state, consent_page(base_url, keys.client_id, state))


def answer_to(connection: Connection, state: str) -> Answer | None:
    """The result of the request; None while it is open."""
    row = connection.execute(sa.select(consents).where(consents.c.state == _digest(state))).one_or_none()
    return None if row is None or row.given is None else Answer(row.given, row.sentence)


def take(connection: Connection, state: str, now: datetime) -> sa.Row[tuple[object, ...]] | None:
    """Claim the request in order to answer it; None if it is unknown, expired or claimed already."""
    mine = sa.and_(consents.c.state == _digest(state), consents.c.answered_at.is_(None), consents.c.ends_at > now)
    if not connection.execute(consents.update().where(mine).values(answered_at=now)).rowcount:
        return None
    return connection.execute(sa.select(consents).where(consents.c.state == _digest(state))).one()


def note(connection: Connection, state: str, answer: Answer) -> None:
    """Store the result of the request."""
    here = consents.c.state == _digest(state)
    connection.execute(
        # The integration's secret is in the settings by now, or not needed any more.
        consents.update().where(here).values(given=answer.given, sentence=answer.sentence, client_secret="")
    )


def remember_code(connection: Connection, base_url: str, client_id: str, code: str) -> None:
    """Store a digest of the code that the present consent came from."""
    keyvalue.note(connection, LAST_CODE, _of_code(base_url, client_id, code))


def came_from(connection: Connection, base_url: str, client_id: str, code: str) -> bool:
    """Whether the present consent came from this code; such a code must not be exchanged again.

    An OAuth server may take a code that comes twice for a stolen one, and withdraw the tokens it gave for it.
    Source: RFC 6749, 4.1.2
    """
    return keyvalue.recall(connection, LAST_CODE) == _of_code(base_url, client_id, code)


def _of_code(base_url: str, client_id: str, code: str) -> str:
    return _digest(f"{base_url} {client_id} {code}")


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
