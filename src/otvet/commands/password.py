"""``otvet password``: lets a user in again who has forgotten the password, and the first user in at all."""

import secrets
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Console

from otvet.commands import asking, view
from otvet.errors import UsageError
from otvet.i18n import _
from otvet.settings.settings import Settings
from otvet.storage.database import Database
from otvet.users import audit, first_code, sessions, tries, users
from otvet.users.users import User

WHO = "otvet password"  # in the audit: whoever may start commands on the machine
ENTROPY_BYTES = 12


def reset(settings: Settings, name: str | None) -> None:
    """Set a user's password and sign that user out everywhere; without any user, say how the first one comes in."""
    console = Console(highlight=False, soft_wrap=True)
    database = view.open_database(settings)
    try:
        known = database.read_now(users.listed)
        if not known:
            _first_visit(settings, database, console)
            return
        user = _chosen(known, name)
        made = None if sys.stdin.isatty() else secrets.token_urlsafe(ENTROPY_BYTES)
        _set(database, user, made or _typed_twice(console, user))
    finally:
        database.close()
    if user.disabled_at is not None:
        console.print(_("{name} was shut out and may sign in again.").format(name=user.name), markup=False)
    done = _("{name} has a new password and is signed out everywhere.").format(name=user.name)
    console.print(done, markup=False)
    if made:
        console.print(_("Password, shown this once: {password}").format(password=made), markup=False)


def _first_visit(settings: Settings, database: Database, console: Console) -> None:
    with database.writes.begin() as connection:
        first_code.make(connection)
        code = first_code.shown(first_code.waiting(connection))
    console.print(_("There is no user yet. The first visit makes one:"))
    console.print(f"  {settings.public_url or settings.local_url}/set-up?code={code}", markup=False)
    console.print(_("Code: {code}").format(code=code), markup=False)


def _chosen(known: Sequence[User], name: str | None) -> User:
    if name is None and len(known) == 1:
        return known[0]
    wanted = None if name is None else users.spelled(name).casefold()
    for user in known:
        if user.name.casefold() == wanted:
            return user
    names = ", ".join(user.name for user in known)
    if name is None:
        raise UsageError(_("say whose password: {names}").format(names=names), exit_code=2)
    raise UsageError(_("there is no user {name}; the users are: {names}").format(name=name, names=names))


def _typed_twice(console: Console, user: User) -> str:
    question = _("New password of {name} (not shown)").format(name=user.name)
    asks = asking.Asking(console, unattended=False)
    password = asks.ask(question, "", hidden=True, check=_long_enough)
    if asks.ask(_("The same once more"), "", hidden=True) != password:
        raise UsageError(_("the two are not alike; nothing was changed"))
    return password


def _long_enough(password: str) -> str:
    if not users.SHORTEST_PASSWORD <= len(password) <= users.LONGEST_PASSWORD:
        raise UsageError(_(users.PASSWORD_ODD))
    return password


def _set(database: Database, user: User, password: str) -> None:
    hashed, now = users.hashed(password), datetime.now(UTC)
    with database.writes.begin() as connection:
        users.set_password(connection, user.id, hashed)
        sessions.end_all(connection, user.id)
        tries.forget(connection, user.name)
        audit.note(connection, WHO, "password", f"user {user.name}", now)
