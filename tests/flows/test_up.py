"""`qdrant-dr up` and `down`: out of a configuration a pipeline that runs by itself, and back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from deployments import processes
from qdrant_dr.errors import ConfigInvalid, SetupFailed, UsageError
from qdrant_dr.version import __version__
from tests.support.forked import run_forked
from tests.support.prefect import PrefectServer, free_port
from tests.support.thorough import thorough
from tests.support.waiting import eventually
from tests.support.world import World, make_world

pytestmark = [pytest.mark.prefect, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
FEW = {"flows.backup.backup", "flows.drill.drill", "flows.expire.expire"}
POOL = "up-test"
A_CHECKOUT = {
    "GITHUB_SHA": "b6a7b6e2", "GITHUB_REF_NAME": "main", "GITHUB_REPOSITORY": "acme/dr",
    "GITHUB_SERVER_URL": "https://example.org",
}  # fmt: skip
"""By these, or by `git`, Prefect finds a version for a deployment that has none."""


@dataclass
class Pipeline:
    """What one `qdrant-dr up` works with; `env` is its whole environment."""

    home: Path
    file: Path
    world: World
    env: Mapping[str, str]

    def run(self, command: str, *, forked: bool = True) -> list[str]:
        """`qdrant-dr COMMAND` to its end; the lines it printed."""
        words = [command, *(["--prefect-file", str(self.file)] if command == "up" else [])]
        start = run_forked if forked else subprocess.run
        done = start(
            [sys.executable, "-m", "qdrant_dr.cli", *words],
            cwd=ROOT, env=dict(self.env), capture_output=True, text=True,
            timeout=240, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return (done.stdout + done.stderr).splitlines()

    def process(self, name: str) -> int | None:
        found = processes.running(self.home / f"{name}.json")
        return int(found["pid"]) if found else None

    def edit(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Change the entries of its prefect.yaml, by flow."""
        spec = yaml.safe_load(self.file.read_text())
        change({d["entrypoint"].split(".")[1]: d for d in spec["deployments"]})
        self.file.write_text(yaml.safe_dump(spec))


def make_pipeline(folder: Path, source: str, few: set[str], env: Mapping[str, str]) -> Pipeline:
    """Not up yet: a configuration, and a prefect.yaml with `few` entries of the real one."""
    spec = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    spec["deployments"] = [d for d in spec["deployments"] if d["entrypoint"] in few]
    folder.mkdir(exist_ok=True)
    file = folder / "prefect.yaml"
    file.write_text(yaml.safe_dump(spec))
    world = make_world(folder / "world", source, cluster={"name": "upshop", "nodes": [source]})
    home = folder / "up"
    given = {"QDR_UP_HOME": str(home), "QDRANT_DR_CONFIG": world.reference, "QDR_WORK_POOL": POOL}
    return Pipeline(home, file, world, {**env, **given})


@pytest.fixture(scope="module")
def pipeline(
    prefect_api: PrefectServer, source: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pipeline]:
    """Up on the session's server; all its processes are gone afterwards."""
    made = make_pipeline(
        tmp_path_factory.mktemp("up"), source, FEW, {**os.environ, **prefect_api.env, **A_CHECKOUT}
    )
    try:
        made.run("up", forked=False)  # as users start it
        yield made
    finally:
        made.run("down")
        assert made.process("worker") is None


def state_of(server: PrefectServer) -> dict[str, Any]:
    """All that `qdrant-dr up` makes, with when it was last changed."""
    call = server.call
    every = {a["name"]: a["updated"] for a in call("POST", "/automations/filter", {})}
    for kind in ("deployments", "work_pools", "block_documents"):
        every |= {f"{kind} {d['id']}": d["updated"] for d in call("POST", f"/{kind}/filter", {})}
    for found in call("POST", "/deployments/filter", {}):
        every |= {s["id"]: (s["updated"], s["active"]) for s in found["schedules"]}
        every[found["name"]] = (found["paused"], found["global_concurrency_limit"])
    every |= {q["id"]: q["priority"] for q in call("POST", f"/work_pools/{POOL}/queues/filter", {})}
    limits = call("POST", "/v2/concurrency_limits/filter", {"limit": 200})
    return every | {n["name"]: n["limit"] for n in limits}


