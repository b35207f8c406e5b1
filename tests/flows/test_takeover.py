"""An upgrade takes over the deployments of former names; clusters side by side leave each other's
alone. On a real server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from prefect.client.orchestration import SyncPrefectClient

from deployments import deploy, takeover
from deployments.takeover import COPY, RETIRED, lost
from deployments.up import register_only
from deployments.written import FORMER_VARIABLE, PARAMETERS, variable
from qdrant_dr.errors import UsageError
from tasks.deployment_names import FORMER, deployment_name
from tests.support.forked import run_forked
from tests.support.prefect import PrefectServer
from tests.support.thorough import few
from tests.support.world import World, make_world

pytestmark = [pytest.mark.prefect, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]


class Side:
    """One cluster on the server of the session, with a prefect.yaml of a few flows."""

    def __init__(
        self, server: PrefectServer, folder: Path, source: str, cluster: str, *flows: str,
        pool: str = "side",
    ) -> None:  # fmt: skip
        self.call, self.cluster, self.pool, self.flows = server.call, cluster, pool, flows
        self.env = server.env
        self.world: World = make_world(
            folder / cluster, source, cluster={"name": cluster, "nodes": [source]}
        )
        self.file = folder / f"{cluster}.prefect.yaml"
        self.spec = yaml.safe_load((ROOT / "prefect.yaml").read_text())
        self.spec["deployments"] = [
            d for d in self.spec["deployments"] if d["entrypoint"].split(".")[1] in flows
        ]
        self.file.write_text(yaml.safe_dump(self.spec))

    def register(self) -> list[str]:
        """`qdrant-dr register`, in this process; what it said."""
        said: list[str] = []
        chosen = {"QDRANT_DR_CONFIG": self.world.reference, "QDR_WORK_POOL": self.pool}
        register_only(self.file, {**self.env, **chosen}, None, said.append)
        return [line for line in said if "deployment" in line or line.startswith("  ")]

    def of(self, flow: str, name: str | None = None) -> dict[str, Any]:
        """A deployment; an empty one if there is none."""
        wanted = {"name": {"any_": [name or deployment_name(flow, self.cluster)]}}
        asked = {"deployments": wanted, "flows": {"name": {"any_": [flow]}}}
        (*_, found) = ({}, *self.call("POST", "/deployments/filter", asked))
        return found

    def as_before(self, flow: str, **changes: Any) -> dict[str, Any]:
        """Give a deployment the name, and the tags, that it had in the version before."""
        new = self.of(flow)
        kept = {
            k: new[k] for k in ("flow_id", "parameters", "parameter_openapi_schema", "description",
                                "work_pool_name", "work_queue_name", "job_variables", "pull_steps",
                                "entrypoint", "version", "concurrency_options", "paused")
        }  # fmt: skip
        body = {
            **kept,
            "name": FORMER[flow],
            "tags": [t for t in new["tags"] if not t.startswith("cluster:")],
            "concurrency_limit": 1,
            "schedules": [
                {k: s[k] for k in ("slug", "schedule", "active", "parameters")}
                for s in new["schedules"]
            ],
        }
        made: dict[str, Any] = self.call("POST", "/deployments/", body | changes)
        self.call("DELETE", f"/deployments/{new['id']}")
        return made

    def clear(self) -> None:
        """Leave nothing for the tests after this one."""
        for flow in FORMER:
            for name in (FORMER[flow], deployment_name(flow, self.cluster)):
                if there := self.of(flow, name):
                    self.call("DELETE", f"/deployments/{there['id']}")


@pytest.fixture
def side(
    in_process: PrefectServer, tmp_path: Path, source: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Side]]:
    made: list[Side] = []
    # `prefect deploy` as it is, without the seconds of its import; test_up starts it as users do
    monkeypatch.setattr(deploy, "subprocess", SimpleNamespace(run=run_forked))

    def build(cluster: str, *flows: str, pool: str = "side") -> Side:
        made.append(Side(in_process, tmp_path, source, cluster, *flows, pool=pool))
        return made[-1]

    yield build
    for one in made:
        one.clear()


def changed_of(server: PrefectServer) -> dict[str, Any]:
    """When each deployment and schedule was last changed."""
    every = server.call("POST", "/deployments/filter", {"limit": 200})
    return {d["id"]: d["updated"] for d in every} | {
        s["id"]: (s["updated"], s["active"]) for d in every for s in d["schedules"]
    }


def cron(there: dict[str, Any]) -> list[tuple[str, bool]]:
    return [(s["schedule"]["cron"], s["active"]) for s in there["schedules"]]


def test_what_operators_changed_goes_to_the_new_names_and_nothing_runs_twice(
    side: Callable[..., Side], in_process: PrefectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(takeover, "PAGE", 2)  # there may be more automations than one answer has
    one = side("upgrade", "backup", "replicate", "drill", "verify", "watch")
    one.register()
    earlier = [{"slug": "nightly", "schedule": {"cron": "1 1 * * *", "timezone": "UTC"},
                "active": True, "parameters": {}}]  # fmt: skip
    config = one.world.reference
    one.as_before("backup", schedules=earlier)
    hourly = one.as_before("replicate", paused=True)
    (slug,) = one.of("drill")["schedules"]
    off = {k: slug[k] for k in ("slug", "schedule", "parameters")} | {"active": False}
    one.as_before("drill", schedules=[off], parameters={"config": config, "pick": "latest"})
    one.as_before("verify", concurrency_limit=3)
    watch = one.as_before("watch")
    # the version before kept one variable for all, without parameters
    mine = in_process.call("GET", f"/variables/name/{variable('upgrade')}")["value"]
    in_process.call("DELETE", f"/variables/name/{variable('upgrade')}")
    known = {
        f"{flow}/{FORMER[flow]}": {
            slug: schedule
            for slug, schedule in mine[f"{flow}/{deployment_name(flow, 'upgrade')}"].items()
            if slug != PARAMETERS
        }
        for flow in one.flows
        if flow != "drill"
    }
    in_process.call("POST", "/variables/", {"name": FORMER_VARIABLE, "value": known})
    # this one is due and waits for a worker; a run of it was asked for by hand, too
    due = (datetime.now(UTC) - timedelta(minutes=5)).isoformat()
    state = {"type": "SCHEDULED", "name": "Late", "state_details": {"scheduled_time": due}}
    run = in_process.call("POST", f"/deployments/{watch['id']}/create_flow_run", {"state": state})
    # an operator's automation starts this one
    action = {"type": "run-deployment", "source": "selected", "deployment_id": hourly["id"]}
    trigger = {"type": "event", "posture": "Reactive", "expect": ["never.seen"], "threshold": 1,
               "within": 0}  # fmt: skip
    theirs = in_process.call("POST", "/automations/", {
        "name": "of-an-operator", "trigger": trigger, "actions": [action],
    })["id"]  # fmt: skip

    said = one.register()

    assert "  backup/nightly, its former name, is deleted" in said
    assert any("backup/backup-upgrade: updated" in line for line in said)
    assert cron(one.of("backup")) == [("1 1 * * *", True)]
    assert one.of("replicate")["paused"] is True
    assert cron(one.of("drill")) == [("30 5 * * *", False)]
    assert one.of("drill")["parameters"] == {"config": config, "pick": "latest"}
    assert "  parameter pick was changed by an operator and stays so" in said
    assert one.of("verify")["global_concurrency_limit"]["limit"] == 3
    for flow in one.flows:
        assert one.of(flow)["paused"] is (flow == "replicate")
        assert "cluster:upgrade" in one.of(flow)["tags"]
        assert COPY not in one.of(flow)["tags"]
        former = one.of(flow, FORMER[flow])
        assert bool(former) is (flow in ("watch", "replicate"))
        assert former.get("paused", True)
    assert any("hourly is paused and stays, for automation of-an-operator" in s for s in said)
    assert any("quarter-hourly is paused until 1 runs of it have ended" in s for s in said)
    # what was due is still done
    assert in_process.call("GET", f"/flow_runs/{run['id']}")["state_name"] == "Late"

    before = changed_of(in_process)
    again = one.register()
    assert {s.rpartition(": ")[2] for s in again if s.startswith("deployment")} == {"unchanged"}
    assert changed_of(in_process) == before

    done = {"state": {"type": "COMPLETED"}, "force": True}
    in_process.call("POST", f"/flow_runs/{run['id']}/set_state", done)
    in_process.call("DELETE", f"/automations/{theirs}")
    last = one.register()
    for flow in ("watch", "replicate"):
        assert f"  {flow}/{FORMER[flow]}, its former name, is deleted" in last
        assert not one.of(flow, FORMER[flow])
    assert in_process.call("GET", f"/flow_runs/{run['id']}")["state_name"] == "Completed"


class Killed(BaseException):
    """The process is gone."""


STEPS = few(range(1, 11), 3)


@pytest.mark.parametrize("after", STEPS)
def test_an_upgrade_that_dies_leaves_everything_scheduled_and_the_next_one_ends_it(
    after: int, side: Callable[..., Side], in_process: PrefectServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """It dies once that many requests of it have changed something."""
    one = side("dying", "backup", "watch")
    one.register()
    tags = {flow: one.of(flow)["tags"] for flow in one.flows}
    earlier = [{"slug": "nightly", "schedule": {"cron": "1 1 * * *", "timezone": "UTC"},
                "active": True, "parameters": {}}]  # fmt: skip
    one.as_before("backup", tags=tags["backup"], schedules=earlier)
    one.as_before("watch", tags=tags["watch"])
    real, made = SyncPrefectClient.request, 0

    def request(self: SyncPrefectClient, method: str, path: str, *args: Any, **given: Any) -> Any:
        nonlocal made
        answer = real(self, method, path, *args, **given)  # type: ignore[arg-type]
        changes = method != "GET" and "filter" not in path and "/deployments" in path
        made += changes
        if changes and made == after:
            raise Killed
        return answer

    with monkeypatch.context() as patched:
        patched.setattr(SyncPrefectClient, "request", request)
        died = False
        try:
            one.register()
        except Killed:
            died = True
    assert died or made < after
    for flow in one.flows:
        both = [d for d in (one.of(flow), one.of(flow, FORMER[flow])) if d]
        on = [d for d in both if not d["paused"] and any(s["active"] for s in d["schedules"])]
        # two only for the moment between two requests: then they are due at the same moments, and
        # the run of the former name leaves it to the other
        assert 1 <= len(on) <= 2
        assert len({str(cron(d)) for d in on}) == 1
    one.register()
    assert cron(one.of("backup")) == [("1 1 * * *", True)]
    for flow in one.flows:
        assert one.of(flow)["paused"] is False
        assert not one.of(flow, FORMER[flow])
    before = changed_of(in_process)
    one.register()
    assert changed_of(in_process) == before


def test_schedules_stay_where_prefect_takes_an_empty_list_to_mean_none(
    side: Callable[..., Side],
) -> None:
    """By a setting today, without one in a release to come."""
    one = side("cleared", "backup")
    one.env = {**one.env, "PREFECT_DEPLOYMENTS_CLEAR_SCHEDULES_ON_EMPTY": "true"}
    one.register()
    earlier = [{"slug": "nightly", "schedule": {"cron": "1 1 * * *", "timezone": "UTC"},
                "active": True, "parameters": {}}]  # fmt: skip
    one.as_before("backup", schedules=earlier)
    said = one.register()
    assert any("backup/backup-cleared: updated" in line for line in said)
    assert cron(one.of("backup")) == [("1 1 * * *", True)]
    assert not one.of("backup", "nightly")


def test_what_is_due_next_is_the_successors_before_the_former_one_loses_it(
    side: Callable[..., Side], in_process: PrefectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else what is due before the server's scheduler looks again would not run at all."""
    one = side("soon", "backup")
    one.register()
    old = one.as_before("backup")
    one.call("POST", f"/deployments/{old['id']}/schedule", {})
    real, seen = SyncPrefectClient.request, []

    def due(deployment: str) -> set[str]:
        every = {"deployments": {"id": {"any_": [deployment]}}, "limit": 200}
        found = one.call("POST", "/flow_runs/filter", every)
        return {r["expected_start_time"] for r in found if r["state_type"] == "SCHEDULED"}

    def request(self: SyncPrefectClient, method: str, path: str, *args: Any, **given: Any) -> Any:
        if method == "PATCH" and path.endswith(old["id"]):
            seen.append((due(old["id"]), due(one.of("backup")["id"])))
        return real(self, method, path, *args, **given)  # type: ignore[arg-type]

    monkeypatch.setattr(SyncPrefectClient, "request", request)
    one.register()
    ((lost, coming),) = seen
    assert lost
    assert coming >= lost
    # and what an update of it takes away is there again at once
    new = one.of("backup")
    one.spec["deployments"][0]["description"] = "another one"
    one.file.write_text(yaml.safe_dump(one.spec))
    one.register()
    assert due(new["id"]) >= lost


