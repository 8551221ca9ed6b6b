"""The settings in force, for a command: where there is no database, nothing is loaded that reads one."""

from otvet.settings.loading import load_settings
from otvet.settings.settings import Settings


def load() -> Settings:
    """The settings in force. Without a database of today's schema, those of the environment."""
    given = load_settings()
    if given.is_sqlite and not given.sqlite_path.exists():
        return given
    from otvet.app import in_force  # not at the top: it takes half a second

    return in_force.load(given)
