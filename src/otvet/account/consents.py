"""Consents that were asked for: each is answered once, within twenty minutes, at ``GET /oauth/amocrm`` or by hand."""

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
    sa.Column("state", sa.Text, primary_key=True),  # a digest: who reads the table cannot answer for amoCRM
    sa.Column("base_url", sa.Text, nullable=False),
    sa.Column("client_id", sa.Text, nullable=False),
    sa.Column("client_secret", sa.Text, nullable=False),  # sealed
    sa.Column("redirect_url", sa.Text, nullable=False),
    sa.Column("ends_at", UtcDateTime, nullable=False),
    sa.Column("answered_at", UtcDateTime),
    sa.Column("given", sa.Boolean),  # unknown while it is open
    sa.Column("sentence", sa.Text),  # what came of it, for who waits
)

PATH = "/oauth/amocrm"
LAST_CODE = "amocrm_last_code"
GOOD_FOR = timedelta(minutes=20)  # amoCRM's own limit for the code


@dataclass(frozen=True, slots=True)
class Asked:
    """A consent that is waited for: ``url`` is the page where it is given."""

    state: str
    url: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a consent."""

    given: bool
    sentence: str


def ask(connection: Connection, vault: Vault, base_url: str, keys: Keys, now: datetime) -> Asked:
    """Begin to wait for a consent."""
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
    """What came of it; None while it is open."""
    row = connection.execute(sa.select(consents).where(consents.c.state == _digest(state))).one_or_none()
    return None if row is None or row.given is None else Answer(row.given, row.sentence)


def take(connection: Connection, state: str, now: datetime) -> sa.Row[tuple[object, ...]] | None:
    """The consent, for the one caller who answers it."""
    mine = sa.and_(consents.c.state == _digest(state), consents.c.answered_at.is_(None), consents.c.ends_at > now)
    if not connection.execute(consents.update().where(mine).values(answered_at=now)).rowcount:
        return None
    return connection.execute(sa.select(consents).where(consents.c.state == _digest(state))).one()


def note(connection: Connection, state: str, answer: Answer) -> None:
    here = consents.c.state == _digest(state)
    connection.execute(
        # The integration's secret is in the settings by now, or not wanted any more.
        consents.update().where(here).values(given=answer.given, sentence=answer.sentence, client_secret="")
    )


def remember_code(connection: Connection, base_url: str, client_id: str, code: str) -> None:
    """The code that the present consent came from."""
    keyvalue.note(connection, LAST_CODE, _of_code(base_url, client_id, code))


def came_from(connection: Connection, base_url: str, client_id: str, code: str) -> bool:
    """Whether the present consent came from this code. Nothing may be asked with it again.

    A server of OAuth may take a code that comes twice for a stolen one, and withdraw what it gave for it.
    Source: RFC 6749, 4.1.2
    """
    return keyvalue.recall(connection, LAST_CODE) == _of_code(base_url, client_id, code)


def _of_code(base_url: str, client_id: str, code: str) -> str:
    return _digest(f"{base_url} {client_id} {code}")


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
