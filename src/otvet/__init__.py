"""Otvet: an AI assistant that answers amoCRM clients and loses nothing they wrote."""

__version__ = "0.1.0"
