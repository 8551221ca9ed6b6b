"""The database: engines, the writer, and the tables that belong to no other room."""
