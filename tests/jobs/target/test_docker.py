"""Containers as scratch: the command line, and a stand-in for `docker` that starts the sandbox.

There is no Docker here: that a real daemon takes this command line is not tried.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from qdrant_dr import configfile
from qdrant_dr.config import Docker
from qdrant_dr.errors import ConfigInvalid, PlanRefused, ServerFailed
from qdrant_dr.jobs.run.run import utc_now
from qdrant_dr.jobs.target.docker import docker_server, run_command
from qdrant_dr.jobs.target.scratch import free_ports
from qdrant_dr.records import Drilled
from tests.support.driving import do, outcomes
from tests.support.replay import ReplaySource
from tests.support.world import World, make_world

STAND_IN = """#!{python}
import json, os, signal, subprocess, sys
from pathlib import Path

home = Path({home!r})
args = sys.argv[1:]
with (home / "calls").open("a") as calls:
    calls.write(json.dumps(args) + "\\n")
if (home / "no-daemon").exists():
    sys.exit("Cannot connect to the Docker daemon at unix:///var/run/docker.sock.")
if args[0] == "run":
    name, published = args[args.index("--name") + 1], args[args.index("--publish") + 1]
    program = [sys.executable, "-m", "qdrant_dr.sandbox", "--port", published.split(":")[1]]
    process = subprocess.Popen(
        program, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True, env={{**os.environ, "PYTHONPATH": {path!r}}},
    )
    (home / f"{{name}}.pid").write_text(str(process.pid))
    print("0123456789ab")
elif args[0] == "ps":
    print("\\n".join(p.stem for p in sorted(home.glob("*.pid"))))
elif args[0] == "rm":
    file = home / f"{{args[-1]}}.pid"
    if not file.exists():
        sys.exit("Error: No such container: " + args[-1])
    try:
        os.kill(int(file.read_text()), signal.SIGKILL)
    except ProcessLookupError:
        pass
    file.unlink()
elif args[0] == "logs":
    print("thread main panicked")
