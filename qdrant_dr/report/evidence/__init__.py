"""What the records say: gathered, and brought into the order in which it is judged."""
