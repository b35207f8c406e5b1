"""`repository adopt`: make a copied repository one of its own."""
