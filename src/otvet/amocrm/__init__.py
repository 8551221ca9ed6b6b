"""amoCRM's interfaces: webhook events, the REST API, OAuth, and the calls that deliver a reply."""
