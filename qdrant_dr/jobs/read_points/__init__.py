"""Read points of backups: shared by the verbs that compare, find, export and bring back points."""
