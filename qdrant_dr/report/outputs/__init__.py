"""Where a report goes: files, metrics, signs of life."""
