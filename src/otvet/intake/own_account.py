"""The account that this installation is connected to: a delivery that names another one is not ours."""

import json
from dataclasses import asdict, dataclass

from sqlalchemy.engine import Connection

from otvet.amocrm.addresses import subdomain_of
from otvet.amocrm.events import Delivery
from otvet.storage import keyvalue

NAME = "amocrm_account"


@dataclass(frozen=True, slots=True)
class Known:
    """What amoCRM said of the account behind the token for ``base_url``; ``id`` is None before it was asked."""

    base_url: str
    id: int | None
    subdomain: str

    def is_foreign(self, delivery: Delivery) -> bool:
        """Whether the delivery names another account. The id decides; an account may change its subdomain."""
        if delivery.account_id is not None and self.id is not None:
            return delivery.account_id != self.id
        return delivery.subdomain is not None and delivery.subdomain != self.subdomain


def learn(connection: Connection, base_url: str, account_id: int, subdomain: str) -> None:
    """Keep what amoCRM said, in place of what it said before."""
    known = Known(base_url, account_id, subdomain)
    if recall(connection, base_url) != known:
        keyvalue.note(connection, NAME, json.dumps(asdict(known)))


def recall(connection: Connection, base_url: str | None) -> Known | None:
    """The account of this address; None while amoCRM was not asked about it."""
    text = keyvalue.recall(connection, NAME)
    known = Known(**json.loads(text)) if text else None
    return known if known and known.base_url == base_url else None


def expected(connection: Connection, base_url: str | None) -> Known | None:
    """The account that deliveries are of: as amoCRM said, else as far as the address itself tells."""
    if base_url is None:
        return None
    subdomain = subdomain_of(base_url)
    return recall(connection, base_url) or (Known(base_url, None, subdomain) if subdomain else None)
