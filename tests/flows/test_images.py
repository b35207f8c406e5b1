"""What the image and compose run, without containers: the health checks, and the set-up."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from qdrant_dr import configfile
from tests.support.prefect import PrefectServer, free_port, spawn
from tests.support.samples import IMAGES, ROOT, compose, health_command, worker_command
from tests.support.servers import sandbox_server
from tests.support.stores import s3_place
from tests.support.thorough import thorough

KINDS = ("work pool", "work queue", "concurrency limit", "automation", "deployment")
pytestmark = [pytest.mark.prefect, pytest.mark.timeout(400)]


def exit_code(command: Sequence[str], env: Mapping[str, str] = {}) -> int:
    assert command[0] == "python"
    # a proxy that is not there must not matter
    env = {**os.environ, **env, "http_proxy": "http://127.0.0.1:9", "no_proxy": ""}
    return subprocess.run(
        [sys.executable, *command[1:]], env=env, timeout=30, capture_output=True, check=False
    ).returncode


def test_the_health_check_of_the_image_asks_the_worker(
    prefect_api: PrefectServer, tmp_path: Path
) -> None:
    prefect_api.call("POST", "/work_pools/", {"name": "image-pool", "type": "process"})
    port = {
        "PREFECT_WORKER_WEBSERVER_HOST": "127.0.0.1",
        "PREFECT_WORKER_WEBSERVER_PORT": str(free_port()),
    }
    assert exit_code(health_command(), port) != 0  # nobody there
    program, *arguments = (a.replace("$QDR_WORK_POOL", "image-pool") for a in worker_command())
    assert program == "prefect"
    worker = spawn(
        "-m", "prefect", *arguments, log=tmp_path / "worker.log", env={**prefect_api.env, **port}
    )
    try:
        deadline = time.monotonic() + 240
        while exit_code(health_command(), port) != 0:
            assert worker.process.poll() is None, worker.log.read_text()
            assert time.monotonic() < deadline, worker.log.read_text()
            time.sleep(0.5)
    finally:
        worker.kill()
    assert exit_code(health_command(), port) != 0


def test_the_health_check_of_the_server_in_compose(prefect_api: PrefectServer) -> None:
    kind, *command = compose()["services"]["prefect"]["healthcheck"]["test"]
    assert kind == "CMD"
    for port, healthy in ((prefect_api.port, True), (free_port(), False)):
        there = [a.replace("4200", str(port)) for a in command]
        assert (exit_code(there) == 0) is healthy


@contextmanager
def as_in_compose(folder: Path) -> Iterator[dict[str, str]]:
    """setup.sh beside a configuration whose services are on loopback; the environment for it."""
    text = (IMAGES / "qdrant-dr.yaml").read_text()
    with (
        sandbox_server(folder / "source") as source,
        sandbox_server(folder / "scratch") as scratch,
        s3_place() as store,
    ):
        for there, here in {
            "http://qdrant:6333": source.url,
            "http://scratch:6333": scratch.url,
            "http://store:7070": store.options.get("endpoint_url", ""),
            "s3://dr/qdrant": f"{store.base}/set-up",
            "/var/tmp/qdrant-dr": str(folder / "spool"),
            "/var/lib/qdrant-dr": str(folder / "lib"),
        }.items():
            assert there in text
            text = text.replace(there, here)
        images, secrets = folder / "images", folder / "secrets"
        for made in (images, secrets, folder / "etc"):
            made.mkdir()
        (images / "qdrant-dr.yaml").write_text(text)
        (images / "setup.sh").write_text((IMAGES / "setup.sh").read_text())
        keys = {"qdrant-key": "", "scratch-key": "", "store-key": store.options["key"]}
        for name, value in {**keys, "store-secret": store.options["secret"]}.items():
            (secrets / name).write_text(value or "unused")
        yield {
            "QDRANT_DR_CONFIG": str(folder / "etc" / "qdrant-dr.yaml"),
            "QDR_SECRETS_DIR": str(secrets),
            "QDR_WORK_POOL": "set-up",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }


@thorough
def test_setup_twice_is_once(prefect_api: PrefectServer, tmp_path: Path) -> None:
    with as_in_compose(tmp_path) as environment:
        said = []
        kept = Path(environment["QDRANT_DR_CONFIG"])
        for _ in range(2):
            done = subprocess.run(
                ["sh", str(tmp_path / "images" / "setup.sh")],
                cwd=ROOT, env={**os.environ, **prefect_api.env, **environment},
                capture_output=True, text=True, timeout=150, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stdout + done.stderr
            said.append(done.stdout)
            ids = [r.id for r in configfile.load(str(kept)).repositories]
            assert None not in ids
            said.append(kept.read_text())
        assert said[1] == said[3]
        registered = [
            [line for line in text.splitlines() if line.startswith(KINDS)]
            for text in (said[0], said[2])
        ]
        assert len(registered[0]) == len(registered[1]) >= 14
        assert all(line.endswith(": unchanged") for line in registered[1]), registered[1]
    found = prefect_api.call("POST", "/deployments/filter", {})
    ours = [d for d in found if d["work_pool_name"] == "set-up"]
    assert {d["parameters"]["config"] for d in ours} == {str(kept)}
    assert len(ours) >= 8
