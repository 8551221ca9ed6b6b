"""What Otvet's intake is measured against: the receiver that people write first.

Flask on gunicorn's two workers; it commits the client, the conversation and the message in turn; sqlite3 as it comes
(a rollback journal, synchronous=FULL).
"""

import os
import sqlite3
import time

from flask import Flask, request

app = Flask(__name__)
FILE = os.environ["BENCH_DATABASE"]

SCHEMA = """
CREATE TABLE IF NOT EXISTS clients (id INTEGER PRIMARY KEY, amocrm_contact_id INTEGER UNIQUE, name TEXT);
CREATE TABLE IF NOT EXISTS conversations (id INTEGER PRIMARY KEY, client_id INTEGER, amocrm_lead_id INTEGER UNIQUE,
    status TEXT, last_activity REAL);
CREATE TABLE IF NOT EXISTS messages (id INTEGER PRIMARY KEY, conversation_id INTEGER, sender_type TEXT, content TEXT,
    amocrm_message_id TEXT UNIQUE, timestamp REAL);
"""


def connect() -> sqlite3.Connection:
    connection = sqlite3.connect(FILE, timeout=30)
    connection.execute("PRAGMA synchronous=FULL")
    return connection


with connect() as first:
    first.executescript(SCHEMA)


@app.post(f"/webhook/amocrm/{os.environ['BENCH_SECRET']}")
def webhook() -> dict[str, str]:
    form = request.form
    entry = "message[add][0]"
    connection = connect()
    connection.execute(
        "INSERT OR IGNORE INTO clients (amocrm_contact_id, name) VALUES (?, ?)",
        (form[f"{entry}[contact_id]"], form[f"{entry}[author][name]"]),
    )
    connection.commit()
    (client,) = connection.execute(
        "SELECT id FROM clients WHERE amocrm_contact_id = ?", (form[f"{entry}[contact_id]"],)
    ).fetchone()
    connection.execute(
        "INSERT INTO conversations (client_id, amocrm_lead_id, status, last_activity) VALUES (?, ?, 'active', ?)"
        " ON CONFLICT (amocrm_lead_id) DO UPDATE SET last_activity = excluded.last_activity",
        (client, form[f"{entry}[entity_id]"], time.time()),
    )
    connection.commit()
    (conversation,) = connection.execute(
        "SELECT id FROM conversations WHERE amocrm_lead_id = ?", (form[f"{entry}[entity_id]"],)
    ).fetchone()
    connection.execute(
        "INSERT OR IGNORE INTO messages (conversation_id, sender_type, content, amocrm_message_id, timestamp)"
        " VALUES (?, 'client', ?, ?, ?)",
        (conversation, form[f"{entry}[text]"], form[f"{entry}[id]"], form[f"{entry}[created_at]"]),
    )
    connection.commit()
    connection.close()
    return {"status": "ok"}
