"""The same tasks on two real Dask workers: looked at before, lost in between, never green by it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from distributed import Client
from prefect import flow

from flows.backup import backup
from flows.verify import verify
from qdrant_dr.errors import WorkersUnfit
from qdrant_dr.jobs.run.run import utc_now
from qdrant_dr.jobs.run.units import SweepUnit
from qdrant_dr.records import Outcome, RunEnd
from tasks import dask_runner, submit_units, unit_tasks
from tasks.config import RunRef
from tasks.runner import ChosenRunner
from tests.support.dask import DaskCluster, dask_cluster
from tests.support.thorough import thorough
from tests.support.waiting import eventually
from tests.support.world import World

pytestmark = [pytest.mark.prefect, pytest.mark.usefixtures("in_process"), pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    with dask_cluster(tmp_path_factory.mktemp("dask")) as cluster:
        yield cluster


@pytest.fixture
def on_dask(workers: DaskCluster, monkeypatch: pytest.MonkeyPatch) -> DaskCluster:
    """Two workers for every flow of this test, and none of its units done in this process."""
    use(workers, monkeypatch)
    monkeypatch.setattr(unit_tasks, "execute", not_here)
    return workers


def use(cluster: DaskCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QDR_RUNNER", "dask")
    monkeypatch.setenv("QDR_DASK_ADDRESS", cluster.address)


def not_here(*_: Any) -> None:
    raise AssertionError("this unit was done by the process of the flow")


def only_end(made: World) -> RunEnd:
    (end,) = made.ends("one")
    return end


def slowly(made: World, rate: str) -> None:
    text = made.file.read_text()
    made.file.write_text(text.replace("domain: disk-one", f"domain: disk-one\n  bandwidth: {rate}"))


@thorough  # the killed worker's run does all of it, too
def test_every_unit_is_done_by_a_worker_and_proven(
    on_dask: DaskCluster, world: Callable[..., World]
) -> None:
    made = world()
    state = backup(config=made.reference, return_state=True)
    assert state.type.value == "COMPLETED", state.message
    end = only_end(made)
    assert (end.verdict, end.reasons) == ("ok", ())
    assert [o.unit for o in end.outcomes].count("capture") == 2


def test_a_unit_that_reads_another_configuration_fails_its_run(
    on_dask: DaskCluster, world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = world()
    assert backup(config=made.reference, return_state=True).name == "Completed"
    submitter = submit_units.UnitSubmitter

    def edited_now(*arguments: Any, **options: Any) -> submit_units.UnitSubmitter:
        made.file.write_text(made.file.read_text() + "objectives: {rpo: 13h}\n")
        return submitter(*arguments, **options)

    monkeypatch.setattr("tasks.run_job.UnitSubmitter", edited_now)
    state = verify(config=made.reference, return_state=True)
    assert state.name == "Failed"
    end = made.ends("one")[-1]
    assert end.verdict == "failed"
    errors = [o.error for o in end.outcomes]
    assert {e.code for e in errors if e} == {"config-differs"}
    assert None not in errors
    assert all(e and made.reference in e.message for e in errors)


def harness(monkeypatch: pytest.MonkeyPatch, **options: Any) -> Outcome:
    """What a unit comes to, of a run whose configuration no worker has."""

    @flow(task_runner=ChosenRunner(max_workers=2), validate_parameters=False)
    def run() -> list[Outcome]:
        run_ref = RunRef("/nowhere.yaml", "run", "0")
        return submit_units.UnitSubmitter(run_ref, **options)(
            [SweepUnit(repository="one", now=utc_now())]
        )

    (outcome,) = run()
    return outcome


def test_a_worker_without_this_package_is_refused_before_any_unit(
    workers: DaskCluster,
    world: Callable[..., World],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = world()
    (tmp_path / "old" / "qdrant_dr").mkdir(parents=True)
    (tmp_path / "old" / "qdrant_dr" / "__init__.py").write_text("raise ImportError('an old image')")
    bare = {"PYTHONPATH": str(tmp_path / "old"), "PYTHONSAFEPATH": "1"}
    old = workers.add(env=bare)
    try:
        eventually(lambda: "Registered to" in old.log.read_text(), within=60)
        use(workers, monkeypatch)
        state = backup(config=made.reference, return_state=True)
    finally:
        old.kill()
    end = only_end(made)
    assert (state.name, end.verdict, end.outcomes) == ("Failed", "failed", ())
    assert end.error is not None
    assert end.error.code == "workers-unfit"
    assert "1 of 3 Dask workers" in end.error.message
    assert "an old image" in end.error.message
    assert "requirements.lock" in (state.message or "")


def test_a_package_of_that_name_on_a_worker_does_not_stand_in_front_of_ours(
    world: Callable[..., World], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("flows", "tasks"):
        (tmp_path / "theirs" / name).mkdir(parents=True)
        (tmp_path / "theirs" / name / "__init__.py").write_text("raise ImportError('theirs')")
    foreign = {"PYTHONPATH": str(tmp_path / "theirs"), "PYTHONSAFEPATH": "1"}
    made = world()
    with dask_cluster(tmp_path / "dask", workers=0) as cluster:
        cluster.add(env=foreign)
        use(cluster, monkeypatch)
        monkeypatch.setattr(unit_tasks, "execute", not_here)
        state = backup(config=made.reference, collections=["users"], return_state=True)
    assert state.type.value == "COMPLETED", state.message
    assert only_end(made).verdict == "ok"


def test_workers_that_are_gone_are_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask_runner, "LOOK", 0.5)
    monkeypatch.setattr(dask_runner.DaskRunner, "preflight", lambda _: None)
    with dask_cluster(tmp_path / "dask", workers=0) as cluster:
        use(cluster, monkeypatch)
        late = harness(monkeypatch, deadline=timedelta(seconds=2))
        assert late.verdict == "failed"
        assert late.error is not None
        assert late.error.message == "not finished within the deadline of its run"
        monkeypatch.setattr(dask_runner, "LONELY", 2.0)
        lost = harness(monkeypatch)
        assert lost.verdict == "failed"
        assert lost.error is not None
        assert lost.error.code == "unit-lost"
        assert "no Dask worker for 2 s" in lost.error.message
        monkeypatch.undo()
        use(cluster, monkeypatch)
        monkeypatch.setattr(dask_runner, "PATIENCE", 2.0)
        with pytest.raises(WorkersUnfit, match="no worker at the Dask scheduler"):
            harness(monkeypatch)
        cluster.scheduler.kill()
        with pytest.raises(WorkersUnfit, match="no Dask scheduler at"):
            harness(monkeypatch)


def test_a_worker_killed_in_a_copy_costs_one_more_start_of_it(
    on_dask: DaskCluster, world: Callable[..., World], source: str
) -> None:
    """The last test here: nobody else needs that worker."""
    made = world()
    slowly(made, "20KiB/s")
    before = snapshots_on(source)  # other tests' killed runs have left theirs there
    killed: list[str] = []

    def kill() -> None:
        eventually(lambda: list(made.folders["two"].glob("backups/**/snapshot.json")), within=90)
        with Client(on_dask.address, timeout=20, set_as_default=False) as client:
            names = {a: w["id"] for a, w in client.scheduler_info()["workers"].items()}
            at_work = [a for a, keys in client.processing().items() if keys]
        for address in at_work[:1]:
            killed.append(names[address])
            on_dask.by_name(names[address]).kill()

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    state = backup(config=made.reference, return_state=True)
    killer.join(timeout=10)
    assert killed, "no worker was killed in the middle"
    end = only_end(made)
    # whoever was at work twice says so, and nothing is lost by it
    assert (state.name, end.verdict) == ("Degraded", "degraded"), end.reasons
    captured = [o for o in end.outcomes if o.unit == "capture"]
    assert {o.collection for o in captured} == {"movies", "users"}
    again = [o for o in captured if o.notes]
    assert again
    assert all("by a worker that was lost" in n for o in again for n in o.notes), again
    proofs = [o for o in end.outcomes if o.unit == "verify"]
    assert {(o.collection, o.verdict) for o in proofs} == {("movies", "ok"), ("users", "ok")}
    assert len(proofs) == 4
    assert snapshots_on(source) <= before, "a snapshot was left on the node"


def snapshots_on(source: str) -> set[str]:
    return {
        snapshot["name"]
        for name in ("movies", "users")
        for snapshot in httpx.get(f"{source}/collections/{name}/snapshots", timeout=10).json()[
            "result"
        ]
    }
