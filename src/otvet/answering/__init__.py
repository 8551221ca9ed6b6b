"""The work on a turn, and the engine that runs it."""