def test_a_second_run_changes_nothing(pipeline: Pipeline, prefect_api: PrefectServer) -> None:
    before, worker = state_of(prefect_api), pipeline.process("worker")
    said = pipeline.run("up")
    done = said[: said.index("")]
    assert len(done) > 12
    assert {line.rpartition(": ")[2] for line in done} == {"unchanged"}, done
    assert state_of(prefect_api) == before
    assert pipeline.process("worker") == worker
    # tests of the same server may have set a notification for automations that clusters share
    every = prefect_api.call("POST", "/automations/filter", {})
    told = any(do["type"] == "send-notification" for a in every for do in a["actions"])
    assert any(line.startswith("NOBODY WILL BE TOLD") for line in said) != told
    coming = [line.split()[-1] for line in said[said.index("scheduled next (UTC):") + 1 :][:3]]
    assert sorted(coming) == [f"{verb}/{verb}-upshop" for verb in ("backup", "drill", "expire")]


def test_what_an_operator_chose_stays_and_a_dead_worker_is_replaced(
    pipeline: Pipeline, prefect_api: PrefectServer
) -> None:
    call = prefect_api.call
    drill, expire = (call("GET", f"/deployments/name/{n}/{n}-upshop") for n in ("drill", "expire"))
    call("POST", f"/deployments/{drill['id']}/pause_deployment", {})
    off = expire["schedules"][0]["id"]
    call("PATCH", f"/deployments/{expire['id']}/schedules/{off}", {"active": False})
    call("PATCH", f"/deployments/{expire['id']}", {"concurrency_limit": 3})
    earlier = {"cron": "30 4 * * *", "timezone": "UTC"}
    drilled = drill["schedules"][0]["id"]
    call("PATCH", f"/deployments/{drill['id']}/schedules/{drilled}", {"schedule": earlier})
    call("PATCH", "/v2/concurrency_limits/qdr-repository-one", {"limit": 9})
    dead = pipeline.process("worker")
    assert dead is not None
    os.kill(dead, signal.SIGKILL)

    def change(entries: dict[str, Any]) -> None:
        for flow in ("drill", "expire"):
            entries[flow]["description"] = f"another {flow}"
        soon = (datetime.now(UTC) + timedelta(seconds=25)).isoformat()
        # the nightly one is gone, this one is new; not so often that its runs pile up
        entries["backup"]["schedules"] = [{"slug": "soon", "interval": 60, "anchor_date": soon}]

    pipeline.edit(change)
    said = pipeline.run("up")
    assert "deployment drill/drill-upshop: updated (description)" in said
    assert "  it is paused, and stays so" in said
    assert "  schedule daily is off, and stays so" in said
    (changed,) = [line for line in said if "changed by an operator" in line]
    assert changed.startswith("  schedule daily was changed by an operator and stays so")
    assert "cron 30 5 * * * (UTC)" in changed
    assert "  runs at a time: 3 is kept, prefect.yaml says 1" in said
    (backup,) = [line for line in said if line.startswith("deployment backup")]
    assert backup.endswith(
        "(schedule soon is new; schedule nightly, which is not in prefect.yaml, removed)"
    )
    drill, expire = (call("GET", f"/deployments/name/{n}/{n}-upshop") for n in ("drill", "expire"))
    assert (drill["paused"], drill["description"]) == (True, "another drill")
    assert drill["schedules"][0]["schedule"]["cron"] == "30 4 * * *"
    assert drill["pull_steps"] == [{"qdrant_dr.project.pull": {"version": __version__}}]
    assert [s["active"] for s in expire["schedules"]] == [False]
    assert expire["global_concurrency_limit"]["limit"] == 3
    assert call("GET", "/v2/concurrency_limits/qdr-repository-one")["limit"] == 9
    assert "worker: started" in said
    assert pipeline.process("worker") not in (None, dead)
    # and what is scheduled is really run, by that worker
    nightly = call("GET", "/deployments/name/backup/backup-upshop")
    assert [s["slug"] for s in nightly["schedules"]] == ["soon"]
    ended = {"deployments": {"id": {"any_": [nightly["id"]]}},
             "flow_runs": {"state": {"type": {"any_": ["COMPLETED", "FAILED", "CRASHED"]}}},
             "sort": "START_TIME_ASC"}  # fmt: skip
    (run, *_) = eventually(lambda: call("POST", "/flow_runs/filter", ended), within=180, every=1)
    log = (pipeline.home / "worker.log").read_text()
    assert (run["state_name"], run["auto_scheduled"]) == ("Completed", True), log
    assert run["name"] == "backup upshop (scheduled)"
    assert {m.collection for m in pipeline.world.manifests("two")} >= {"movies", "users"}
    start = pipeline.world.ends("one")[0].start
    assert start.trigger == "schedule"
    assert start.actor.startswith("prefect")
    assert start.scheduled_for is not None
    # a worker takes a run ten seconds before it is due
    assert timedelta(seconds=-10) <= start.started_at - start.scheduled_for < timedelta(seconds=240)


