"""compose.yaml: pinned, without a password, nobody reaches whom it should not, commands exist."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from qdrant_dr import configfile
from qdrant_dr.jobs.target.scratch import child_server
from qdrant_dr.version import __version__
from tests.support.samples import IMAGES, PINNED, ROOT, compose, locked, worker_command

FILE = ROOT / "deployments" / "compose.yaml"
SAMPLE = ROOT / "deployments" / "compose.env.sample"
SERVICES: dict[str, Any] = compose()["services"]
OURS = [n for n, s in SERVICES.items() if "build" in s]
VARIABLE = re.compile(r"\$\{(\w+)(:\?[^}]+)?\}")


def test_every_image_is_pinned() -> None:
    images = {s["image"] for s in SERVICES.values()}
    assert len(images) == 4
    for image in images:
        assert PINNED.match(image), image
    assert {SERVICES[n]["image"] for n in OURS} == {f"qdrant-dr:{__version__}"}
    servers = {SERVICES[n]["image"] for n in ("qdrant", "scratch")}
    assert servers == {"qdrant/qdrant:v1.18.3"}
    assert "1.18.3 was run" in (ROOT / "README.md").read_text()


def test_prefect_is_the_locked_one() -> None:
    # its server is our own image: there is no other version to go wrong
    assert "prefect" in OURS
    version = locked(ROOT / "requirements.lock")["prefect"]
    assert f"Prefect {version}" in FILE.read_text()


def test_no_value_is_missing_or_written_down() -> None:
    text = "\n".join(
        line for line in FILE.read_text().splitlines() if not line.lstrip().startswith("#")
    )
    used = VARIABLE.findall(text)
    assert all(message for _, message in used), "a variable that is not set must be refused"
    from_outside = {s["environment"] for s in compose()["secrets"].values()}
    sample = dict(
        line.split("=", 1)
        for line in SAMPLE.read_text().splitlines()
        if "=" in line and not line.startswith("#")
    )
    assert {name for name, _ in used} | from_outside == set(sample)
    assert set(sample.values()) == {""}
    assert "/deployments/.env" in (ROOT / ".gitignore").read_text().splitlines()
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if re.search("KEY|PASSWORD|SECRET|AUTH", name):
                assert value.startswith(("${", "/run/secrets/")), name


def test_the_scratch_server_shares_no_network_with_production() -> None:
    production, scratch = (set(SERVICES[n]["networks"]) for n in ("qdrant", "scratch"))
    assert production
    assert scratch == {"drill"}
    assert not production & scratch
    networks = compose()["networks"]
    assert networks["drill"]["internal"]
    assert networks["database"]["internal"]
    assert {n for n, s in SERVICES.items() if "database" in s["networks"]} == {
        "postgres",
        "migrate",
        "prefect",
    }
    assert all(p.startswith("127.0.0.1:") for s in SERVICES.values() for p in s.get("ports", ()))


def test_every_service_waits_for_a_health_check_or_an_end() -> None:
    waited = 0
    for name, service in SERVICES.items():
        for other, how in service.get("depends_on", {}).items():
            waited += 1
            if how["condition"] == "service_healthy":
                own = SERVICES[other].get("healthcheck", {})
                assert own.get("test"), f"{name} waits for {other}, which says nothing"
            else:
                assert how["condition"] == "service_completed_successfully"
                assert SERVICES[other]["restart"] == "no"
    assert waited > 5


@pytest.mark.parametrize("name", OURS)
def test_ours_may_do_little_and_write_where_the_image_says(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    writable = {"/tmp"} | {target(v) for v in service.get("volumes", ())}
    allowed = {"/tmp", "/home/qdr", "/var/tmp/qdrant-dr", "/var/lib/qdrant-dr", "/etc/qdrant-dr"}
    assert writable <= allowed
    declared = set(compose()["volumes"])
    named = {v.split(":")[0] for v in service.get("volumes", ()) if isinstance(v, str)}
    assert named <= declared


def target(volume: str | dict[str, str]) -> str:
    return volume["target"] if isinstance(volume, dict) else volume.split(":")[1]


def test_the_configuration_names_what_there_is() -> None:
    config = configfile.load(str(IMAGES / "qdrant-dr.yaml"))
    assert config.drill.scratch is not None
    (repository,) = config.repositories
    urls = [*config.cluster.nodes, config.drill.scratch.url, repository.options["endpoint_url"]]
    for url in urls:
        assert urlsplit(url).hostname in SERVICES, url
    keys = re.findall(r"secret:([\w-]+)", (IMAGES / "qdrant-dr.yaml").read_text())
    worker = SERVICES["worker"]
    assert len(keys) == 4
    assert set(keys) == set(worker["secrets"]) <= set(compose()["secrets"])
    assert str(config.capture.spool.path) in {target(v) for v in worker["volumes"]}
    memory = int(worker["mem_limit"].removesuffix("g")) * 2**30
    assert memory >= 2 * config.proof.memory + 2**30
    bucket = urlsplit(repository.url).hostname
    assert f"mkdir -p /data/{bucket} " in SERVICES["store"]["entrypoint"][2]


PROGRAMS = {
    ("prefect", "worker", "start"): worker_command(),
    ("prefect", "server", "start"): SERVICES["prefect"]["command"],
    ("prefect", "server", "database", "upgrade"): SERVICES["migrate"]["command"],
    ("dask", "scheduler"): SERVICES["dask-scheduler"]["command"],
    ("dask", "worker"): SERVICES["dask-worker"]["command"],
    ("qdrant-dr", "status"): SERVICES["cli"]["command"],
}


ASK = """
import contextlib, io, json, runpy, sys

