"""Each flow on a real Prefect server, with the sandbox as the source."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest

from qdrant_dr.records import Differed
from tests.support.flow_runs import recorded, run, task_states
from tests.support.prefect import PrefectServer
from tests.support.waiting import eventually
from tests.support.world import World

pytestmark = [pytest.mark.prefect, pytest.mark.usefixtures("in_process")]
Build = Callable[..., World]
ONE_COPY = {"quorum": 1, "domains": 1}


def test_backup_completes_proves_and_announces(world: Build, in_process: PrefectServer) -> None:
    made = world()
    state = run("backup", made, note="a note")
    assert (state.type.value, state.name) == ("COMPLETED", "Completed"), state.message
    for name in made.folders:
        assert {m.collection for m in made.manifests(name)} == {"movies", "users"}
    (end,) = made.ends("one")
    assert (end.verdict, end.start.trigger) == ("ok", "manual")
    assert end.start.parameters["note"] == "a note"
    tasks = task_states(in_process, state, expected=2 + 4)
    assert set(tasks.values()) == {"Completed"}
    assert "capture movies to one+two" in tasks
    assert sum(name.startswith("verify movies@") for name in tasks) == 2
    artifacts = {a["key"]: a for a in recorded(in_process, "artifacts", state)}
    assert set(artifacts) == {"qdr-backup-shop", "qdr-backup-shop-units"}
    assert "backup of shop: ok" in artifacts["qdr-backup-shop"]["data"]
    events = eventually(
        lambda: announced(in_process, end.start.run_id), until=lambda found: len(found) == 3
    )
    assert sorted(events) == [
        ("qdrant-dr.backup.proven", "movies"),
        ("qdrant-dr.backup.proven", "users"),
        ("qdrant-dr.cluster.protected", "shop"),
    ]


def announced(server: PrefectServer, run_id: str) -> list[tuple[str, str]]:
    """Our events of a run, and what each is about."""
    body = {"filter": {"event": {"prefix": ["qdrant-dr."]}}, "limit": 50}
    found = server.call("POST", "/events/filter", body)["events"]
    return [
        (e["event"], e["resource"]["prefect.resource.name"])
        for e in found
        if e["payload"].get("run_id") == run_id
    ]


def test_what_changed_between_two_backups_is_a_run_and_its_units(
    world: Build, in_process: PrefectServer
) -> None:
    made = world()
    for _ in range(2):
        assert run("backup", made, collections=["users"]).name == "Completed"
    state = run("diff", made, collections=["users"])
    assert (state.type.value, state.name) == ("COMPLETED", "Completed"), state.message
    (end, *_) = reversed(made.ends("one"))
    old, new = made.manifests("one")
    (outcome,) = end.outcomes
    assert (end.start.job, outcome.unit, outcome.backup_id) == ("diff", "diff", new.backup_id)
    assert isinstance(outcome.detail, Differed)
    assert (outcome.detail.before, outcome.detail.share) == (old.backup_id, 0.0)
    tasks = task_states(in_process, state, expected=1)
    assert tasks == {f"diff {old.key} to {new.backup_id}": "Completed"}


def test_a_repository_that_is_away_degrades(world: Build) -> None:
    made = world(copies=ONE_COPY)
    shutil.rmtree(made.folders["two"])
    state = run("backup", made, collections=["users"])
    assert (state.type.value, state.name) == ("COMPLETED", "Degraded"), state.message
    assert "two" in state.message
    assert "Next: " in state.message
    assert [m.collection for m in made.manifests("one")] == ["users"]


def test_a_missing_collection_fails(world: Build) -> None:
    made = world(collections={"include": ["users"], "expect": ["users", "gone"]})
    state = run("backup", made)
    assert (state.type.value, state.name) == ("FAILED", "Failed")
    assert "gone is expected and missing" in state.message
    assert made.ends("one")[-1].verdict == "failed"


def test_a_name_that_matches_nothing_fails_and_is_on_record(world: Build) -> None:
    made = world()
    state = run("backup", made, collections=["movvies"])
    assert state.is_failed()
    assert "movvies" in state.message
    assert made.ends("one")[-1].error is not None


def test_an_unusable_configuration_fails_with_its_line(world: Build) -> None:
    made = world()
    made.file.write_text(made.file.read_text() + "colections: {}\n")
    state = run("backup", made)
    assert (state.type.value, state.name) == ("FAILED", "Failed")
    assert "colections" in state.message
    assert "qdrant-dr.yaml:" in state.message


def test_an_empty_list_is_refused_before_anything_runs(world: Build) -> None:
    from prefect.exceptions import ParameterTypeError

    made = world()
    with pytest.raises(ParameterTypeError, match="collections"):
        run("backup", made, collections=[]).result()
    assert not made.ends("one")


def test_a_dry_run_changes_nothing(world: Build) -> None:
    made = world()
    state = run("backup", made, dry_run=True)
    assert state.is_completed(), state.message
    assert not made.manifests("one")


def test_check_compares_the_replicas_of_each_collection(
    world: Build, in_process: PrefectServer
) -> None:
    made = world()
    state = run("check", made, replicas="sample", seed=4)
    # the sandbox is no cluster and measures no space: what it says of that is not the point here
    tasks = task_states(in_process, state, expected=2)
    assert tasks == {
        "compare the replicas of movies": "Completed",
        "compare the replicas of users": "Completed",
    }
    (end,) = made.ends("one")
    assert end.start.job == "check"
    assert [o.unit for o in end.outcomes] == ["compare", "compare"]
    assert {o.notes for o in end.outcomes} == {("no shard has more than one replica",)}


def test_rot_is_found_and_healed_drilled_and_reported(
    world: Build, in_process: PrefectServer
) -> None:
    made = world(collections={"include": ["users"]})
    assert run("backup", made).name == "Completed"
    (part,) = made.parts("two")
    good = part.read_bytes()
    part.write_bytes(good[:2000] + bytes([good[2000] ^ 1]) + good[2001:])

    found = run("verify", made, depth="bytes")
    assert (found.type.value, found.name) == ("FAILED", "Failed")
    tasks = task_states(in_process, found, expected=2)
    assert {name.split(" in ")[1]: state for name, state in tasks.items()} == {
        "one to bytes": "Completed",
        "two to bytes": "Failed",
    }

    healed = run("replicate", made)
    assert healed.is_completed(), healed.message
    assert part.read_bytes() == good
    assert run("verify", made).name == "Completed"

    drilled = run("drill", made, engine="edge", collection="users")
    assert drilled.is_completed(), drilled.message
    assert made.ends("one")[-1].outcomes[-1].detail.points_restored == 50  # type: ignore[union-attr]

    reported = run("report", made, period_days=7)
    assert "1 of 1 collection restorable" in reported.message
    assert list((made.file.parent / "reports").rglob("*.html"))
