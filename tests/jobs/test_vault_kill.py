"""A backup into a chunked repository that is killed: nothing looks like a backup, and the next run
takes over what was stored."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from qdrant_dr import configfile
from qdrant_dr.jobs.run.catalogs import catalog_of, open_all
from tests.support.driving import do
from tests.support.replay import ReplaySource
from tests.support.thorough import thorough
from tests.support.world import make_world

DYING = """
import os, signal, sys
from qdrant_dr.stores.local import LocalStore
from qdrant_dr.cli import main

real, (suffix, moment) = LocalStore.create, sys.argv[1].split(":")

def create(store, path, data):
    dies = store.name == "vault" and path.endswith(suffix)
    if dies and moment == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    real(store, path, data)
    if dies:
        os.kill(os.getpid(), signal.SIGKILL)

LocalStore.create = create
sys.exit(main(["-c", sys.argv[2], "backup"]))
"""


@pytest.mark.parametrize(
    ("where", "packs", "recipes"),
    [
        pytest.param(".pack:before", 0, 0, marks=thorough),
        (".pack:after", 1, 0),
        pytest.param(".recipe:before", 1, 0, marks=thorough),
        pytest.param(".recipe:after", 1, 1, marks=thorough),
        ("manifest.json:before", 1, 1),
    ],
)
def test_a_backup_that_is_killed_is_none_and_its_blocks_are_found_again(
    tmp_path: Path, where: str, packs: int, recipes: int
) -> None:
    with ReplaySource(["basic"]) as source:
        world = make_world(tmp_path, source.url, repositories=("vault",), chunked=("vault",))
        dead = subprocess.run(
            [sys.executable, "-c", DYING, where, world.reference],
            capture_output=True,
            timeout=120,
            check=False,
        )
        assert dead.returncode == -signal.SIGKILL, dead.stderr
        folder = world.folders["vault"]
        assert len(list(folder.rglob("*.pack"))) == packs
        assert len(list(folder.rglob("*.recipe"))) == recipes
        assert not world.manifests("vault")
        end = do(world, "backup")
        assert end.verdict == "ok", end.reasons
    assert len(world.manifests("vault")) == 1
    # the same blocks: they were found, and not stored again
    assert len(list(folder.rglob("*.pack"))) == 1
    assert do(world, "verify", depth="content").verdict == "ok"
    config = configfile.load(world.reference)
    (unfinished,) = catalog_of(config, *open_all(config)).unfinished
    assert not unfinished.named
