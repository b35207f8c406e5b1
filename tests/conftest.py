"""Prefect without the user's profile, for all tests; and the order of the test files: what takes
longest begins first, so that no worker ends alone."""

from __future__ import annotations

import pytest

from tests.support.prefect import isolate

isolate()  # before any test file imports prefect, which reads its settings then

LONGEST = (
    "tests/jobs/restore/test_kill.py",
    "tests/flows/test_real_runs.py",
    "tests/jobs/backup/test_clusters.py",
    "tests/test_demo.py",
    "tests/flows/test_up.py",
    "tests/docs/test_runbook.py",
    "tests/flows/test_lost_api.py",
    "tests/flows/test_dask.py",
    "tests/flows/test_alerts.py",
    "tests/flows/",
    "tests/jobs/",
    "tests/benchmarks/",
    "tests/cli/",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort by file; within a file the order stays."""

    def rank(item: pytest.Item) -> int:
        path = item.nodeid.partition("::")[0]
        return next((n for n, name in enumerate(LONGEST) if path.startswith(name)), len(LONGEST))

    items.sort(key=rank)