def served(*on: str, paused: bool = False, tags: tuple[str, ...] = ()) -> Any:
    """A deployment with these schedules on."""
    schedules = [SimpleNamespace(slug=slug or None, active=True) for slug in on]
    return SimpleNamespace(name="new", paused=paused, tags=tags, schedules=schedules)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (served("nightly"), served("nightly"), []),
        (served("nightly"), served(), ["schedule nightly is not on in new"]),
        (served("nightly", ""), served("nightly"), ["schedule of an operator is not on in new"]),
        (served("gone"), served("nightly"), []),
        (served("nightly", paused=True), served(), []),
        (served("nightly"), served("nightly", paused=True, tags=(COPY,)), []),
        (served("nightly"), served("nightly", paused=True), ["new is paused"]),
    ],
)
def test_nothing_is_retired_whose_successor_does_less(old: Any, new: Any, said: list[str]) -> None:
    assert lost(old, new, {"nightly"}) == said


def test_what_an_operator_paused_stays_paused_and_the_former_one_goes_on(
    side: Callable[..., Side],
) -> None:
    one = side("halted", "backup")
    one.register()
    there = one.of("backup")
    nightly = {k: there["schedules"][0][k] for k in ("slug", "schedule", "parameters", "active")}
    one.as_before("backup")
    kept = {k: there[k] for k in ("flow_id", "parameters", "entrypoint", "pull_steps", "tags")}
    body = kept | {"name": there["name"], "schedules": [nightly], "paused": True}
    one.call("POST", "/deployments/", body)
    assert any("backup/nightly stays and goes on as before, for backup-halted is paused" in line
               for line in one.register())  # fmt: skip
    assert one.of("backup")["paused"] is True
    assert one.of("backup", "nightly")["paused"] is False


