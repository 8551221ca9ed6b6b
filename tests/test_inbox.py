"""The inbox on both databases."""

from otvet.database import Database


def test_database_is_there(database: Database) -> None:
    assert database.look(lambda connection: connection.exec_driver_sql("SELECT 1").scalar()) == 1
