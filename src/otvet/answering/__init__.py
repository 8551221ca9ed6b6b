"""Answering a turn: wait for silence, gather the context, have the reply written and delivered, update the summary."""
