"""What is known of clients and deals, and which of them are answered."""
