"""`watch`: find what is new and what is over since the previous watch."""
