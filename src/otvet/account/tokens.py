"""The account's OAuth tokens as they are kept: encrypted, and with who may renew them.

A refresh token can be used once. So a process claims the renewal in one commit, asks amoCRM without any transaction
open (``renewal``), and commits the new pair before anything else is done with it. Who dies between amoCRM's answer and
that commit has lost the pair, and a person has to consent again; the token in use is good for some hours yet, because
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
    sa.Column("base_url", sa.Text, nullable=False),  # whose tokens they are; nobody else is ever sent them
    sa.Column("client_id", sa.Text, nullable=False),
    sa.Column("redirect_url", sa.Text, nullable=False),
    sa.Column("access_token", sa.Text, nullable=False),  # both sealed
    sa.Column("refresh_token", sa.Text, nullable=False),
    sa.Column("issued_at", UtcDateTime, nullable=False),
    sa.Column("expires_at", UtcDateTime, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),  # one higher with every pair
    sa.Column("claimed_until", UtcDateTime),  # until then nobody else renews
    sa.Column("refusal", sa.Text),  # why there will be no next pair
)

AMOCRM = "amocrm"
CLAIM = timedelta(seconds=2 * CALL_SECONDS)
"""How long a process has for a renewal; after one that failed, how long all of them leave amoCRM alone."""

LEFT_OF_LIFE = 4  # renewed when a quarter is left
REFRESH_LIFE = timedelta(days=90)  # "3 months" in amoCRM's documentation

_GET = sa.select(tokens).where(tokens.c.name == AMOCRM)


@dataclass(frozen=True, slots=True)
class Kept:
    """A pair as it is kept. ``refusal``: a sentence, where amoCRM will not give the next one."""

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
    """The pair that is kept; SettingsError if it is sealed with another key."""
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
    """The first pair of a consent, in place of whatever was kept; what waited for a consent goes on."""
    values = {
        "base_url": base_url,
        "client_id": keys.client_id,
        "redirect_url": keys.redirect_url,
        **_pair(vault, pair, now),
    }
    statement = insert(connection.dialect.name, tokens).values(name=AMOCRM, version=1, **values)
    again = {**values, "version": tokens.c.version + 1}
    connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_=again))
    outages.forget_refused_token(connection)


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
    """At a start: the secret key may be another one by now, so the next pair is asked for once more."""
    connection.execute(tokens.update().where(tokens.c.name == AMOCRM).values(refusal=None))


def claim(connection: Connection, version: int, now: datetime) -> bool:
    """Whether the caller is the one who renews this pair."""
    moment = database_time(connection, now)
    mine = tokens.update().where(_is_free(version, moment))
    return connection.execute(mine.values(claimed_until=moment + CLAIM)).rowcount == 1


def is_free(connection: Connection, version: int, now: datetime) -> bool:
    """Whether a claim of this pair could be made now."""
    free = sa.exists().where(_is_free(version, database_time(connection, now)))
    return bool(connection.scalar(sa.select(free)))


def _is_free(version: int, moment: datetime) -> sa.ColumnElement[bool]:
    claimed = tokens.c.claimed_until
    # Far later than a claim made now would end: the clock was set back since. One that another process made while this
    # one waited for the row ends a little later only, and holds.
    free = sa.or_(claimed.is_(None), claimed <= moment, claimed > moment + 2 * CLAIM)
    return sa.and_(_is(version), tokens.c.refusal.is_(None), free)


def replace(connection: Connection, vault: Vault, version: int, new: Pair, now: datetime) -> bool:
    """The next pair in place of this one; False if a new consent has come in between.

    Also after the claim has lapsed: whoever took it over cannot have got a pair for the same refresh token.
    """
    values = {**_pair(vault, new, now), "version": version + 1}
    if not connection.execute(tokens.update().where(_is(version)).values(values)).rowcount:
        return False
    outages.forget_refused_token(connection)
    return True


def refuse(connection: Connection, version: int, sentence: str) -> None:
    """amoCRM will give no next pair for this one."""
    connection.execute(tokens.update().where(_is(version)).values(refusal=sentence, claimed_until=None))


def _is(version: int) -> sa.ColumnElement[bool]:
    return sa.and_(tokens.c.name == AMOCRM, tokens.c.version == version)
