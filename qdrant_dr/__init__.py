"""Disaster recovery for Qdrant: every backup proven restorable, by content, on every cloud."""

__version__ = "0.1.0"
