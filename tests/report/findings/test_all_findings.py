"""Each thing that is wrong is told, worst first, with what it affects and what to do."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from qdrant_dr.cluster import INSTANCE, SnapshotScope, delete_command
from qdrant_dr.errors import ManifestConflict, RecordDamaged
from qdrant_dr.quantities import how_long
from qdrant_dr.records import KeptSnapshot, LeftSnapshot, Manifest, Outcome, Swept
from qdrant_dr.report.evidence.evidence import Evidence
from qdrant_dr.report.finding import RANK, Problem
from qdrant_dr.report.frames.build import Assessment
from qdrant_dr.repository import Unreadable
from tests.support import records as r
from tests.support.records import NOW, days, hours
from tests.support.worlds import evidence, good


def problems(of: Evidence) -> tuple[Problem, ...]:
    return Assessment.of(of).problems


def one(of: Evidence, words: str) -> Problem:
    """The only problem with these words."""
    found = [p for p in problems(of) if words in p.what]
    assert len(found) == 1, [p.what for p in problems(of)]
    return found[0]


def test_nothing_wrong_nothing_told() -> None:
    assert problems(good("a", "b")) == ()


def test_an_empty_world_is_a_critical_finding() -> None:
    told = [(p.severity, p.what) for p in problems(evidence())]
    assert (
        "critical",
        "nothing is protected: no collection was seen, expected or backed up",
    ) in told
    assert any("no backup run began" in what for _, what in told)


def test_the_worst_comes_first_and_everything_has_a_command() -> None:
    m = r.manifest(at=NOW - days(3), doubts=("optimizer was running",))
    told = problems(evidence({"aws": [m], "gcp": []}, proofs=[r.proof(m)]))
    ranks = [RANK[p.severity] for p in told]
    assert ranks == sorted(ranks)
    assert len(set(ranks)) == 3
    assert all(p.next_command and p.blast_radius and p.scope for p in told)


def test_an_expected_collection_that_is_missing() -> None:
    config = r.config(collections={"expect": ["users"]})
    gone = good(config=config)
    assert one(gone, "expected, and missing").severity == "critical"


def test_a_collection_that_vanished_since_when() -> None:
    ends = [
        r.run_end(r.run_start("backup", NOW - days(n)), seen=tuple(map(r.seen, names)))
        for n, names in ((3, ["a", "b"]), (2, ["a"]), (1, ["a"]))
    ]
    found = one(evidence(ends=ends), "vanished")
    assert (found.scope, found.since) == ("b", NOW - days(2) + timedelta(minutes=5))


def test_too_few_copies_and_domains() -> None:
    m = r.manifest()
    found = one(evidence({"aws": [m], "gcp": []}, proofs=[r.proof(m)]), "below quorum")
    assert found.what == "below quorum: 1 of 2 copies and 1 of 2 failure domains"
    assert found.next_command == f"qdrant-dr replicate {m.key}"


def test_rpo_and_rto_missed() -> None:
    m = r.manifest(at=NOW - hours(30))
    slow = r.run_end(r.run_start("drill", NOW - hours(1)), outcomes=(r.drilled(m, slower=100),))
    both = evidence({"aws": [m], "gcp": [m]}, proofs=[r.proof(m), r.proof(m, "gcp")], ends=[slow])
    assert one(both, "recovery point objective missed").since == NOW - hours(4)
    assert "91 min measured, promised 1 h" in one(
        both, "recovery time objective missed"
    ).what.replace("1 h 31 min", "91 min")


def test_a_drill_that_is_overdue_and_one_that_failed() -> None:
    m = r.manifest(at=NOW - days(40))
    held = {"aws": [m], "gcp": [m]}
    assert "never drilled" in one(evidence(held), "drill overdue").what
    failed = r.drilled(m, verdict="failed", error=r.error("recover-failed", "refused"))
    end = r.run_end(r.run_start("drill", NOW - hours(1)), outcomes=(failed,))
    assert one(evidence(held, ends=[end]), "the last drill failed").severity == "critical"
    (outcome,) = end.outcomes
    elsewhere = r.drilled(m).model_copy(
        update={"repository": "gcp", "started_at": outcome.started_at + timedelta(seconds=1)}
    )
    both = end.model_copy(update={"outcomes": (outcome, elsewhere)})
    one(evidence(held, ends=[both]), f"the last drill in {outcome.repository} failed")


def test_damage_names_copy_and_repair() -> None:
    m = r.manifest("my collection")
    proofs = [r.proof(m), r.proof(m, "gcp", passed=False)]
    found = one(evidence({"aws": [m], "gcp": [m]}, proofs=proofs), "failed its content proof")
    assert found.what.endswith("bytes-differ: sha256 differs")
    assert found.next_command == f"qdrant-dr replicate '{m.key}' -r gcp"


def test_a_conflict_of_manifests() -> None:
    base = good()
    conflict = ManifestConflict("movies@x is not the same everywhere")
    object.__setattr__(base.catalog.backups[0], "conflict", conflict)
    assert one(base, "manifest-conflict").severity == "critical"
    assert Assessment.of(base).standings[0].status == "unproven"


def test_a_suspect_seal_degrades() -> None:
    m = r.manifest()
    held = {"aws": [m], "gcp": [m]}
    seals = [r.seal(m, suspect=("count fell by 90 %",))]
    found = one(evidence(held, seals=seals, proofs=[r.proof(m)]), "suspect: count fell")
    assert found.severity == "warning"


def test_a_poor_index_of_the_source_is_a_notice() -> None:
    m = r.manifest()
    seals = [r.seal(m, remarks=("shard 0: the source's own index of the vectors finds 2%",))]
    base = evidence({"aws": [m], "gcp": [m]}, seals=seals, proofs=[r.proof(m)])
    found = one(base, "poor search results on the source")
    assert (found.severity, found.code) == ("notice", "source-index")
    assert not [p for p in problems(base) if p.code == "suspect"]


def test_unreadable_records_are_as_loud_as_a_failure() -> None:
    broken = Unreadable("aws", "proofs/prod/x.json", RecordDamaged("cut"))
    found = one(good(unreadable=[broken]), "could not be read")
    assert (found.severity, found.scope) == ("critical", "aws")
    assert "record-damaged" in found.what


def test_a_crashed_run_and_a_settled_one() -> None:
    crashed = r.run_start("backup", NOW - hours(30))
    assert one(evidence(starts=[crashed]), "never ended").severity == "critical"
    assert one(good(starts=[crashed]), "never ended").severity == "notice"


@pytest.mark.parametrize(("verdict", "severity"), [("failed", "critical"), ("degraded", "warning")])
def test_a_run_that_did_not_end_well(verdict: str, severity: str) -> None:
    end = r.run_end(r.run_start("verify", NOW - hours(1)), verdict=verdict, reasons=("why",))
    found = one(evidence(ends=[end]), "the last verify run")
    assert (found.severity, found.next_command) == (severity, "qdrant-dr verify")


def test_a_snapshot_left_on_the_server_has_its_command() -> None:
    m = r.manifest("a#b")
    outcome = r.captured(m, server_snapshot="kept: below quorum")
    end = r.run_end(outcomes=(outcome,), seen=(r.seen("a#b"),))
    found = one(evidence({"aws": [m], "gcp": [m]}, ends=[end]), "left on the server")
    (part,) = m.parts
    assert found.next_command == delete_command(part.node, "a#b", part.server_name)


def test_what_was_left_is_named_at_the_node_that_keeps_it() -> None:
    """Of a node that could not give its shards no part tells, and it may have the only leftover."""
    m = r.manifest("a#b")
    kept = KeptSnapshot(node="http://10.0.0.9:6333", collection="a#b", shard=2, name="s.snapshot")
    outcome = r.captured(m, server_snapshot="http://lb: kept: it answered 500", kept=(kept,))
    end = r.run_end(outcomes=(outcome,), seen=(r.seen("a#b"),))
    found = one(evidence({"aws": [m], "gcp": [m]}, ends=[end]), "left on the server")
    assert found.next_command == delete_command(kept.node, SnapshotScope("a#b", 2), "s.snapshot")


def test_every_snapshot_that_was_left_has_its_command_on_its_own_shelf() -> None:
    m = r.manifest("a#b")
    (whole,) = m.parts
    at = "http://10.0.0.{}:6333".format
    cut = [
        whole.model_copy(update={"kind": "shard", "shards": (n,), "node": at(n % 2), **more})
        for n, more in enumerate([{"reframed": True}] * 3 + [{"server_name": "s.snapshot"}])
    ]
    full = whole.model_copy(update={"server_name": "full-snapshot-1.snapshot/a#b-1.snapshot"})
    name = whole.server_name
    expected = [
        delete_command(at(0), "a#b", name),
        delete_command(at(1), "a#b", name),
        delete_command(at(1), SnapshotScope("a#b", 3), "s.snapshot"),
    ]
    for parts, method, commands in (
        (cut, "collection", expected),
        ([full], "full", [delete_command(full.node, INSTANCE, "full-snapshot-1.snapshot")]),
    ):
        left = m.model_copy(update={"parts": tuple(parts), "method": method})
        outcome = r.captured(left, server_snapshot="kept: below quorum")
        end = r.run_end(outcomes=(outcome,), seen=(r.seen("a#b"),))
        found = one(evidence({"aws": [left], "gcp": [left]}, ends=[end]), "left on the server")
        assert found.next_command == "; ".join(commands)


def swept(m: Manifest, at: datetime, *left: LeftSnapshot | None) -> Outcome:
    """A sweep of the node that a backup came from; None: of a version that did not tell."""
    (part,) = m.parts
    told = None if None in left else tuple(f for f in left if f is not None)
    return Outcome(
        unit="sweep", collection="*", verdict="degraded" if left else "ok", started_at=at,
        ended_at=at + timedelta(seconds=1), detail=Swept(node=part.node, left=told),
    )  # fmt: skip


def left_of(m: Manifest, name: str = "movies-1.snapshot") -> LeftSnapshot:
    return LeftSnapshot(
        collection=m.collection, name=name, size_bytes=2**30, of=str(m.key), since=m.captured_at,
        ours=True, why="only 1 of 2 copies hold it",
    )  # fmt: skip


def leftovers(*outcomes: Outcome) -> list[Problem]:
    m = r.manifest()
    end = r.run_end(outcomes=outcomes, seen=(r.seen("movies"),))
    found = problems(evidence({"aws": [m], "gcp": [m]}, ends=[end]))
    return [p for p in found if p.code == "leftover-snapshot"]


def test_a_snapshot_that_was_left_is_told_until_a_sweep_does_not_find_it() -> None:
    m = r.manifest()
    captured = r.captured(m, server_snapshot="kept: below quorum")
    before, after = captured.started_at - hours(1), captured.ended_at + hours(1)
    (first,) = leftovers(captured)
    (still,) = leftovers(captured, swept(m, after, left_of(m)))
    assert first.identity == still.identity  # one finding, as long as it lies there
    assert "only 1 of 2 copies hold it" in still.what
    assert still.next_command == delete_command(m.parts[0].node, "movies", "movies-1.snapshot")
    assert leftovers(captured, swept(m, after)) == []
    assert leftovers(captured, swept(m, after), swept(m, after + hours(1), left_of(m))) != []
    assert leftovers(captured, swept(m, before)) == [first]  # that one could not know of it
    assert leftovers(captured, swept(m, after, None)) == [first]  # that one did not say
    elsewhere = swept(m, after).model_copy(
        update={"detail": Swept(node="http://elsewhere:6333", left=())}
    )
    assert leftovers(captured, elsewhere) == [first]


def test_what_a_killed_capture_left_is_told_by_the_records_too() -> None:
    m = r.manifest()
    dead = left_of(m).model_copy(
        update={"of": "movies@20261120T000000Z-abcdef", "ours": False,
                "why": "may be of run R; delete it if nobody else made it: curl -X DELETE X"}
    )  # fmt: skip
    (found,) = leftovers(swept(m, NOW - hours(2), dead))
    assert found.scope == "movies@20261120T000000Z-abcdef"
    assert found.what.endswith("(may be of run R; delete it if nobody else made it)")
    assert "1.00 GiB" in found.blast_radius


def test_no_recent_proof_in_one_repository() -> None:
    old, new = r.manifest(at=NOW - days(20)), r.manifest()
    held = {"aws": [old, new], "gcp": [old, new]}
    proofs = [
        r.proof(m, w, depth=d)
        for m in (old, new)
        for w, d in (("aws", "content"), ("gcp", "bytes"))
    ]
    found = one(evidence(held, proofs=proofs), "no copy was proven to content within 8 d")
    assert (found.severity, found.scope) == ("warning", "movies in gcp")


def test_a_copy_that_is_missing() -> None:
    old, new = r.manifest(at=NOW - hours(9)), r.manifest()
    found = one(evidence({"aws": [old, new], "gcp": [new]}), "1 copy missing")
    assert (found.blast_radius, found.next_command) == (
        "1 of 2 copies",
        "qdrant-dr replicate -r gcp",
    )


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.25, "0.2 s"), (8.4, "8.4 s"), (54.7, "55 s"), (95, "1 min 35 s"), (1200, "20 min"),
     (5400, "1 h 30 min"), (93600, "26 h"), (8 * 86400, "8 d"), (-5, "-5 s")],
)  # fmt: skip
def test_spans(seconds: float, words: str) -> None:
    assert how_long(timedelta(seconds=seconds)) == words