def test_a_worker_that_gives_up_is_started_again(pipeline: Pipeline) -> None:
    """As Prefect's does when its server was away for too long."""
    keeper = pipeline.process("worker")
    assert keeper is not None
    (worker,) = processes.children(keeper)
    os.kill(worker, signal.SIGKILL)
    eventually(lambda: processes.children(keeper).keys() - {worker}, within=60)
    assert pipeline.process("worker") == keeper
    assert "is started again in" in (pipeline.home / "worker.log").read_text()


def test_down_ends_what_up_began_even_in_the_middle_of_a_run(
    pipeline: Pipeline, prefect_api: PrefectServer
) -> None:
    worker = pipeline.process("worker")
    assert worker is not None
    nightly = prefect_api.call("GET", "/deployments/name/backup/backup-upshop")["id"]
    prefect_api.call("POST", f"/deployments/{nightly}/create_flow_run",
                     {"state": {"type": "SCHEDULED", "name": "Scheduled"}})  # fmt: skip
    # its worker, and the run below that
    below = eventually(
        lambda: processes.descendants(worker), until=lambda found: len(found) > 1, within=60
    )
    assert pipeline.process("worker") == worker, "it ended by itself"
    said = pipeline.run("down")
    log = (pipeline.home / "worker.log").read_text()[-3000:]
    assert "worker: stopped" in said, f"{said}\n{log}"
    assert any("at work" in line for line in said), f"{said}\n{log}"
    assert any(f"`prefect work-pool pause {POOL}`" in line for line in said)
    assert pipeline.process("worker") is None
    assert not [pid for pid, born in below.items() if processes.birth(pid) == born]
    assert prefect_api.call("GET", "/deployments/name/drill/drill-upshop")
    assert "worker: not running" in pipeline.run("down")


@thorough
def test_a_server_of_ones_own_comes_goes_and_comes_again(source: str, tmp_path: Path) -> None:
    bare = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    users = tmp_path / "users"
    bare |= {"PREFECT_HOME": str(users), "PREFECT_PROFILES_PATH": str(users / "profiles.toml")}
    made = make_pipeline(tmp_path / "own", source, {"flows.expire.expire"}, bare)
    made.home.mkdir()
    port = free_port()
    (made.home / "port").write_text(f"{port}\n")
    # left from before a reboot: this very process has the pid now
    mine = {"pid": os.getpid(), "birth": "another-boot/1", "pool": POOL, "api": "x", "health": "x"}
    for name in ("server", "worker"):
        (made.home / f"{name}.json").write_text(json.dumps(mine))
    try:
        said = made.run("up")
        assert {"prefect server: started", "worker: started"} <= set(said)
        address = f"export PREFECT_API_URL=http://127.0.0.1:{port}/api"
        assert any(line.startswith(address) for line in said)
        server, worker = made.process("server"), made.process("worker")
        assert None not in (server, worker)
        assert os.getpid() not in (server, worker)
        assert not (users / "profiles.toml").exists()
        down = made.run("down")
        assert {"worker: stopped", "prefect server: stopped"} <= set(down)
        assert (made.process("server"), made.process("worker")) == (None, None)
        assert {"worker: not running", "prefect server: not running"} <= set(made.run("down"))
    finally:
        for name in ("worker", "server"):
            with suppress(ProcessLookupError):
                if pid := made.process(name):
                    os.killpg(pid, signal.SIGKILL)


