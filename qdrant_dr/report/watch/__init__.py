"""`watch`: what is new and what is over since the look before."""