def test_a_copy_whose_former_one_was_deleted_meanwhile_is_switched_on(
    side: Callable[..., Side],
) -> None:
    """`up` died after it made the copy, and a person tidied up: nothing would run any more."""
    one = side("orphan", "backup")
    one.register()
    there = one.of("backup")
    change = {"paused": True, "tags": [*there["tags"], COPY]}
    one.call("PATCH", f"/deployments/{there['id']}", change)
    assert any("it is switched on" in line for line in one.register())
    now = one.of("backup")
    assert (now["paused"], COPY in now["tags"]) == (False, False)
    assert not any("switched on" in line for line in one.register())


def test_the_former_one_goes_on_until_its_successor_has_its_schedules(
    side: Callable[..., Side],
) -> None:
    one = side("lacking", "backup")
    one.register()
    new = one.of("backup")
    nightly = {k: new["schedules"][0][k] for k in ("slug", "schedule", "parameters", "active")}
    one.as_before("backup")
    # as after a death between two requests; then somebody switched off one of the two
    kept = {k: new[k] for k in ("flow_id", "parameters", "entrypoint", "pull_steps", "tags")}
    body = kept | {"name": new["name"], "schedules": [nightly | {"active": False}]}
    there = one.call("POST", "/deployments/", body)
    (line,) = [line for line in one.register() if "goes on as before" in line]
    assert "is not on in backup-lacking: switch that on, or pause backup/nightly" in line
    assert one.of("backup", "nightly")["paused"] is False
    (off,) = one.of("backup")["schedules"]
    one.call("PATCH", f"/deployments/{there['id']}/schedules/{off['id']}", {"active": True})
    assert "  backup/nightly, its former name, is deleted" in one.register()
    assert [active for _, active in cron(one.of("backup"))] == [True]


