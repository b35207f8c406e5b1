"""`verify`: read copies and prove them to a depth."""
