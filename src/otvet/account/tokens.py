"""The account's OAuth tokens in the database: encrypted, with the claim of the process that renews them.

A refresh token can be used once. So a process claims the renewal in one commit, calls amoCRM without an open
transaction (``renewal``), and commits the new pair before it uses it. A process that dies between amoCRM's answer and
that commit has lost the pair, and a person has to consent again. The token in use is then good for some hours, because
it is renewed when a quarter of its life is left.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.account.vault import Vault
from otvet.amocrm.token import CALL_SECONDS, Keys, Pair
from otvet.storage import outages
from otvet.storage.engines import UtcDateTime, insert, metadata
from otvet.storage.heartbeats import database_time

tokens = sa.Table(
    "tokens",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("base_url", sa.Text, nullable=False),  # the account; the tokens are sent to no other address
    sa.Column("client_id", sa.Text, nullable=False),
    sa.Column("redirect_url", sa.Text, nullable=False),
    sa.Column("access_token", sa.Text, nullable=False),  # both are encrypted
    sa.Column("refresh_token", sa.Text, nullable=False),
    sa.Column("issued_at", UtcDateTime, nullable=False),
    sa.Column("expires_at", UtcDateTime, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),  # grows by one with every pair
    sa.Column("claimed_until", UtcDateTime),  # until then no other process renews
    sa.Column("refusal", sa.Text),  # why amoCRM gives no next pair
)

AMOCRM = "amocrm"
CLAIM = timedelta(seconds=2 * CALL_SECONDS)
"""The claim's lease: how long a process has for a renewal, and how long all processes wait after a failed one."""

LEFT_OF_LIFE = 4  # renewed when a quarter is left
REFRESH_LIFE = timedelta(days=90)  # "3 months" in amoCRM's documentation

_GET = sa.select(tokens).where(tokens.c.name == AMOCRM)


@dataclass(frozen=True, slots=True)
class Kept:
    """The stored pair. ``refusal``: amoCRM's reason for giving no next one, as a sentence."""

    base_url: str
    client_id: str
    redirect_url: str
    access: str = field(repr=False)
    refresh: str = field(repr=False)
    issued_at: datetime
    expires_at: datetime
    version: int
    refusal: str | None

    @property
    def renew_at(self) -> datetime:
        return self.expires_at - (self.expires_at - self.issued_at) / LEFT_OF_LIFE

    @property
    def consent_ends_at(self) -> datetime:
        """When the consent lapses if the pair is not renewed until then."""
        return self.issued_at + REFRESH_LIFE


def kept(connection: Connection, vault: Vault) -> Kept | None:
    """The stored pair; SettingsError if it was encrypted with another key."""
    row = connection.execute(_GET).one_or_none()
    if row is None:
        return None
    return Kept(
        row.base_url,
        row.client_id,
        row.redirect_url,
        vault.open(row.access_token),
        vault.open(row.refresh_token),
        row.issued_at,
        row.expires_at,
        row.version,
        row.refusal,
    )


def keep_consent(connection: Connection, vault: Vault, base_url: str, keys: Keys, pair: Pair, now: datetime) -> None:
    """Store the first pair of a consent in place of the pair before, and end the outage that a refused token began."""
    values = {
        "base_url": base_url,
        "client_id": keys.client_id,
        "redirect_url": keys.redirect_url,
        **_pair(vault, pair, now),
    }
    statement = insert(connection.dialect.name, tokens).values(name=AMOCRM, version=1, **values)
    again = {**values, "version": tokens.c.version + 1}
    connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_=again))
    outages.forget_wrong_settings(connection)


def _pair(vault: Vault, pair: Pair, now: datetime) -> dict[str, Any]:
    return {
        "access_token": vault.seal(pair.access),
        "refresh_token": vault.seal(pair.refresh),
        "issued_at": now,
        "expires_at": now + timedelta(seconds=pair.seconds),
        "claimed_until": None,
        "refusal": None,
    }


def forget_refusal(connection: Connection) -> None:
    """At a start, allow a renewal again: the secret key may have changed since amoCRM refused one."""
    connection.execute(tokens.update().where(tokens.c.name == AMOCRM).values(refusal=None))


def claim(connection: Connection, version: int, now: datetime) -> bool:
    """Claim the renewal of this pair; False if another process has the claim."""
    moment = database_time(connection, now)
    mine = tokens.update().where(_is_free(version, moment))
    return connection.execute(mine.values(claimed_until=moment + CLAIM)).rowcount == 1


def is_free(connection: Connection, version: int, now: datetime) -> bool:
    """Whether the renewal of this pair can be claimed now."""
    free = sa.exists().where(_is_free(version, database_time(connection, now)))
    return bool(connection.scalar(sa.select(free)))


def _is_free(version: int, moment: datetime) -> sa.ColumnElement[bool]:
    claimed = tokens.c.claimed_until
    # A claim that ends far later than one made now: the clock was set back since. A claim that another process made
    # while this one waited for the row ends only a little later, and holds.
    free = sa.or_(claimed.is_(None), claimed <= moment, claimed > moment + 2 * CLAIM)
    return sa.and_(_is(version), tokens.c.refusal.is_(None), free)


def replace(connection: Connection, vault: Vault, version: int, new: Pair, now: datetime) -> bool:
    """Store the next pair in place of this one; False if a new consent has come in between.

    Holds after the claim has lapsed too: the process that took it over cannot get a pair for the same refresh token.
    """
    values = {**_pair(vault, new, now), "version": version + 1}
    if not connection.execute(tokens.update().where(_is(version)).values(values)).rowcount:
        return False
    outages.forget_wrong_settings(connection)
    return True


def refuse(connection: Connection, version: int, sentence: str) -> None:
    """Store amoCRM's refusal: it gives no next pair for this one."""
    connection.execute(tokens.update().where(_is(version)).values(refusal=sentence, claimed_until=None))


def _is(version: int) -> sa.ColumnElement[bool]:
    return sa.and_(tokens.c.name == AMOCRM, tokens.c.version == version)
