"""The delivery method for a Salesbot that asks for a reply and waits for it: its door, its token, its waiting bots."""
