"""Laws of the one order in which copies are read."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from qdrant_dr.config import Proven
from qdrant_dr.jobs.restore.plan import sources_of
from qdrant_dr.records.proof import depth_rank
from qdrant_dr.repository import (
    Backup,
    Copy,
    InArchive,
    RankedCopy,
    healing_sources,
    is_proven,
    rank_sources,
    sound,
)
from qdrant_dr.stores.tiers import Storage
from tests.support import records
from tests.support.records import NOW, days, hours
from tests.support.thorough import examples

PLACES = ("near", "far", "farther", "ice")
PROMISE = Proven()
OF = records.manifest(at=NOW - days(20))
PART = OF.parts[0].file
quick = settings(deadline=None, max_examples=examples(100))


@st.composite
def copies(draw: st.DrawFn, name: str) -> Copy:
    state = draw(st.sampled_from(["present", "behind", "damaged", "missing", "unreachable"]))
    lacks = {"missing": ("manifest",), "behind": ("seal",)}.get(state, ())
    if state == "damaged":
        lacks = draw(st.sampled_from([(), (PART,)]))
    proofs = [
        records.proof(
            OF, name,
            depth=draw(st.sampled_from(["bytes", "content", "search"])),
            ended_at=NOW - hours(draw(st.sampled_from([-5, 1, 2, 9, 24 * 15]))),
            passed=draw(st.booleans()) if state == "damaged" else True,
        )
        for _ in range(draw(st.integers(0, 3)))
    ]  # fmt: skip
    frozen = state in ("present", "behind") and draw(st.booleans())
    return Copy(
        name, name, "archived" if frozen and state == "present" else state,  # type: ignore[arg-type]
        lacks=lacks,
        proofs=tuple(proofs),
        unread=draw(st.sampled_from([(), ("20261120T000000Z-aaaaaa",)])),
        archived=(InArchive(PART, Storage("GLACIER", archived=True)),) if frozen else (),
        restore_time=draw(st.sampled_from([None, hours(12)])),
    )  # fmt: skip


@st.composite
def backups(draw: st.DrawFn) -> Backup:
    return Backup(OF, records.seal(OF), tuple(draw(copies(name)) for name in PLACES))


PROMISED = st.sampled_from([None, PROMISE])


def kept(backup: Backup, copy: Copy) -> bool:
    return is_proven(backup, copy, depth=PROMISE.depth, max_age=PROMISE.max_age, now=NOW)


@quick
@given(backups(), PROMISED)
def test_each_copy_with_a_manifest_comes_once_and_with_the_truth(
    backup: Backup, promise: Any
) -> None:
    ranked = rank_sources(backup, now=NOW, promise=promise)
    names = [s.copy.repository for s in ranked]
    assert sorted(names) == sorted(c.repository for c in backup.copies if c.committed)
    for source in ranked:
        copy = source.copy
        assert source.complete == (PART not in copy.lacks)
        assert (source.health == "sound" and copy.within_reach) == sound(backup, copy)
        assert source.kept == (promise is not None and kept(backup, copy))
        assert source.proof is None or source.proof.ended_at < NOW, "none is of the future"


@quick
@given(backups(), PROMISED)
def test_the_worse_never_comes_before_the_better(backup: Backup, promise: Any) -> None:
    ranked = rank_sources(backup, now=NOW, promise=promise)
    for at, first in enumerate(ranked):
        for later in ranked[at + 1 :]:
            assert not _better(later, first), (later, first)


def _better(one: RankedCopy, other: RankedCopy) -> bool:
    """Whether one is to be read before the other, whatever the configuration says."""
    if one.readable != other.readable:
        return one.readable
    if one.kept != other.kept:
        return one.kept
    if one.kept:
        return False
    if one.health != other.health:
        order = ["sound", "doubted", "damaged", "incomplete"]
        return order.index(one.health) < order.index(other.health)
    if one.proof is None or other.proof is None:
        return one.proof is not None and other.proof is None
    depths = depth_rank(one.proof.depth), depth_rank(other.proof.depth)
    if depths[0] != depths[1]:
        return depths[0] > depths[1]
    return one.proof.ended_at > other.proof.ended_at


@quick
@given(backups(), PROMISED, st.permutations(range(len(PLACES))))
def test_the_configuration_decides_between_equals_only(
    backup: Backup, promise: Any, order: list[int]
) -> None:
    """Another order of the repositories swaps none but those that nothing tells apart."""
    other = replace(backup, copies=tuple(backup.copies[n] for n in order))
    ranked, again = (rank_sources(b, now=NOW, promise=promise) for b in (backup, other))
    for one, two in zip(ranked, again, strict=True):
        assert not _better(one, two)
        assert not _better(two, one)
    equals = [s.copy.repository for s in again if not _apart(s, again[0])]
    assert equals == [c.repository for c in other.copies if c.repository in equals]


def _apart(one: RankedCopy, other: RankedCopy) -> bool:
    return _better(one, other) or _better(other, one)


@quick
@given(backups(), st.sampled_from(PLACES))
def test_a_newer_deeper_proof_moves_no_sound_copy_back(backup: Backup, name: str) -> None:
    def place(of: Backup) -> int:
        return [s.copy.repository for s in rank_sources(of, now=NOW)].index(name)

    copy = backup.copy(name)
    if not sound(backup, copy):
        return
    fresh = records.proof(OF, name, depth="restore", ended_at=NOW - timedelta(minutes=1))
    better = replace(copy, proofs=(*copy.proofs, fresh))
    proved = replace(backup, copies=tuple(better if c is copy else c for c in backup.copies))
    assert place(proved) <= place(backup)


@quick
@given(backups())
def test_restore_and_heal_follow_the_same_order(backup: Backup) -> None:
    order = [s.copy.repository for s in rank_sources(backup, now=NOW)]
    restored = [c.repository for c in sources_of(backup, PLACES, now=NOW)]
    healed = list(healing_sources(backup, NOW))
    assert restored == [n for n in order if n in restored]
    assert healed == [n for n in order if n in healed]
    assert set(healed) <= set(restored)
    for name in healed:
        assert backup.copy(name).state in ("present", "behind")
        assert not backup.copy(name).archived
    for name in restored:
        assert PART not in backup.copy(name).lacks
        assert backup.copy(name).within_reach
