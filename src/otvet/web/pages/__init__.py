"""The operators' pages: routes that read a request, call what the API and the commands call, and render."""
