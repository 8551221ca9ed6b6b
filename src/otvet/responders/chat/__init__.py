"""A responder for any model with chat completions."""
