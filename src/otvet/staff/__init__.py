"""Services for staff: erasing a client, gaps in the knowledge, numbers, and the words in which staff read them."""
