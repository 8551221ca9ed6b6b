"""amoCRM's cards of clients and deals, and which deals are answered."""
