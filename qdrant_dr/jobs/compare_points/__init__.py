"""`diff`: what lies between two states of a collection's points."""