def test_two_clusters_on_one_server_leave_each_other_alone(
    side: Callable[..., Side], in_process: PrefectServer
) -> None:
    one, two = (side(name, "backup", "watch") for name in ("east", "west"))
    one.register()
    two.register()
    # of an upgrade of `west` that has not been done yet
    former = two.as_before("backup")
    before = changed_of(in_process)
    *said, shared = one.register()
    assert {line.rpartition(": ")[2] for line in said} == {"unchanged"}, said
    assert f"each of its workers must find {two.world.reference} as well" in shared
    assert changed_of(in_process) == before
    assert "  backup/nightly, its former name, is deleted" in two.register()
    for mine in (one, two):
        for flow in mine.flows:
            assert mine.of(flow)["parameters"]["config"] == mine.world.reference
            assert f"cluster:{mine.cluster}" in mine.of(flow)["tags"]
    assert two.of("backup")["id"] != former["id"]


def test_names_that_another_cluster_has_are_refused_before_anything_is_made(
    side: Callable[..., Side], in_process: PrefectServer
) -> None:
    one, two = (side(name, "backup", pool=f"of-{name}") for name in ("first", "second"))
    for mine in (one, two):  # a file of one's own, in which names say nothing of the cluster
        mine.spec["deployments"][0]["name"] = "every-night"
        mine.file.write_text(yaml.safe_dump(mine.spec))
    one.register()
    there = one.of("backup", "every-night")
    try:
        with pytest.raises(UsageError, match="another cluster's: backup/every-night") as refused:
            two.register()
        assert "{{ $QDR_CLUSTER }}" in refused.value.hint
        assert one.of("backup", "every-night") == there
        pools = {p["name"] for p in in_process.call("POST", "/work_pools/filter", {})}
        assert "of-second" not in pools
        assert one.register() == ["deployment backup/every-night: unchanged"]
    finally:
        in_process.call("DELETE", f"/deployments/{there['id']}")


