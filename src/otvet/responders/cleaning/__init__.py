"""What a model writes is a draft: here it becomes words for a client, or a reason why it cannot."""
