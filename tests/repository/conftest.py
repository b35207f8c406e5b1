"""Two repositories on this disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from qdrant_dr.repository import Repository
from tests.support.stores import repository_on_disk


@pytest.fixture
def one(tmp_path: Path) -> Repository:
    return repository_on_disk(tmp_path / "one", "one")


@pytest.fixture
def two(tmp_path: Path) -> Repository:
    return repository_on_disk(tmp_path / "two", "two")
