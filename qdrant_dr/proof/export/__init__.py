"""Files of points that anyone can read without us: Parquet and NDJSON, written, then read back."""
