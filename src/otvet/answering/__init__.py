"""Answering: a turn waited for, its context gathered, its reply written, and the summary after it."""
