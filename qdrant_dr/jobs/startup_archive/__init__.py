"""`startup`: one full snapshot for `qdrant --storage-snapshot`, proven to start."""
