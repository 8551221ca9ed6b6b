"""Full-text search over all messages: word forms and parts of words, the same on both databases."""
