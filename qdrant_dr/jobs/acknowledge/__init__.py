"""`acknowledge`: say that a finding is known, or that a backup is what it is meant to be."""
