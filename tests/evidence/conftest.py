"""Three repositories with ledgers that real runs wrote, for all tests here; they change copies."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from qdrant_dr.cli import main
from qdrant_dr.records.ledger import Head, LedgerEntry
from qdrant_dr.signing.ssh_keys import PrivateKey, new_key
from tests.cli.conftest import qdr
from tests.support.ledgers import trust_line
from tests.support.servers import sandbox_server
from tests.support.world import World, make_world, seed

__all__ = ["qdr"]

NAMES = ("one", "two", "three")


@dataclass(frozen=True)
class Witnessed:
    """A worker signed all entries; `older` are copies of before its last two runs."""

    world: World
    key: PrivateKey
    trust: Path
    older: dict[str, Path]

    @property
    def folders(self) -> dict[str, Path]:
        return self.world.folders

    def last(self, name: str) -> LedgerEntry:
        """The last entry of a repository."""
        file = max(self.folders[name].glob("evidence/*/*.json"))
        return LedgerEntry.from_bytes(file.read_bytes(), where=file.name)

    def ended_at(self, name: str) -> datetime:
        """When the last run had ended."""
        return self.last(name).at

    def head(self, name: str) -> Head:
        """The last entry of a repository, as an auditor notes it."""
        entry = self.last(name)
        return Head(repository_id=entry.repository_id, number=entry.number, sha256=entry.sha256)


@pytest.fixture(scope="session")
def witnessed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Witnessed]:
    home = tmp_path_factory.mktemp("witnessed")
    key = new_key()
    secret, trust = home / "signing.key", home / "trusted"
    secret.touch(mode=0o600)
    secret.write_text(key.to_text())
    trust.write_text(trust_line(key))
    with sandbox_server(home / "source") as server:
        seed(server.url, "movies", points=40)
        world = make_world(
            home / "world",
            server.url,
            repositories=NAMES,
            signing={"key": f"file:{secret}"},
            retention={"last": 1, "daily": 0, "weekly": 0, "monthly": 0, "floor": 1, "grace": "1s"},
        )

        def run(*words: str) -> None:
            assert main([*words, "-q", "-c", world.reference]) in (0, 3), words

        run("backup")
        run("backup")
        run("verify")
        run("expire", "--execute")
        older = {name: home / "older" / name for name in NAMES}
        for name, folder in world.folders.items():
            shutil.copytree(folder, older[name])
        run("backup")
        run("backup")
        yield Witnessed(world, key, trust, older)
