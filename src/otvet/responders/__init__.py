"""Whatever can write a reply."""
