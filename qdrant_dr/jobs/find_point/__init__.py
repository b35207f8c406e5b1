"""`find`: in which backups a point is, and what it was."""