@pytest.fixture
def asked(
    in_process: PrefectServer, world: Callable[..., World], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., None]:  # fmt: skip
    """`up` in this process; keyword arguments are variables, and nothing may come of it."""
    from deployments.up import up

    monkeypatch.setenv("QDR_UP_HOME", str(tmp_path / "up"))
    reference = world().reference

    def run(file: Path = ROOT / "prefect.yaml", **variables: str) -> None:
        given = {"QDRANT_DR_CONFIG": reference, "QDR_WORK_POOL": "never-made"}
        try:
            up(file, {**in_process.env, **given, **variables})
        finally:
            pools = in_process.call("POST", "/work_pools/filter", {})
            assert "never-made" not in {p["name"] for p in pools}

    return run


def test_a_variable_that_is_not_set_is_refused(asked: Callable[..., None], tmp_path: Path) -> None:
    file = tmp_path / "prefect.yaml"
    tag = 'tags: ["env:{{ $QDR_ENV }}"]  # {{ $OF_A_COMMENT }}'
    file.write_text((ROOT / "prefect.yaml").read_text().replace("tags: [qdrant-dr-watch]", tag))
    for empty in ({}, {"QDR_ENV": ""}):
        with pytest.raises(UsageError, match="QDR_ENV, which is not set") as refused:
            asked(file, **empty)
        assert "OF_A_COMMENT" not in str(refused.value)
        assert "export QDR_ENV=" in refused.value.hint


