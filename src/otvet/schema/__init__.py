"""The database's schema: made, brought up to date, and taken over from the first version."""
