"""Small real HTTP servers that stand in for amoCRM and Manus."""
