"""The HTTP interface: webhook, API, probes, metrics, consent page."""
