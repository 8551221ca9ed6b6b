"""Turns: what a client said in one chat since our last reply, and the one reply we owe for it."""
