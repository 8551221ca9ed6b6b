"""What amoCRM delivers, stored before it is answered."""
