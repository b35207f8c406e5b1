"""A child that opens bytes from a bucket has no key in its environment, and no file of ours."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from qdrant_dr.children import DOCKER, SERVER, bare_environment
from qdrant_dr.config import Docker
from qdrant_dr.errors import ServerFailed
from qdrant_dr.jobs.target.docker import docker_server
from qdrant_dr.jobs.target.scratch import child_server
from qdrant_dr.proof.engine import Engine, EngineLimits
from tests.support.waiting import eventually

KEYS = (
    "QDRANT_API_KEY", "QDRANT__SERVICE__API_KEY", "QDRANT__SERVICE__READ_ONLY_API_KEY",
    "QDRANT__STORAGE__SNAPSHOTS_CONFIG__S3_CONFIG__SECRET_KEY", "QDR_SECRETS_DIR",
    "QDR_SANDBOX_API_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
    "AWS_PROFILE", "GOOGLE_APPLICATION_CREDENTIALS", "AZURE_STORAGE_CONNECTION_STRING",
    "AZURE_CLIENT_SECRET", "PREFECT_API_KEY", "PREFECT_API_URL",
    "PREFECT_SERVER_DATABASE_CONNECTION_URL", "BUCKET_KEY", "GITHUB_TOKEN", "HTTPS_PROXY",
    "PYTHON_KEYRING_PASSWORD", "DOCKER_TOKEN", "SOME_URL_OF_OURS",
)  # fmt: skip
SECRET = "s3cr3t-of-the-parent"


@pytest.fixture(autouse=True)
def rich_parent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[int]:
    """Every kind of key in the environment, and an open file that could be inherited."""
    for name in KEYS:
        monkeypatch.setenv(name, SECRET)
    with (tmp_path / "of the parent").open("w") as held:
        os.set_inheritable(held.fileno(), True)
        yield held.fileno()


def seen_by(pid: int) -> dict[str, str]:
    environ = Path("/proc") / str(pid) / "environ"
    pairs = eventually(environ.read_bytes).decode().split("\0")  # empty while it is about to begin
    return dict(p.partition("=")[::2] for p in pairs if p)


def files_of(pid: int) -> dict[int, str]:
    found = {}
    for fd in (Path("/proc") / str(pid) / "fd").iterdir():
        with suppress(FileNotFoundError):  # that of this very listing
            found[int(fd.name)] = str(fd.readlink())
    return found


def must_be_bare(environment: dict[str, str]) -> None:
    assert SECRET not in environment.values()
    assert not set(KEYS) & environment.keys()
    assert environment["PATH"] == os.environ["PATH"]


def test_what_is_needed_is_passed_and_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setenv("QDRANT__STORAGE__ON_DISK_PAYLOAD", "true")
    monkeypatch.setenv("DOCKER_HOST", "ssh://elsewhere")
    bare = bare_environment({"MINE": "1"})
    must_be_bare(bare)
    assert bare["LC_ALL"] == "C.UTF-8"
    assert bare["MINE"] == "1"
    assert set(filter(None, sys.path)) <= set(bare["PYTHONPATH"].split(os.pathsep))
    assert not {"QDRANT__STORAGE__ON_DISK_PAYLOAD", "DOCKER_HOST"} & bare.keys()
    server, docker = bare_environment({}, also=SERVER), bare_environment({}, also=DOCKER)
    for more in (server, docker):
        must_be_bare(more)
    assert server["QDRANT__STORAGE__ON_DISK_PAYLOAD"] == "true"
    assert docker["DOCKER_HOST"] == "ssh://elsewhere"


def test_the_engine(tmp_path: Path, rich_parent: int) -> None:
    with Engine(tmp_path / "engine", EngineLimits()) as engine:
        must_be_bare(seen_by(engine.pid))
        assert files_of(os.getpid())[rich_parent] not in files_of(engine.pid).values()


def test_a_scratch_server(tmp_path: Path, rich_parent: int) -> None:
    with child_server(tmp_path / "server") as url:
        assert httpx.get(f"{url}/collections", trust_env=False).is_success, "it asks for no key"
        port = url.rpartition(":")[2]
        (pid,) = [
            int(p.name)
            for p in Path("/proc").iterdir()
            if p.name.isdecimal() and _mentions(p, port) and _parent(p) == os.getpid()
        ]
        must_be_bare(seen_by(pid))
        assert files_of(os.getpid())[rich_parent] not in files_of(pid).values()


def test_docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what the command itself gets: it may pass on what it is configured to."""
    told = tmp_path / "environment"
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.write_text(
        f"#!{sys.executable}\nimport json, os, pathlib, sys\n"
        f"pathlib.Path({str(told)!r}).write_text(json.dumps(dict(os.environ)))\nsys.exit('no')\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("DOCKER_HOST", "unix:///elsewhere")
    with (
        pytest.raises(ServerFailed),
        docker_server(Docker(), version="1.18.3", name="x", port=1, dead=lambda _: False),
    ):
        pass
    environment = json.loads(told.read_text())
    must_be_bare(environment)
    assert environment["DOCKER_HOST"] == "unix:///elsewhere"


def _mentions(process: Path, port: str) -> bool:
    try:
        return port in (process / "cmdline").read_bytes().decode().split("\0") or (
            f"QDRANT__SERVICE__HTTP_PORT={port}\0" in (process / "environ").read_text()
        )
    except OSError:
        return False


def _parent(process: Path) -> int:
    return int((process / "stat").read_text().rpartition(")")[2].split()[1])
