"""Intake: stores what amoCRM delivers, before it is answered."""
