"""`export`: the points of a backup as Parquet or NDJSON, for whoever has no Qdrant."""
