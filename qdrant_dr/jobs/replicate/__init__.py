"""`replicate`: bring back copies that are missing or proven damaged."""
