"""Prefect's home and profile are ours before anything imports it; see `tests.support.prefect`."""

from __future__ import annotations

from tests.support.prefect import isolate

isolate()
