"""Failed sign-ins, by name and by address: after a few, the next try has to wait. Writes ``failed_sign_ins``."""

from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.storage.engines import UtcDateTime, insert, metadata

FREE = 5
"""Tries without a wait, by name; behind one address there may be an office, which has FREE_OF_ADDRESS."""

FREE_OF_ADDRESS = 20
LONGEST_WAIT = timedelta(minutes=15)
FORGOTTEN = timedelta(hours=1)

failed_sign_ins = sa.Table(
    "failed_sign_ins",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),  # "name ..." or "address ..."
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("last_at", UtcDateTime, nullable=False),
)


def keys(name: str, address: str) -> dict[str, int]:
    """What a try is counted by, and how many tries are free."""
    return {f"name {' '.join(name.split()).casefold()[:60]}": FREE, f"address {address}": FREE_OF_ADDRESS}


def wait(connection: Connection, name: str, address: str, now: datetime) -> timedelta:
    """How long the next try has to wait: 1 s after the last free one, then twice as long each time."""
    longest = timedelta(0)
    for key, free in keys(name, address).items():
        row = connection.execute(sa.select(failed_sign_ins).where(failed_sign_ins.c.key == key)).one_or_none()
        if row is None or row.failures < free or now - row.last_at > FORGOTTEN:
            continue
        pause = min(timedelta(seconds=2 ** min(row.failures - free, 20)), LONGEST_WAIT)
        longest = max(longest, row.last_at + pause - now)
    return longest


def failed(connection: Connection, name: str, address: str, now: datetime) -> None:
    """Count a failed try, before the password is looked at, so that many at once are counted too."""
    connection.execute(failed_sign_ins.delete().where(failed_sign_ins.c.last_at < now - FORGOTTEN))
    for key in keys(name, address):
        new = insert(connection.dialect.name, failed_sign_ins).values(key=key, failures=1, last_at=now)
        more = {"failures": failed_sign_ins.c.failures + 1, "last_at": now}
        connection.execute(new.on_conflict_do_update(index_elements=["key"], set_=more))


def succeeded(connection: Connection, name: str, address: str) -> None:
    """The password was right: the count begins anew."""
    connection.execute(failed_sign_ins.delete().where(failed_sign_ins.c.key.in_(keys(name, address))))
