"""Reads the files of the knowledge folder, whatever their kind: blocks out of each kind, entries out of blocks."""
