"""Outputs of a report: files, metrics, heartbeat."""
