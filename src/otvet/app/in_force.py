"""The settings in force: the defaults, over them what is kept on the pages, over both ``.env`` and the environment.

Where the database is, is a setting too. So the settings are read from the environment first, and then what is kept.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache

import structlog
from sqlalchemy.engine import Connection

from otvet.account.vault import Vault
from otvet.errors import SettingsError, StorageError
from otvet.schema import upgrade
from otvet.settings.groups import EDITABLE, SECRET
from otvet.settings.loading import Unusable, given_of, load_settings
from otvet.settings.settings import Settings
from otvet.storage.database import Database
from otvet.users import kept_settings
from otvet.users.kept_settings import Kept, Switch

log = structlog.get_logger(__name__)

OF_THE_PROCESS = ("database_url", "host", "port", "lang", "log_format")  # a running server keeps them


@dataclass(frozen=True, slots=True)
class InForce:
    """``settings`` hold. given: those of the environment and ``.env`` alone. kept: what is kept, by name.

    left_out: {name: why a kept value cannot be used}; the server works without it.
    """

    given: Settings
    settings: Settings
    kept: Mapping[str, Kept] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)

    def is_fixed(self, name: str) -> bool:
        """Whether the environment or ``.env`` sets it, so that the pages cannot."""
        return name in self.given.model_fields_set

    def mode(self, switch: Switch) -> str:
        """The mode in deals that have none of their own; as ``policy.mode_of`` has it."""
        return (None if self.is_fixed(kept_settings.MODE) else switch.mode) or self.given.mode


def load(given: Settings) -> Settings:
    """The settings in force with these of the environment; these alone without a database of today's schema."""
    database = Database(given.database_url)
    try:
        return database.read_now(lambda connection: _read_if_known(connection, given))
    except StorageError:
        return given  # the command says it better
    finally:
        database.close()


def _read_if_known(connection: Connection, given: Settings) -> Settings:
    return read(connection, given).settings if upgrade.version(connection) == upgrade.LATEST else given


def read(connection: Connection, given: Settings) -> InForce:
    """What is in force with these settings of the environment. A kept value that cannot be used is left out."""
    kept = {name: one for name, one in kept_settings.read(connection).items() if name in EDITABLE}
    names = [name for name in Settings.model_fields if name in kept and name not in given.model_fields_set]
    vault = _vault(given)
    try:
        return InForce(given, _with(given, {name: _value(kept[name], vault) for name in names}), kept)
    except SettingsError:
        return _one_by_one(given, kept, names, vault)


def _one_by_one(given: Settings, kept: Mapping[str, Kept], names: list[str], vault: Callable[[], Vault]) -> InForce:
    """As many of the kept values as can be used together; in the order of ``Settings``, then what needs another one."""
    settings, used, left_out = given, dict[str, str](), dict[str, str]()
    for _round in range(2):
        for name in [name for name in names if name not in used]:
            try:
                tried = used | {name: _value(kept[name], vault)}
                settings = _with(given, tried)
            except SettingsError as error:
                left_out[name] = error.reason if isinstance(error, Unusable) else str(error)
            else:
                used = tried
                left_out.pop(name, None)
    return InForce(given, settings, kept, left_out)


def say_what_is_left_out(found: InForce) -> None:
    """Log it, at a start and after a change; the pages show it besides."""
    for name, why in found.left_out.items():
        log.error("a setting that is kept on the pages cannot be used and is left out", name=name, reason=why)


def changed(present: InForce, changes: Mapping[str, str]) -> Settings:
    """The settings after these changes; an empty value lets the default hold. SettingsError if they cannot be used."""
    vault = _vault(present.given)
    values = {
        name: _value(one, vault)
        for name, one in present.kept.items()
        if name not in changes and name not in present.left_out and not present.is_fixed(name)
    }
    return _with(present.given, values | dict(changes))


def keep(connection: Connection, present: InForce, changes: Mapping[str, str], who: str, now: datetime) -> bool:
    """Keep the changes, which were checked by ``changed``. False if nothing is different."""
    vault, different = _vault(present.given), False
    for name, value in changes.items():
        before = present.kept.get(name)
        if not value:
            different = kept_settings.drop(connection, name) or different
        elif before is None or name in present.left_out or _value(before, vault) != value:
            sealed = vault().seal(value) if name in SECRET else value
            kept_settings.keep(connection, name, sealed, who, now)
            different = True
    return different


def anew(present: Settings) -> Settings:
    """The environment and ``.env`` read again, for a running server; as before if they cannot be used now."""
    try:
        return load_settings(**{name: getattr(present, name) for name in OF_THE_PROCESS})
    except SettingsError as error:
        log.error("the settings in .env cannot be used; those of before hold", reason=str(error))
        return present


def _with(given: Settings, values: Mapping[str, str]) -> Settings:
    """Checked together, also for what only the parts of the server would refuse."""
    if not values:
        return given
    # Not at the top: a command that only reads, with nothing kept, need not load half of the server.
    from otvet.amocrm.token import usable
    from otvet.app import policies
    from otvet.clock import SystemClock
    from otvet.responders.chat import models

    settings = load_settings(**{**given_of(given), **values})
    policies.delivery_options(settings)
    models.from_settings(settings, SystemClock())
    if settings.amocrm_token:
        usable(settings.amocrm_token.get_secret_value())
    return settings


def _vault(given: Settings) -> Callable[[], Vault]:
    """Made when it is needed: it may make a key file."""

    @cache
    def made() -> Vault:
        from otvet.account import account  # not at the top: a command that only reads need not load an HTTP client

        return account.vault_of(given)

    return made


def _value(kept: Kept, vault: Callable[[], Vault]) -> str:
    return vault().open(kept.value) if kept.name in SECRET else kept.value
