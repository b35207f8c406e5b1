"""Prefect shells around the units of `qdrant_dr`: names, retries, limits, artifacts, states.

Nothing here decides what a result means; that is the library's verdict.
"""
