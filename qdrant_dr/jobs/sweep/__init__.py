"""`sweep`: remove what killed runs left on nodes and in repositories."""
