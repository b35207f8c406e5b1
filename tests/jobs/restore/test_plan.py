"""The plan of a restore is pure: all steps, or every reason why not, whatever the reasons are."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from qdrant_dr.cluster.target import TargetFacts
from qdrant_dr.errors import BackupNotFound, PlanRefused
from qdrant_dr.jobs.restore.job import newest_inventory, refusal
from qdrant_dr.jobs.restore.journal import Journal
from qdrant_dr.jobs.restore.options import OnTarget, RestoreRequest
from qdrant_dr.jobs.restore.plan import RestorePlan, plan_restore, sources_of
from qdrant_dr.records import Manifest, ShardFacts
from qdrant_dr.repository import Backup, Copy
from qdrant_dr.repository.disagreeing_copies import manifest_conflict
from tests.support import records
from tests.support.records import NOW, hours

URL = "http://target:6333"
INFO: dict[str, Any] = {
    "config": {"params": {"vectors": {"size": 4, "distance": "Dot"}, "replication_factor": 1}},
    "payload_schema": {},
}


def manifest(**fields: Any) -> Manifest:
    return records.manifest(
        **{
            "server_version": "1.18.3",
            "collection_info": json.dumps(INFO),
            "aliases": ("films",),
            **fields,
        }
    )


def custom(**fields: Any) -> Manifest:
    info = {"config": {"params": {**INFO["config"]["params"], "sharding_method": "custom"}}}
    cluster = {"local_shards": [{"shard_id": 1, "shard_key": "eu"}], "remote_shards": []}
    return manifest(
        collection_info=json.dumps(info),
        collection_cluster=json.dumps(cluster),
        shard_keys=json.dumps({"shard_keys": [{"key": "eu"}]}),
        **fields,
    )


def by_shard(count: int = 2) -> Manifest:
    one = manifest().parts[0]
    parts = [
        one.model_copy(update={"name": f"shard-{n}", "kind": "shard", "shards": (n,)})
        for n in range(count)
    ]
    shards = [
        ShardFacts(shard=n, operation_before=1, operation_after=1, count_before=1, count_after=1)
        for n in range(count)
    ]
    return manifest(parts=tuple(parts), shards=tuple(shards), method="shard")


def proven(of: Manifest | None = None, **fields: Any) -> Backup:
    """Both copies proven a minute after the capture."""
    of = of or manifest()
    copies = tuple(
        Copy(name, f"domain-{name}", "present", proofs=(records.proof(of, name),))
        for name in ("aws", "gcp")
    )
    return Backup(**{"manifest": of, "seal": records.seal(of), "copies": copies, **fields})


def facts(**fields: Any) -> TargetFacts:
    return TargetFacts(
        **{
            "url": URL,
            "version": "1.18.3",
            "source_kind": "server",
            "clustered": False,
            "peer_id": None,
            "peers": (),
            "collections": (),
            "aliases": {},
            "broken": (),
            **fields,
        }
    )


def journal(of: Backup, **fields: Any) -> Journal:
    return Journal(
        **{
            "restore_id": "r",
            "target": URL,
            "name": "movies",
            "backup": str(of.key),
            "route": "whole",
            "began_at": NOW - hours(1),
            "created": True,
            **fields,
        }
    )


def plan(
    backup: Backup | None = None,
    there: OnTarget | TargetFacts | None = None,
    *,
    sections: dict[str, Any] | None = None,
    ends: Any = (),
    repositories: Any = ("aws", "gcp"),
    choice: dict[str, Any] | None = None,
    **options: Any,
) -> RestorePlan:
    there = there or facts()
    return plan_restore(
        records.config(**(sections or {})),
        backup or proven(),
        there if isinstance(there, OnTarget) else OnTarget(there),
        RestoreRequest(to=URL, **options),
        repositories=repositories,
        ends=ends,
        now=NOW,
        **(choice or {}),
    )


def test_the_steps_of_a_plain_restore_say_what_where_and_how_much() -> None:
    made = plan(there=facts(aliases={"old": "older"}))
    assert made.possible
    assert made.route == "whole"
    assert [str(s) for s in made.steps] == [
        f"create 'movies' on {URL} from the archive, 1 shards",
        "send collection.snapshot from aws, else gcp, hashed in passing (1.38 MiB)",
        "wait until every replica is active and no update is queued",
        "compare all 2000 points with the seal",
        "compare payload indexes and configuration with the manifest",
        "set alias 'films' of 'movies'",
        "remove the uploaded file from the target",
    ]
    assert made.unit is not None
    assert made.unit.repositories == ("aws", "gcp")
    assert any("free space" in w for w in made.warnings)
    assert "assumed" in made.estimate


def test_a_suspect_backup_that_was_accepted_is_restored_and_the_choice_is_told() -> None:
    (_, reason) = plan(SUSPECT).refusals
    assert f"qdrant-dr acknowledge {SUSPECT.key}" in reason
    choice = {"accepted": True, "remarks": ("skipped a newer one",)}
    (other,) = plan(SUSPECT, choice=choice).refusals
    assert "is not proven" not in reason
    assert "is suspect" not in other
    made = plan(choice=choice)
    assert made.warnings[0] == "skipped a newer one"
    assert made.unit is not None
    assert (made.unit.accepted, made.unit.remarks) == (True, ("skipped a newer one",))


def test_the_estimate_is_measured_where_something_was() -> None:
    of = manifest()
    outcome = records.drilled(of)
    end = records.run_end(records.run_start("drill"), outcomes=(outcome,))
    made = plan(proven(of), ends=(end,))
    assert "measured" in made.estimate
    assert "drill" in made.estimate
    on_sandbox = records.drilled(of, target_kind="sandbox")
    end = records.run_end(records.run_start("drill"), outcomes=(on_sandbox,))
    assert "assumed" in plan(proven(of), ends=(end,)).estimate


def old(minutes: float) -> timedelta:
    return timedelta(minutes=minutes)


UNPROVEN = Backup(
    manifest=manifest(),
    seal=records.seal(manifest()),
    copies=(Copy("aws", "a", "present"), Copy("gcp", "g", "missing")),
)
FAILED = replace(
    UNPROVEN,
    copies=(
        Copy("aws", "a", "damaged", proofs=(records.proof(manifest(), passed=False),)),
        Copy("gcp", "g", "unreachable"),
    ),
)
SUSPECT = proven(seal=records.seal(manifest(), suspect=("90 % of the points are gone",)))
CONFLICT = proven(conflict=manifest_conflict(manifest().key, {"aws": "a" * 64, "gcp": "b" * 64}))
CLUSTER = facts(clustered=True, peer_id=1, peers=(1, 2, 3))
HERE = facts(collections=("movies",))

REFUSED: list[tuple[str, Backup, Any, dict[str, Any], str]] = [
    ("older server", proven(), facts(version="1.17.9"), {}, "an older server cannot restore it"),
    ("two minors on", proven(), facts(version="1.20.0"), {}, "only the same or the next minor"),
    ("next major", proven(), facts(version="2.0.0"), {}, "only the same or the next minor"),
    (
        "before the storage migration",
        proven(manifest(server_version="1.15.4")),
        facts(version="1.18.3"),
        {},
        "its storage format is older than 1.16",
    ),
    ("no version", proven(), facts(version="dev"), {}, "the versions cannot be compared"),
    ("name exists", proven(), HERE, {}, "restore beside it with `--as NAME`"),
    (
        "a name too long",
        proven(),
        facts(),
        {"name": "ü" * 121},
        "has 242 bytes; a server restores no archive under a name longer than 235",
    ),
    ("an alias", proven(), facts(aliases={"movies": "m2"}), {}, "is an alias of 'm2'"),
    (
        "broken",
        proven(),
        facts(collections=("movies",), broken=("movies",)),
        {"into_existing": True},
        "listed but broken",
    ),
    ("unproven", UNPROVEN, facts(), {}, "no copy of movies@"),
    ("open failure", FAILED, facts(), {}, "failed proofs are open in aws"),
    ("suspect", SUSPECT, facts(), {}, "is suspect (90 % of the points are gone)"),
    ("conflict", CONFLICT, facts(), {"allow_unproven": True}, "is not the same everywhere"),
    (
        "no copy",
        replace(UNPROVEN, copies=(Copy("aws", "a", "unreachable"),)),
        facts(),
        {"allow_unproven": True},
        "no readable repository has a complete copy",
    ),
    ("custom sharding", proven(custom()), facts(), {}, "has shard keys"),
    ("replicas", proven(), CLUSTER, {"replication_factor": 5}, "5 replicas of each shard need"),
    (
        "url of a disk",
        proven(),
        OnTarget(facts(), unsigned={"aws": "aws cannot sign", "gcp": "gcp cannot sign"}),
        {"way": "url"},
        "aws cannot sign",
    ),
    ("url of what is cut", proven(), CLUSTER, {"way": "url"}, "must be split into shards"),
    ("no server file", proven(), facts(), {"way": "server-file"}, "needs the location"),
    (
        "one file, two parts",
        proven(by_shard()),
        facts(),
        {"way": "server-file", "server_file": "x.snapshot"},
        "has 2 parts",
    ),
    ("file to upload", proven(), facts(), {"server_file": "x"}, "needs `--way server-file`"),
    ("salvage by url", proven(), facts(), {"salvage": True, "way": "url"}, "reads the archive"),
    ("salvage over", proven(), HERE, {"salvage": True}, "a salvage would add points to it"),
]


@pytest.mark.parametrize(
    ("backup", "there", "options", "said"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED]
)
def test_it_is_refused(backup: Backup, there: Any, options: dict[str, Any], said: str) -> None:
    made = plan(backup, there, **options)
    assert not made.possible
    assert [r for r in made.refusals if said in r], made.refusals
    error = refusal([made])
    assert isinstance(error, PlanRefused)
    assert said in error.message


def test_every_reason_is_given_at_once() -> None:
    there = facts(version="1.17.0", collections=("movies",))
    made = plan(replace(UNPROVEN, manifest=custom()), there, way="server-file")
    assert len(made.refusals) >= 5, made.refusals


@pytest.mark.parametrize("version", ["1.18.0", "1.18.9", "1.19.1"])
def test_same_and_next_minor_are_fine(version: str) -> None:
    assert plan(there=facts(version=version)).possible


@pytest.mark.parametrize("backup", [UNPROVEN, FAILED, SUSPECT], ids=["unproven", "failed", "odd"])
def test_what_is_unproven_is_restored_when_told(backup: Backup) -> None:
    made = plan(backup, allow_unproven=True)
    assert made.possible, made.refusals
    assert any("--allow-unproven" in w for w in made.warnings)


def test_a_proof_that_is_too_old_proves_nothing() -> None:
    of = manifest()
    then = records.proof(of, ended_at=NOW - timedelta(days=9))
    stale = Backup(of, records.seal(of), (Copy("aws", "a", "present", proofs=(then,)),))
    assert not plan(stale).possible


def test_a_cluster_takes_shards_and_one_node_the_archive() -> None:
    assert plan(there=CLUSTER).route == "shards"
    assert plan(proven(by_shard())).route == "shards"
    assert plan(proven(custom()), CLUSTER).route == "shards"
    assert plan(salvage=True).route == "salvage"


def test_salvage_reads_what_no_server_takes() -> None:
    made = plan(proven(custom(server_version="1.15.0")), facts(), salvage=True)
    assert made.possible, made.refusals


def test_room_is_what_the_operator_says() -> None:
    cluster = {"name": "prod", "nodes": [URL], "node_space": "1MiB"}
    made = plan(sections={"cluster": cluster})
    assert [r for r in made.refusals if "each node needs about 2.76 MiB" in r], made.refusals
    assert plan(sections={"cluster": {**cluster, "node_space": "3MiB"}}).possible
    elsewhere = {**cluster, "nodes": ["http://127.0.0.1:6333"]}
    assert plan(sections={"cluster": elsewhere}).possible


def test_aliases_that_stay_are_said() -> None:
    taken = facts(aliases={"films": "other"}, collections=("other",))
    made = plan(there=taken)
    assert any("'films' is left alone" in w for w in made.warnings)
    moved = plan(there=taken, aliases="move")
    assert "move alias 'films' from 'other' to 'movies'" in [str(s) for s in moved.steps]
    assert not [s for s in plan(there=facts(), aliases="keep").steps if "alias" in str(s)]


def test_an_unfinished_restore_of_this_backup_is_continued() -> None:
    backup = proven()
    made = plan(backup, OnTarget(HERE, unfinished=journal(backup)))
    assert made.possible, made.refusals
    assert str(made.steps[0]).startswith("continue the restore of movies@")


def test_what_another_restore_left_is_removed_first() -> None:
    other = journal(proven(), backup="movies@20260101T000000Z-aaaaaa")
    made = plan(there=OnTarget(HERE, unfinished=other))
    assert made.possible, made.refusals
    assert str(made.steps[0]).startswith("remove what the restore of movies@20260101T000000Z")


def test_what_somebody_uses_is_not_ours_any_more() -> None:
    backup = proven()
    there = facts(collections=("movies",), aliases={"films": "movies"})
    made = plan(backup, OnTarget(there, unfinished=journal(backup)))
    assert [r for r in made.refusals if "in use by an alias" in r]
    finished = journal(backup, proven=2000)
    assert plan(backup, OnTarget(there, unfinished=finished)).possible


def test_a_journal_of_what_was_there_before_gives_no_right_to_it() -> None:
    backup = proven()
    left = journal(backup, created=False)
    assert not plan(backup, OnTarget(HERE, unfinished=left)).possible


def test_sources_come_in_order_of_health() -> None:
    of = manifest()

    def copy(name: str, state: str = "present", *proofs: Any, **fields: Any) -> Copy:
        return Copy(name, name, state, proofs=proofs, **fields)  # type: ignore[arg-type]

    at = of.transferred_at
    backup = Backup(
        of,
        records.seal(of),
        (
            copy("failed", "damaged", records.proof(of, "failed", passed=False)),
            copy("none"),
            copy("shallow", "present", records.proof(of, "shallow", depth="bytes")),
            copy("deep", "present", records.proof(of, "deep", ended_at=at + old(1))),
            copy("newer", "present", records.proof(of, "newer", ended_at=at + old(9))),
            copy("gone", "missing", lacks=("manifest",)),
            copy("holes", "damaged", lacks=("collection.snapshot",)),
            copy("away", "unreachable"),
        ),
    )
    names = [c.repository for c in backup.copies]
    ordered = [c.repository for c in sources_of(backup, names, now=NOW)]
    assert ordered == ["newer", "deep", "shallow", "none", "failed"]
    assert [c.repository for c in sources_of(backup, ["none", "deep"], now=NOW)] == ["deep", "none"]


def test_the_inventory_is_of_the_newest_backup_run_or_the_one_named() -> None:
    def end(job: str, at: datetime, *names: str) -> Any:
        start = records.run_start(job, at)
        return records.run_end(start, seen=tuple(records.seen(n) for n in names))

    first = end("backup", NOW - hours(9), "a")
    second = end("backup", NOW - hours(5), "a", "b")
    later = [first, second, end("verify", NOW - hours(1), "c"), end("backup", NOW - hours(1))]
    assert newest_inventory(later, None) == second
    assert newest_inventory(later, first.start.run_id) == first
    with pytest.raises(BackupNotFound):
        newest_inventory(later, "20260101T000000Z-000000")
    with pytest.raises(BackupNotFound):
        newest_inventory([], None)


def test_every_part_is_a_step() -> None:
    made = plan(proven(by_shard(3)))
    sent = [s for s in made.steps if str(s).startswith("send ")]
    assert len(sent) == 3
    assert sum(s.size_bytes or 0 for s in sent) == made.size_bytes


def test_a_single_server_has_no_replicas_and_a_cluster_has() -> None:
    info = {"config": {"params": {**INFO["config"]["params"], "replication_factor": 2}}}
    backup = proven(by_shard().model_copy(update={"collection_info": json.dumps(info)}))
    step = f"create 'movies' on {URL}: 2 shards"
    assert f"{step}, payload indexes" in map(str, plan(backup).steps)
    assert f"{step} of 2 replicas, payload indexes" in map(str, plan(backup, CLUSTER).steps)


def test_what_is_cut_or_laid_out_needs_room_on_this_machine() -> None:
    small = {"capture": {"spool": {"path": "/spool", "max": "1MiB"}}}
    (why,) = plan(there=CLUSTER, sections=small).refusals
    assert "needs 1.38 MiB on this machine, but `capture.spool.max` is 1.00 MiB" in why
    (why,) = plan(sections=small, salvage=True).refusals
    assert "with the engine needs 1.38 MiB" in why
    (why,) = plan(there=OnTarget(CLUSTER, spool_free=2**20)).refusals
    assert "which has only 1.00 MiB free" in why
    assert plan(there=OnTarget(CLUSTER, spool_free=2**21)).possible
    passes_through = {"sections": small, "there": OnTarget(facts(), spool_free=0)}
    assert plan(**passes_through).possible
    assert plan(proven(by_shard()), **passes_through).possible


def test_a_limit_slows_the_estimate_and_what_is_cut_passes_twice() -> None:
    size = manifest().size_bytes
    slow = plan(bandwidth=1024)
    assert slow.seconds == pytest.approx(size / 1024)
    assert "limited to 1.00 KiB/s by `--bandwidth`" in slow.estimate
    assert plan(there=CLUSTER, bandwidth=1024).seconds == pytest.approx(2 * size / 1024)
    assert plan(bandwidth=10**12).estimate == plan().estimate
    on_server = {"way": "server-file", "server_file": "x.snapshot"}
    assert plan(bandwidth=1024, **on_server).estimate == plan().estimate


def test_a_salvage_measures_no_server() -> None:
    of = manifest()
    end = records.run_end(records.run_start("restore"), outcomes=(records.restored(of),))
    assert "restore" in plan(proven(of), ends=(end,)).estimate
    assert "measured" in plan(proven(of), ends=(end,)).estimate
    salvaged = records.restored(of, detail={"route": "salvage"})
    end = records.run_end(records.run_start("restore"), outcomes=(salvaged,))
    assert "assumed" in plan(proven(of), ends=(end,)).estimate


def test_reasons_are_sentences() -> None:
    (why,) = plan(there=facts(version="1.20.0")).refusals
    assert "upgrade it one minor version at a time, or read it with `--salvage`" in why
