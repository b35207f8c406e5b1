"""`backup`: capture every included collection into every repository."""
