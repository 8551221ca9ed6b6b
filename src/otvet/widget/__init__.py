"""The delivery method for a Salesbot that asks for a reply and waits: its address, its token, the waiting bots."""