"""


class StandIn:
    """`docker` on PATH."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.home = home / "docker"
        self.home.mkdir()
        program = home / "bin" / "docker"
        program.parent.mkdir()
        program.write_text(
            STAND_IN.format(
                python=sys.executable, home=str(self.home), path=os.pathsep.join(sys.path)
            )
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")

    @property
    def calls(self) -> list[list[str]]:
        return [json.loads(line) for line in (self.home / "calls").read_text().splitlines()]

    @property
    def running(self) -> dict[str, int]:
        return {p.stem: int(p.read_text()) for p in self.home.glob("*.pid")}

    def end(self) -> None:
        for pid in self.running.values():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    stand_in = StandIn(tmp_path, monkeypatch)
    yield stand_in
    stand_in.end()


@pytest.fixture
def world(tmp_path: Path) -> World:
    with ReplaySource(["single"]) as source:
        made = make_world(
            tmp_path / "world", source.url, drill={"docker": {"memory": "1GiB", "cpus": 1.5}}
        )
        assert do(made, "backup").verdict == "ok"
    return made


def test_the_command_line() -> None:
    docker = Docker.model_validate({"image": "mirror.example:5000/qdrant/qdrant", "memory": "3GiB"})
    command = run_command(docker, version="1.18.3", name="qdr-drill-x", port=7001)
    text = " ".join(command)
    assert command[:3] == ["run", "--rm", "--detach"]
    assert command[-1] == "mirror.example:5000/qdrant/qdrant:v1.18.3"
    for part in (
        "--name qdr-drill-x", "--label qdrant-dr.drill=qdr-drill-x", "--memory 3221225472b",
        "--cpus 2", "--pids-limit 4096", "--read-only", "--publish 127.0.0.1:7001:6333",
        "--env QDRANT__CLUSTER__ENABLED=false",
    ):  # fmt: skip
        assert part in text
    assert text.count("--publish") == 1
    assert "API_KEY" not in text
    keyed = run_command(docker, version="1.18.3", name="x", port=7001, clustered=True)
    assert keyed[-3:] == ["./entrypoint.sh", "--uri", "http://127.0.0.1:6335"]
    assert "QDRANT__CLUSTER__ENABLED=true" in keyed


@pytest.mark.parametrize("version", ["1.19.0-dev", "", "latest", "1.18.3 --privileged"])
def test_no_image_without_a_release(version: str) -> None:
    with pytest.raises(PlanRefused, match="no image"):
        run_command(Docker(), version=version, name="x", port=1)


def test_a_drill_in_a_container_that_is_gone_afterwards(docker: StandIn, world: World) -> None:
    end = do(world, "drill", engine="server", pick="latest")
    (outcome,) = outcomes(end, "drill")
    assert outcome.error is None
    assert isinstance(outcome.detail, Drilled)
    assert outcome.detail.points_restored == 1
    (run,) = [c for c in docker.calls if c[0] == "run"]
    name = run[run.index("--name") + 1]
    assert name == f"qdr-drill-{outcome.detail.drill_id.lower()}"
    assert "--memory 1073741824b" in " ".join(run)
    assert "--cpus 1.5" in " ".join(run)
    assert run[-1] == "qdrant/qdrant:v1.18.3"
    assert docker.running == {}


def test_what_a_killed_drill_left_is_removed_and_a_living_one_is_not(
    docker: StandIn, world: World
) -> None:
    now = utc_now()
    living = f"qdr-drill-{now:%Y%m%dt%H%M%Sz}-aaaaaa-bbbbbb"
    for name in ("qdr-drill-20200101t000000z-aaaaaa-bbbbbb", living):
        (docker.home / f"{name}.pid").write_text(str(2**22 + 1))  # no process has this id
    end = do(world, "drill", engine="server")
    assert end.verdict == "ok", end.reasons
    assert list(docker.running) == [living]


def test_ports_stay_free_until_their_server_has_started() -> None:
    """A connection that is made meanwhile must not be given one of them."""
    lowest, _ = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    ports = free_ports(50)
    assert len(set(ports)) == 50
    assert max(ports) < lowest or lowest < 32_000
    with ExitStack() as held:
        for port in ports:
            held.enter_context(socket.socket()).bind(("127.0.0.1", port))
        assert not set(free_ports(50)) & set(ports)


def test_a_container_is_removed_when_the_drill_fails(docker: StandIn) -> None:
    def fail() -> None:
        port = free_ports(1)[0]
        with docker_server(
            Docker(), version="1.18.3", name="qdr-drill-y", port=port, dead=lambda _: False
        ) as url:
            assert url == f"http://127.0.0.1:{port}"
            assert list(docker.running) == ["qdr-drill-y"]
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        fail()
    assert docker.running == {}


def test_a_server_that_never_answers_is_said_with_its_log(
    docker: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qdrant_dr.jobs.target.docker.START_SECONDS", 0.0)
    begun = time.monotonic()
    with (
        pytest.raises(ServerFailed, match="thread main panicked"),
        docker_server(
            Docker(), version="1.18.3", name="x", port=free_ports(1)[0], dead=lambda _: False
        ),
    ):
        pass
    assert time.monotonic() - begun < 30
    assert docker.running == {}


def test_without_a_daemon(docker: StandIn, world: World) -> None:
    (docker.home / "no-daemon").touch()
    end = do(world, "drill", engine="server", pick="latest")
    (outcome,) = outcomes(end, "drill")
    assert outcome.error is not None
    assert "Cannot connect to the Docker daemon" in outcome.error.message
    assert "docker info" in outcome.error.hint


def test_without_a_docker_command(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    end = do(world, "drill", engine="server", pick="latest")
    (outcome,) = outcomes(end, "drill")
    assert outcome.error is not None
    assert outcome.error.code == "config-invalid"
    assert "no `docker` command" in outcome.error.message
    assert "drill.scratch" in outcome.error.hint


@pytest.mark.parametrize(
    ("drill", "line"),
    [
        ({"docker": {"image": "qdrant/qdrant:v1.18.3"}}, "without a tag"),
        ({"docker": {"image": "--privileged"}}, "name of an image"),
        ({"docker": {"memory": 4}}, "no unit"),
        ({"docker": {}, "scratch": {"url": "http://scratch:6333"}}, "cannot be used together"),
    ],
)
def test_what_the_configuration_refuses(world: World, drill: dict[str, Any], line: str) -> None:
    body = yaml.safe_load(world.file.read_text())
    body["drill"] = drill
    world.file.write_text(yaml.safe_dump(body))
    with pytest.raises(ConfigInvalid, match=line):
        configfile.load(world.file)