def test_a_configuration_that_is_not_right_is_refused_before_anything_is_made(
    asked: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "qdrant-dr.yaml"
    good = file.read_text()
    file.write_text(good.replace("capture:", "captures:"))
    with pytest.raises(ConfigInvalid, match="captures"):
        asked()
    body = yaml.safe_load(good)
    del body["repositories"][1]["id"]
    file.write_text(yaml.safe_dump(body))
    with pytest.raises(ConfigInvalid, match="repository two has no `id`") as refused:
        asked()
    assert "repository create two --save" in refused.value.hint
    body = yaml.safe_load(good)
    body["cluster"]["api_key"] = "env:QDR_TEST_KEY_OF_NOBODY"
    file.write_text(yaml.safe_dump(body))
    with pytest.raises(UsageError, match="env:QDR_TEST_KEY_OF_NOBODY"):
        asked()
    monkeypatch.chdir(tmp_path / "two")
    with pytest.raises(ConfigInvalid, match=r"there is no \./qdrant-dr.yaml"):
        asked(QDRANT_DR_CONFIG="")


def test_a_configured_server_that_is_away_is_an_error_not_a_reason_for_another(
    tmp_path: Path, world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from deployments.up import up

    monkeypatch.setenv("QDR_UP_HOME", str(tmp_path / "up"))
    away = f"http://ada:hidden@127.0.0.1:{free_port()}/api"
    with temporary_settings({PREFECT_API_URL: away}), pytest.raises(SetupFailed) as refused:
        up(ROOT / "prefect.yaml", {"QDRANT_DR_CONFIG": world().reference})
    assert "does not answer" in refused.value.message
    assert "hidden" not in str(refused.value)
    assert not (tmp_path / "up" / "server.json").exists()


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        (401, "PREFECT_API_AUTH_STRING"),
        (403, "PREFECT_API_KEY"),
        (404, "down to its /api"),
        (405, "down to its /api"),
        (503, "the log of that server"),
    ],
)
def test_an_api_that_is_healthy_and_refuses_is_one_line_that_names_the_setting(
    status: int, hint: str, tmp_path: Path, world: Callable[..., World],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Its health needs no key, so it says nothing about ours."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from deployments.up import up

    class Guarded(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            # without its /api a real server answers 404 to the question for its health
            open_ = self.path.endswith("/health") and status != 404
            self.send_response(200 if open_ else status)
            self.send_header("content-type", "application/json")
            self.end_headers()
            self.wfile.write(b"true" if open_ else b'{"detail": "no"}')

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None: ...

    monkeypatch.setenv("QDR_UP_HOME", str(tmp_path / "up"))
    with ThreadingHTTPServer(("127.0.0.1", 0), Guarded) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        api = f"http://127.0.0.1:{server.server_port}/api"
        with temporary_settings({PREFECT_API_URL: api}), pytest.raises(SetupFailed) as refused:
            up(ROOT / "prefect.yaml", {"QDRANT_DR_CONFIG": world().reference})
        server.shutdown()
    assert f"answers {status}" in refused.value.message
    assert hint in refused.value.hint
    assert "\n" not in refused.value.message + refused.value.hint


def test_a_key_that_may_only_read_is_one_line(
    tmp_path: Path, world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing tells so before the first thing is made."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from deployments.up import register_only

    class ReadOnly(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            reads = {"/api/health": b"true", "/api/admin/version": b'"3.9.1"'}
            self.answer(200, reads[self.path]) if self.path in reads else self.answer(404, b"{}")

        def do_POST(self) -> None:
            self.answer(200, b"[]") if "filter" in self.path else self.answer(403, b"read only")

        def answer(self, status: int, body: bytes) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    monkeypatch.setenv("QDR_UP_HOME", str(tmp_path / "up"))
    with ThreadingHTTPServer(("127.0.0.1", 0), ReadOnly) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        api = f"http://127.0.0.1:{server.server_port}/api"
        with temporary_settings({PREFECT_API_URL: api}), pytest.raises(SetupFailed) as refused:
            register_only(ROOT / "prefect.yaml", {"QDRANT_DR_CONFIG": world().reference}, None)
        server.shutdown()
    assert "answers 403 to POST /api/work_pools/: read only" in refused.value.message
    assert "PREFECT_API_KEY" in refused.value.hint
    assert "\n" not in refused.value.message + refused.value.hint


def test_a_schedule_without_a_run_is_an_error_that_says_why(in_process: PrefectServer) -> None:
    from prefect.client.orchestration import get_client

    from deployments.upcoming import await_scheduled

    call = in_process.call
    flow = call("POST", "/flows/", {"name": "never"})["id"]
    over = datetime(2020, 1, 1, tzinfo=UTC)
    rule = f"DTSTART:{over:%Y%m%dT%H%M%S}\nRRULE:FREQ=DAILY;COUNT=1"
    schedules = [{"slug": "over", "schedule": {"rrule": rule, "timezone": "UTC"}}]
    body = {"name": "d", "flow_id": flow, "schedules": schedules}
    made = call("POST", "/deployments/", body)["id"]
    try:
        with get_client(sync_client=True) as client:
            with pytest.raises(SetupFailed, match=r"never/d \(over\)") as failed:
                await_scheduled(client, {"never/d": ["over"]}, within=1)
            assert "sqlalchemy < 2.1" in failed.value.hint
            with pytest.raises(SetupFailed, match=r"not on the server: never/d \(nightly\)"):
                await_scheduled(client, {"never/d": ["over", "nightly"]}, within=1)
            call("POST", f"/deployments/{made}/pause_deployment", {})
            assert await_scheduled(client, {"never/d": ["over"]}, within=1) == []
    finally:
        call("DELETE", f"/deployments/{made}")


def test_a_pid_of_somebody_else_is_neither_ours_nor_killed(tmp_path: Path) -> None:
    file, log = tmp_path / "p.json", tmp_path / "p.log"
    assert processes.running(file) is None
    for kept in ("", "{", "[]", '{"pid": 1}', json.dumps({"pid": os.getpid(), "birth": "x/1"}),
                 json.dumps({"pid": 2**22 + 1, "birth": None})):  # fmt: skip
        file.write_text(kept)
        assert processes.running(file) is None
        assert processes.stop(file, patience=1) == "not running"
        assert not file.exists()
    stubborn = (
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print('ready', flush=True)\ntime.sleep(60)"
    )
    starter = (
        "import sys; from pathlib import Path; from deployments import processes\n"
        f"processes.start([sys.executable, '-c', {stubborn!r}], env={{}}, log=Path({str(log)!r}),"
        f" file=Path({str(file)!r}), pool='p')"
    )
    subprocess.run([sys.executable, "-c", starter], cwd=ROOT, check=True, timeout=60)
    eventually(lambda: "ready" in log.read_text())
    kept = processes.running(file)
    assert kept is not None
    assert kept["pool"] == "p"
    (child,) = processes.descendants(kept["pid"])
    assert processes.stop(file, patience=1) == "killed"
    assert (processes.birth(kept["pid"]), processes.birth(child)) == (None, None)