def test_another_cluster_of_the_same_name_is_refused(
    side: Callable[..., Side], in_process: PrefectServer, tmp_path: Path
) -> None:
    """As two that `qdrant-dr init` has named."""
    one = side("local", "backup")
    one.register()
    before = changed_of(in_process)
    reference = one.world.reference
    there = "http://127.0.0.1:6333"
    elsewhere = make_world(
        tmp_path / "elsewhere", there, cluster={"name": "local", "nodes": [there]}
    )
    one.world = elsewhere
    with pytest.raises(UsageError, match="another cluster named local"):
        one.register()
    assert changed_of(in_process) == before
    assert one.of("backup")["parameters"]["config"] == reference


def test_a_former_name_whose_configuration_cannot_be_read_is_left_alone_and_told(
    side: Callable[..., Side],
) -> None:
    one = side("moved", "backup")
    one.register()
    old = one.as_before("backup", parameters={"config": "/no/longer/here.yaml"})
    (line,) = [s for s in one.register() if "left alone" in s]
    assert "/no/longer/here.yaml" in line
    assert "prefect deployment delete backup/nightly" in line
    assert one.of("backup", "nightly")["id"] == old["id"]
    assert RETIRED not in one.of("backup", "nightly")["tags"]


def test_a_run_of_the_former_name_leaves_it_to_the_successor_only_if_that_does_it(
    side: Callable[..., Side], in_process: PrefectServer
) -> None:
    one = side("doubled", "report")
    one.register()
    one.as_before("report")
    old = one.of("report", "weekly")
    # as after a death between two requests, or where `up` could not tell whose it is
    new = one.call("POST", "/deployments/", {
        k: old[k]
        for k in ("flow_id", "parameters", "entrypoint", "pull_steps", "tags", "work_pool_name")
    } | {"name": "report-doubled", "schedules": [
        {"schedule": s["schedule"], "active": True, "slug": s["slug"]} for s in old["schedules"]
    ]})  # fmt: skip
    # two Mondays that are over: what is due is done at once
    over = {"start_time": (datetime.now(UTC) - timedelta(days=15)).isoformat(), "max_runs": 2}
    for deployment in (old, new):
        one.call("POST", f"/deployments/{deployment['id']}/schedule", over)
    first, second = one.call("POST", "/flow_runs/filter", {
        "deployments": {"id": {"any_": [old["id"]]}}, "sort": "EXPECTED_START_TIME_ASC", "limit": 2,
    })  # fmt: skip
    (its,) = one.call("POST", "/flow_runs/filter", {
        "deployments": {"id": {"any_": [new["id"]]}},
        "flow_runs": {"expected_start_time": {"after_": first["expected_start_time"],
                                              "before_": first["expected_start_time"]}},
    })  # fmt: skip
    running = {"state": {"type": "RUNNING"}, "force": True}
    one.call("POST", f"/flow_runs/{its['id']}/set_state", running)
    in_process.run("flow-run", "execute", first["id"])
    assert one.call("GET", f"/flow_runs/{first['id']}")["state_name"] == "Replaced"
    assert not one.world.ends("one")
    # and while nobody takes the run that the successor has for that moment, it is done
    in_process.run("flow-run", "execute", second["id"])
    assert one.call("GET", f"/flow_runs/{second['id']}")["state_name"] != "Replaced"
    assert [end.start.job for end in one.world.ends("one")] == ["report"]
