"""What every verb builds on: runs, units, catalogs, selection, proving a copy, cancelling."""
