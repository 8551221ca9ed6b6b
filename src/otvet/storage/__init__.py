"""What is stored and how: engines, the writer, and the tables of no other room."""
