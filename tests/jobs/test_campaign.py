"""A campaign: no loss is silent, nothing of others goes, nothing good is called bad.

Seeded damage to real archives, and `backup` killed at seeded moments. `QDR_THOROUGH=1` makes it 600
mutants and 80 kills. What records lose, and what is planted, is tried in test_witnesses.py.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.detection import Mutant, mutants, seals
from qdrant_dr import configfile
from qdrant_dr.errors import DRError
from qdrant_dr.jobs.run.catalogs import catalog_of, open_all
from qdrant_dr.proof import Examination, prove
from qdrant_dr.records import Manifest, Seal
from tests.support.archives import MemoryReader, backup
from tests.support.command import Command
from tests.support.driving import do, outcomes
from tests.support.replay import ReplaySource
from tests.support.world import World, make_world

THOROUGH = bool(os.environ.get("QDR_THOROUGH"))
MUTANTS, KILLS = (600, 80) if THOROUGH else (7, 2)
SEED = 20261130
THEIRS = b"somebody else's"

pytestmark = pytest.mark.timeout(7200 if THOROUGH else 180)


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Seal]:
    return seals(tmp_path_factory.mktemp("seals"))


def damaged(mutant: Mutant) -> tuple[Manifest, MemoryReader]:
    """A mutant as a copy, and the manifest that it would have if it had been captured so."""
    return backup(mutant.set_name, data={"collection": mutant.data or b"\0"})


def examined(copy: MemoryReader, of: Manifest, seal: Seal, folder: Path) -> Examination | None:
    """Read a copy of a backup; None: it could not be looked at, which is no finding. Raise what a
    proof should have said."""
    try:
        return prove(of, copy, depth="content", folder=folder, seal=seal)
    except DRError as e:
        if e.blames_copy:
            raise
        return None


def test_no_mutant_is_proven_and_what_it_was_made_of_always_is(
    sealed: dict[str, Seal], tmp_path: Path
) -> None:
    tried: list[Mutant] = mutants(MUTANTS)
    assert len({m.data for m in tried}) > MUTANTS // 2, "they are not all the same one"
    silent = []
    for mutant in tried:
        whole, _ = backup(mutant.set_name)
        exam = examined(damaged(mutant)[1], whole, sealed[mutant.set_name], tmp_path)
        if exam is None or exam.passed:
            silent.append(f"{mutant.kind} of {mutant.set_name}: {mutant.what}")
    assert silent == []
    for set_name, seal in sealed.items():
        manifest, copy = backup(set_name)
        exam = examined(copy, manifest, seal, tmp_path)
        assert exam is not None
        assert exam.passed, f"{set_name} is good: {exam.findings}"


def test_damage_before_the_manifest_is_found_or_changes_no_point(
    sealed: dict[str, Seal], tmp_path: Path
) -> None:
    """All digests are right, as if the archive had come so: only what it holds can tell."""
    wrong = []
    for mutant in mutants(MUTANTS):
        seal = sealed[mutant.set_name]
        as_if, copy = damaged(mutant)
        exam = examined(copy, as_if, seal, tmp_path)
        if exam is None:
            continue
        same = exam.read_back is not None and exam.read_back.total == seal.total
        if exam.passed and not same:
            wrong.append(f"{mutant.kind} of {mutant.set_name}: {mutant.what}")
    assert wrong == []


@pytest.fixture
def source() -> Iterator[ReplaySource]:
    with ReplaySource(["basic"]) as source:
        source.add_snapshot("movies", "theirs.snapshot", THEIRS)
        source.faults.seconds_per_block = 0.01  # a moment in which it can be killed
        yield source


def missed(world: World) -> tuple[object, ...]:
    """Backups that any record names and nobody has."""
    config = configfile.load(world.reference)
    opened, failed = open_all(config)
    assert not failed
    return catalog_of(config, opened, failed).lost


def test_whenever_it_is_killed_nothing_proven_goes_and_nothing_of_others(
    source: ReplaySource, tmp_path: Path
) -> None:
    world, rng = make_world(tmp_path, source.url), random.Random(SEED)
    first, begun = Command(world, "backup"), time.monotonic()
    assert first.end() == 0
    usual = time.monotonic() - begun
    kept = {m.backup_id for m in world.manifests("one")}
    for _ in range(KILLS):
        command = Command(world, "backup")
        time.sleep(rng.uniform(0.2, 1.0) * usual)
        command.kill()
        assert do(world, "replicate").verdict != "failed"
        end = do(world, "backup")
        assert end.verdict in ("ok", "degraded"), end.reasons
        captured = outcomes(end, "capture")
        assert captured
        assert {o.verdict for o in captured} == {"ok"}
        there = {m.backup_id for m in world.manifests("one")}
        assert kept < there, "a backup went, or none was made"
        assert there == {m.backup_id for m in world.manifests("two")}
        assert missed(world) == ()
        assert "theirs.snapshot" in source.snapshots("movies")
        kept = there
    verified = do(world, "verify", which="all", depth="bytes")
    assert verified.verdict == "ok", verified.reasons
    assert {o.verdict for o in outcomes(verified, "verify")} == {"ok"}
    assert len(outcomes(verified, "verify")) == 2 * len(kept)