def said(module, *words):
    sys.argv, out = [module, *words, "--help"], io.StringIO()
    with contextlib.redirect_stdout(out):
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        except SystemExit as end:
            return end.code or 0, out.getvalue()
    return 0, out.getvalue()

print(json.dumps([said(*program) for program in json.loads(sys.argv[1])]))
"""


@pytest.fixture(scope="module")
def helps() -> dict[tuple[str, ...], tuple[int, str]]:
    """Exit code and text of `--help` of each program. One process asks them all: to import Prefect
    takes longer than all else here."""
    modules = [({"qdrant-dr": "qdrant_dr.cli"}.get(p, p), *words) for p, *words in PROGRAMS]
    done = subprocess.run(
        [sys.executable, "-c", ASK, json.dumps(modules)], capture_output=True, text=True,
        timeout=120, check=True, env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip
    return dict(zip(PROGRAMS, map(tuple, json.loads(done.stdout)), strict=True))


@pytest.mark.parametrize("program", PROGRAMS, ids=" ".join)
def test_every_option_exists(
    program: tuple[str, ...], helps: dict[tuple[str, ...], tuple[int, str]]
) -> None:
    given = [a for a in PROGRAMS[program] if a.startswith("-")]
    assert tuple(PROGRAMS[program][: len(program)]) == program
    code, text = helps[program]
    assert code == 0, text
    assert " ".join(program[1:]) in text
    for option in given:
        assert re.search(rf"{re.escape(option)}\b", text), option


def test_the_settings_of_the_server_are_its_database(monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.settings.models.root import Settings

    for name, value in SERVICES["prefect"]["environment"].items():
        monkeypatch.setenv(name, VARIABLE.sub("a/b@c:d", value))
    server = Settings().server
    assert server.database.connection_url is not None
    url = server.database.connection_url.get_secret_value()
    assert url == "postgresql+asyncpg://prefect:a%2Fb%40c%3Ad@postgres:5432/prefect"
    assert not server.database.migrate_on_start
    assert server.api.auth_string is not None
    assert server.api.auth_string.get_secret_value() == "a/b@c:d"


@pytest.mark.qdrant
@pytest.mark.skipif("QDRANT_BIN" not in os.environ, reason="needs QDRANT_BIN")
def test_the_health_check_of_qdrant_knows_a_server_that_is_there(tmp_path: Any) -> None:
    with child_server(tmp_path / "server") as url:
        port = str(urlsplit(url).port)
        command = [a.replace("6333", port) for a in SERVICES["qdrant"]["healthcheck"]["test"]]
        assert command[0] == "CMD"
        assert subprocess.run(command[1:], timeout=10, check=False).returncode == 0
    gone = subprocess.run(command[1:], timeout=10, check=False, stderr=subprocess.DEVNULL)
    assert gone.returncode != 0


def test_setup_is_a_script_that_a_shell_takes() -> None:
    (command,) = SERVICES["setup"]["command"]
    assert f"deployments/images/{Path(command).name}" in (IMAGES / "Dockerfile").read_text()
    file = IMAGES / command
    assert os.access(file, os.X_OK)
    subprocess.run(["sh", "-n", str(file)], check=True, timeout=10)
    words = shlex.split(file.read_text(), comments=True)
    at = words.index("register")
    assert words[at - 1] == "qdrant-dr"
