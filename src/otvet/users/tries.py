"""Failed sign-ins: after a few, the next try has to wait. Writes ``failed_sign_ins``.

They are counted by name from one address, so that a stranger's tries do not shut the user of that name out; by address,
against one who tries many names; and by name from everywhere, against one who has many addresses.
"""

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.storage.engines import UtcDateTime, insert, metadata

FORGOTTEN = timedelta(hours=1)
SITE = 64  # the bits of an IPv6 address that one customer of a provider cannot change

failed_sign_ins = sa.Table(
    "failed_sign_ins",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),  # "name ..." or "address ..."
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("last_at", UtcDateTime, nullable=False),
)


@dataclass(frozen=True, slots=True)
class _Count:
    """What a try is counted by, how many are free of a wait, and the longest wait."""

    key: str
    free: int
    longest: timedelta


def _counts(name: str, address: str) -> Iterator[_Count]:
    name, address = " ".join(name.split()).casefold()[:60], _site(address)
    yield _Count(f"name {name} from {address}", 5, timedelta(minutes=15))
    yield _Count(f"address {address}", 20, timedelta(minutes=15))  # an office may share an address
    yield _Count(f"name {name}", 50, timedelta(minutes=1))  # short: this wait is the true user's too


def _site(address: str) -> str:
    """The address; of IPv6 the part that stands for one place."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:60]
    if parsed.version == 4:
        return str(parsed)
    return str(parsed.ipv4_mapped or ipaddress.ip_network((parsed, SITE), strict=False))


def wait(connection: Connection, name: str, address: str, now: datetime) -> timedelta:
    """How long the next try has to wait: 1 s after the last free one, then twice as long each time."""
    longest = timedelta(0)
    for count in _counts(name, address):
        row = connection.execute(sa.select(failed_sign_ins).where(failed_sign_ins.c.key == count.key)).one_or_none()
        if row is None or row.failures < count.free or now - row.last_at > FORGOTTEN:
            continue
        pause = min(timedelta(seconds=2 ** min(row.failures - count.free, 20)), count.longest)
        longest = max(longest, row.last_at + pause - now)
    return longest


def failed(connection: Connection, name: str, address: str, now: datetime) -> None:
    """Count a failed try, before the password is looked at, so that many at once are counted too."""
    connection.execute(failed_sign_ins.delete().where(failed_sign_ins.c.last_at < now - FORGOTTEN))
    for count in _counts(name, address):
        new = insert(connection.dialect.name, failed_sign_ins).values(key=count.key, failures=1, last_at=now)
        more = {"failures": failed_sign_ins.c.failures + 1, "last_at": now}
        connection.execute(new.on_conflict_do_update(index_elements=["key"], set_=more))


def succeeded(connection: Connection, name: str, address: str) -> None:
    """The password was right: this name begins anew here. Elsewhere only this try is taken back, not a stranger's."""
    here, *others = _counts(name, address)
    connection.execute(failed_sign_ins.delete().where(failed_sign_ins.c.key == here.key))
    less = failed_sign_ins.update().where(failed_sign_ins.c.key.in_([other.key for other in others]))
    connection.execute(less.values(failures=failed_sign_ins.c.failures - 1))


def forget(connection: Connection, name: str) -> None:
    """Forget the tries at a name, and those of the addresses that it was tried from: its user has to come in."""
    key = failed_sign_ins.c.key
    known = f"name {' '.join(name.split()).casefold()[:60]}"
    here = connection.scalars(sa.select(key).where(key.startswith(f"{known} from ", autoescape=True))).all()
    addresses = [f"address {one.rpartition(' from ')[2]}" for one in here]
    connection.execute(failed_sign_ins.delete().where(key.in_([known, *here, *addresses])))
