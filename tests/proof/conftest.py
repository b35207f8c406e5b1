"""Real backups, read once per session."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from qdrant_dr.proof import Examination, plan_seal, prove
from qdrant_dr.records import Seal
from tests.support.archives import backup
from tests.support.records import NOW


@pytest.fixture(scope="session")
def examined(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Examination]:
    """A content examination of a set's collection archive, before there is a seal."""
    folder = tmp_path_factory.mktemp("examined")

    @cache
    def examine(set_name: str) -> Examination:
        manifest, reader = backup(set_name)
        result = prove(manifest, reader, depth="content", folder=folder, keep_replayed=True)
        assert list(folder.iterdir()) == []
        return result

    return examine


@pytest.fixture(scope="session")
def sealed(examined: Callable[[str], Examination]) -> Callable[[str], Seal]:
    """The first seal of a set's collection archive."""

    @cache
    def seal(set_name: str) -> Seal:
        manifest, _ = backup(set_name)
        read = examined(set_name).read_back
        assert read is not None, examined(set_name).findings
        return plan_seal(manifest, read, None, None, drift_limit=0.5, now=NOW)

    return seal


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder
