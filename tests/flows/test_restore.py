"""The flow `restore` pauses for a person, on a real Prefect server."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from prefect import get_client
from prefect.flow_engine import run_flow
from prefect.states import AwaitingRetry

from flows.restore import restore
from flows.startup import startup
from qdrant_dr.errors import RecoverFailed
from qdrant_dr.records import Restored
from tests.support.deployed import ask_for_run, deploy, run_of, worker
from tests.support.driving import do
from tests.support.prefect import PrefectServer
from tests.support.servers import Server, emptied, sandbox_server
from tests.support.thorough import thorough
from tests.support.waiting import eventually
from tests.support.world import World

pytestmark = [pytest.mark.prefect, pytest.mark.timeout(170)]
BACKUP = "users@latest-proven"


@pytest.fixture
def made(world: Callable[..., World], monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr("tasks.approve.POLL_SECONDS", 1)
    made = world()
    assert do(made, "backup", collections=("users",)).verdict == "ok"
    return made


@pytest.fixture(scope="module")
def empty_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with sandbox_server(tmp_path_factory.mktemp("target")) as server:
        yield server


@pytest.fixture
def target(empty_server: Server) -> Server:
    return emptied(empty_server)


@contextmanager
def somebody(server: PrefectServer, **answer: Any) -> Iterator[list[str]]:
    """Answers the form of the run that pauses; what the form said is in the list."""
    asked: list[str] = []

    def paused() -> list[dict[str, Any]]:
        state = {"type": {"any_": ["PAUSED"]}}
        found = server.call("POST", "/flow_runs/filter", {"flow_runs": {"state": state}})
        return [r for r in found if r["name"].startswith("restore ")]

    def work() -> None:
        (run,) = eventually(paused, within=60)
        keys = run["state"]["state_details"]["run_input_keyset"]
        where = f"{server.api}/flow_runs/{run['id']}/input/{keys['description']}"

        def form() -> str | None:  # Prefect pauses the run first, and saves its form then
            got = httpx.get(where, timeout=30)
            return str(got.raise_for_status().json()) if got.status_code != 404 else None

        asked.append(eventually(form, within=60))
        server.call("POST", f"/flow_runs/{run['id']}/resume", {"run_input": answer})

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    yield asked
    thread.join(60)


def names(url: str) -> list[str]:
    found = httpx.get(f"{url}/collections", timeout=30).json()["result"]["collections"]
    return sorted(c["name"] for c in found)


def run(made: World, target: Server, **parameters: Any) -> Any:
    given = {"backup": BACKUP, "approval_minutes": 2, **parameters}
    return restore(config=made.reference, to=target.url, return_state=True, **given)


def test_it_is_done_once_somebody_approves(
    made: World, target: Server, in_process: PrefectServer
) -> None:
    answer = {"approve": True, "approved_by": "ada", "ticket": "INC-7"}
    with somebody(in_process, **answer) as asked:
        state = run(made, target, ticket="INC-1", requested_by="Ben")
    assert (state.type.value, state.name) == ("COMPLETED", "Completed"), state.message
    assert names(target.url) == ["users"]
    assert "users@" in asked[0]
    assert target.url in asked[0]
    assert "Ben (as typed)" in asked[0]
    assert re.search(r"approves before \*\*20\d\d-\d\d-\d\d \d\d:\d\d UTC\*\*", asked[0])
    (page,) = in_process.call(
        "POST", "/artifacts/filter", {"artifacts": {"key": {"any_": ["qdr-approval"]}}}
    )[-1:]
    assert page["data"] == asked[0]
    assert "compare all 50 points with the seal" in asked[0]
    end = made.ends("one")[-1]
    assert end.start.actor == "Ben (as typed)"
    (outcome,) = end.outcomes
    assert isinstance(outcome.detail, Restored)
    assert (outcome.detail.approved_by, outcome.detail.ticket) == ("ada", "INC-7")


def test_who_asks_and_approves_is_noted(
    made: World, target: Server, in_process: PrefectServer
) -> None:
    with somebody(in_process, approve=True, approved_by="Ada"):
        state = run(made, target, requested_by="ada")
    assert state.is_completed(), state.message
    (outcome,) = made.ends("one")[-1].outcomes
    assert "approved by Ada, who also asked for it" in outcome.notes


def test_the_account_of_the_worker_asked_for_nothing(
    made: World, target: Server, in_process: PrefectServer
) -> None:
    with somebody(in_process, approve=False, approved_by="ada") as asked:
        run(made, target)
    assert "Asked for by **not known to Prefect**" in asked[0]
    assert made.ends("one")[-1].start.actor == "not known to Prefect"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"approve": False, "approved_by": "ada"}, "ada said no"),
        ({"approve": True, "approved_by": " "}, "the approval has no name"),
    ],
)
def test_a_refused_approval_cancels_the_restore(
    made: World, target: Server, in_process: PrefectServer, answer: dict[str, Any], why: str
) -> None:
    with somebody(in_process, **answer):
        state = run(made, target)
    assert (state.type.value, state.message) == ("CANCELLED", f"not approved: {why}")
    assert names(target.url) == []
    end = made.ends("one")[-1]
    assert end.start.job == "restore"
    assert end.error is not None
    assert end.error.code == "plan-refused"


@pytest.mark.usefixtures("in_process")
def test_no_answer_to_the_approval_counts_as_no(
    made: World, target: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.restore.timedelta", lambda minutes: timedelta(seconds=3 * minutes))
    state = run(made, target, approval_minutes=1)
    # Prefect's own, whatever the flow returns then; ours, where that came first
    assert state.is_failed() or state.is_cancelled(), state.message
    assert names(target.url) == []
    end = made.ends("one")[-1]
    assert end.verdict == "failed"
    assert end.error is not None
    assert "nobody answered within 3 s" in end.error.message


@thorough
@pytest.mark.timeout(600)
def test_an_approval_may_take_longer_than_a_slot_is_lent(
    prefect_api: PrefectServer, made: World, target: Server, tmp_path: Path
) -> None:
    """Prefect lends a deployment's slot for five minutes, and ends a paused run that has lost it:
    so this deployment has no limit."""
    pools = {"patient": (made.reference, "patient")}
    patient = deploy(prefect_api, tmp_path, pools, flow="restore")["patient"]
    with worker(prefect_api, "patient", tmp_path / "worker.log") as running:
        asked = ask_for_run(prefect_api, patient, backup=BACKUP, to=target.url)

        def state() -> str:
            return str(run_of(prefect_api, asked)["state_name"])

        eventually(lambda: state() == "Paused", within=120)
        time.sleep(330)
        assert state() == "Paused", running.log.read_text()
        answer = {"approve": True, "approved_by": "ada"}
        prefect_api.call("POST", f"/flow_runs/{asked}/resume", {"run_input": answer})
        eventually(lambda: state() == "Completed", within=90)
    assert names(target.url) == ["users"]


@pytest.mark.usefixtures("in_process")
def test_what_cannot_be_done_is_refused_before_anybody_is_asked(
    made: World, target: Server
) -> None:
    state = run(made, target, replication_factor=1, way="url")
    assert state.is_failed()
    assert "no URL that a server could fetch" in state.message
    assert names(target.url) == []


@pytest.mark.usefixtures("in_process")
def test_scratch_needs_no_approval(world: Callable[..., World], target: Server) -> None:
    made = world(drill={"scratch": {"url": target.url, "disposable": True}})
    assert do(made, "backup", collections=("users",)).verdict == "ok"
    state = run(made, target)
    assert state.is_completed(), state.message
    assert names(target.url) == ["users"]


def test_an_approval_is_for_one_attempt(
    made: World, target: Server, in_process: PrefectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prefect remembers an answered pause by its key: a run that is tried again asks again."""
    monkeypatch.setattr("flows.restore.timedelta", lambda minutes: timedelta(seconds=4 * minutes))

    def fails(*_: Any, **__: Any) -> None:
        raise RecoverFailed("not today")

    monkeypatch.setattr("qdrant_dr.jobs.restore.unit.wait_restored", fails)
    with somebody(in_process, approve=True, approved_by="ada"):
        state = run(made, target, approval_minutes=1)
    with get_client(sync_client=True) as client:  # as the button "Retry" does
        run_id = state.state_details.flow_run_id
        client.set_flow_run_state(run_id, AwaitingRetry(), force=True)
        again = client.read_flow_run(run_id)
    run_flow(restore, flow_run=again, parameters=again.parameters, return_type="state")
    first, second = [end for end in made.ends("one") if end.start.job == "restore"]
    assert [o.verdict for o in first.outcomes] == ["failed"]
    assert second.outcomes == ()
    assert second.error is not None
    assert "nobody answered" in second.error.message


@pytest.mark.usefixtures("in_process")
def test_every_collection_of_a_run(world: Callable[..., World], target: Server) -> None:
    made = world(drill={"scratch": {"url": target.url, "disposable": True}})
    assert do(made, "backup").verdict == "ok"
    of_run = made.ends("one")[-1].start.run_id
    state = run(
        made, target, backup=None, every=True, of_run=of_run, bandwidth_mib_per_second=50,
        keep_failed=True,
    )  # fmt: skip
    assert state.is_completed(), state.message
    assert names(target.url) == ["movies", "users"]


ALONE = [
    ({"backup": None}, "give `backup`, or say `every`: neither was given"),
    ({"every": True}, "give `backup`, or say `every`: both were given"),
    ({"of_run": "20261122T021500Z-abcdef"}, "`of_run` belongs to `every`"),
    ({"backup": None, "every": True, "name": "x"}, "are of one backup, not of `every`"),
]


@pytest.mark.usefixtures("in_process")
def test_parameters_that_do_not_go_together(made: World, target: Server) -> None:
    for parameters, why in ALONE:
        state = run(made, target, **parameters)
        assert state.is_failed(), parameters
        assert why in state.message
    assert [end.start.job for end in made.ends("one")] == ["backup"]


@pytest.mark.usefixtures("in_process")
def test_a_start_up_archive(made: World, tmp_path: Path) -> None:
    out = tmp_path / "full.snapshot"
    given = {"config": made.reference, "out": str(out), "return_state": True}
    state = startup(backups=[BACKUP], **given)
    assert state.is_completed(), state.message
    assert out.stat().st_size > 10_000
    assert made.ends("one")[-1].start.job == "startup"
    again = startup(**given)
    assert again.is_failed()
    assert "exists already" in again.message
