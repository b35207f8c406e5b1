"""Two clusters may have one name: whose a deployment is, is told by the repositories."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from deployments.inputs import Asked
from deployments.takeover import RETIRED, of_cluster
from qdrant_dr.errors import ConfigInvalid
from tasks.config import load
from tasks.deployment_names import cluster_tag
from tasks.renamed_deployment import reads_the_same
from tests.support.world import World, make_world

SERVER = "http://127.0.0.1:6333"


@pytest.fixture
def mine(tmp_path: Path) -> World:
    return make_world(tmp_path / "mine", SERVER)


@pytest.fixture
def theirs(tmp_path: Path) -> World:
    """Of another cluster that is called the same."""
    return make_world(tmp_path / "theirs", SERVER)


def moved(world: World) -> str:
    """The same configuration under another name."""
    return str(shutil.copy(world.file, world.file.with_name("moved.yaml")))


def whose(world: World, reference: str, *tags: str) -> bool | None:
    there: Any = SimpleNamespace(tags=tags, parameters={"config": reference}, work_pool_name="dr")
    return of_cluster(there, Asked(world.reference, load(world.reference), "dr", {}))


@pytest.mark.parametrize("tags", [(), (cluster_tag("shop"),)])
def test_a_deployment_of_a_namesake_is_not_taken_for_ours(
    mine: World, theirs: World, tags: tuple[str, ...]
) -> None:
    assert whose(mine, theirs.reference, *tags) is None
    assert whose(mine, mine.reference, *tags) is True
    assert whose(mine, moved(mine), *tags) is True
    assert whose(mine, "/no/longer/here.yaml", *tags) is None


def test_what_a_tag_alone_tells(mine: World) -> None:
    assert whose(mine, mine.reference, cluster_tag("other")) is False
    # its configuration may be gone by the time its last runs have ended
    assert whose(mine, "/no/longer/here.yaml", cluster_tag("shop"), RETIRED) is True


def test_a_run_is_not_left_to_a_namesake(mine: World, theirs: World) -> None:
    config = load(mine.reference)

    def same(reference: str, *, here: bool = True) -> bool:
        return reads_the_same(reference, mine.reference, config, here=here)

    assert same(mine.reference)
    assert same(moved(mine))
    assert not same(theirs.reference)
    # another pool has other machines
    assert not same(mine.reference, here=False)
    with pytest.raises(ConfigInvalid):
        same("/no/longer/here.yaml")
