"""`restore`: bring backups back for real, and prove them there."""
