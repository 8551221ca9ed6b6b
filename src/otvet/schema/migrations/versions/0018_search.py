"""The search index over all messages. A job fills it; see otvet.search.index."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    op.create_table(
        "search_position",
        sa.Column("only", sa.Integer, nullable=False),
        sa.Column("last_id", sa.BigInteger, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("to_purge", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("only", name="pk_search_position"),
    )
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            "CREATE VIRTUAL TABLE search_index USING fts5"
            "(words, detail=none, columnsize=0, tokenize='trigram case_sensitive 1')"
        )
    else:
        op.execute("CREATE TABLE search_index (message_id BIGINT PRIMARY KEY, triples INTEGER[] NOT NULL)")
        op.execute("CREATE INDEX ix_search_index_triples ON search_index USING gin (triples)")
    op.create_index("ix_clients_name_phone", "clients", ["name", "phone"])
