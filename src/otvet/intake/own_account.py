"""The account that this installation is connected to: a delivery that names another one is not ours."""

import json
from dataclasses import asdict, dataclass

from sqlalchemy.engine import Connection

from otvet.amocrm.addresses import subdomain_of
from otvet.amocrm.events import Delivery
from otvet.storage import keyvalue
from otvet.turns import arrival

NAME = "amocrm_account"


@dataclass(frozen=True, slots=True)
class Known:
    """The account at ``base_url``, as amoCRM described it. id: None until amoCRM was asked."""

    base_url: str
    id: int | None
    subdomain: str

    def is_foreign(self, delivery: Delivery) -> bool:
        """Whether the delivery names another account. The id decides; an account may change its subdomain."""
        if delivery.account_id is not None and self.id is not None:
            return delivery.account_id != self.id
        return delivery.subdomain is not None and delivery.subdomain != self.subdomain


def learn(connection: Connection, base_url: str, account_id: int, subdomain: str) -> None:
    """Store amoCRM's description of the account, in place of an earlier one."""
    known = Known(base_url, account_id, subdomain)
    before = recall(connection, base_url)
    if before != known:
        if before is None or before.id != account_id:
            arrival.forget(connection)
        keyvalue.note(connection, NAME, json.dumps(asdict(known)))


def recall(connection: Connection, base_url: str | None) -> Known | None:
    """The account at this address; None until amoCRM was asked about it."""
    text = keyvalue.recall(connection, NAME)
    known = Known(**json.loads(text)) if text else None
    return known if known and known.base_url == base_url else None


def expected(connection: Connection, base_url: str | None) -> Known | None:
    """The account that deliveries must name: as amoCRM described it, else by its address."""
    if base_url is None:
        return None
    subdomain = subdomain_of(base_url)
    return recall(connection, base_url) or (Known(base_url, None, subdomain) if subdomain else None)
