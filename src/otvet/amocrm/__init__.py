"""Everything that speaks amoCRM's language: events, REST, ways to deliver."""
