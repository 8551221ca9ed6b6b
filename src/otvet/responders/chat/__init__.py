"""Any model with chat completions as a writer of replies."""
