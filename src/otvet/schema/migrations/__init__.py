"""The schema's history. Append only: a released migration is never changed."""
