"""What the staff ask for: erasure, gaps in the knowledge, figures, and the words for them."""
