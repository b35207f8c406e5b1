"""Stores for bytes: the calls of each provider, its answers, and the meaning of its error codes."""
