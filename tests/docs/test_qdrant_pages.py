"""The pages on Qdrant, Docker, helm and Qdrant Cloud: what they are for reads their samples."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from qdrant_dr import configfile
from qdrant_dr.cli.app import build
from qdrant_dr.jobs.target.scratch import free_ports
from qdrant_dr.parent_death import command_dying_with_parent
from tests.support.documented import DOCS, blocks

PAGES = ["qdrant", "qdrant-docker", "qdrant-helm", "qdrant-cloud"]
CHART = {
    "replicaCount", "image", "apiKey", "readOnlyApiKey", "persistence", "snapshotPersistence",
    "config",
}  # fmt: skip
"""Those of the keys in the chart's values.yaml (1.19.0) that we may use."""
real = [
    pytest.mark.qdrant,
    pytest.mark.skipif("QDRANT_BIN" not in os.environ, reason="needs QDRANT_BIN"),
]


def fenced(page: str, kind: str) -> list[str]:
    text = (DOCS / f"{page}.md").read_text()
    return re.findall(rf"^```{kind}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def is_ours(sample: str) -> bool:
    return sample.startswith("format:")


SAMPLES = [(page, text) for page in PAGES for text in fenced(page, "yaml") if is_ours(text)]


def helm_values() -> dict[str, Any]:
    (text,) = [t for t in fenced("qdrant-helm", "yaml") if not is_ours(t)]
    values: dict[str, Any] = yaml.safe_load(text)
    return values


def test_every_platform_has_a_configuration() -> None:
    assert [page for page, _ in SAMPLES] == PAGES[1:]


@pytest.mark.parametrize(("page", "text"), SAMPLES, ids=[page for page, _ in SAMPLES])
def test_a_configuration_is_read(page: str, text: str, tmp_path: Path) -> None:
    file = tmp_path / "qdrant-dr.yaml"
    file.write_text(text)
    config = configfile.load(file)
    assert config.cluster.api_key != config.cluster.read_api_key
    assert len({*config.cluster.nodes}) == (1 if page == "qdrant-docker" else 3)


@pytest.mark.parametrize("page", PAGES)
def test_commands_parse_and_links_lead_somewhere(page: str) -> None:
    for block in blocks(page):
        for line in block.text.replace("\\\n", " ").splitlines():
            tokens = shlex.split(line)
            if tokens[:1] == ["qdrant-dr"]:
                build().parse_args(tokens[1:], exit_on_error=False, print_error=False)
    for target in re.findall(r"\]\(([^)]+)\)", (DOCS / f"{page}.md").read_text()):
        assert target.startswith("https://") or (DOCS / target.partition("#")[0]).exists(), target


def test_the_values_are_the_charts_and_keep_snapshots() -> None:
    values = helm_values()
    assert values.keys() <= CHART
    assert values["snapshotPersistence"]["enabled"] is True
    assert values["apiKey"] != values["readOnlyApiKey"]
    assert re.fullmatch(r"v\d+\.\d+\.\d+", values["image"]["tag"])


@contextmanager
def started(folder: Path, settings: dict[str, str], *flags: str) -> Iterator[httpx.Client]:
    """A server on loopback, as these settings and flags make it."""
    http, grpc, p2p = free_ports(3)
    environment = {
        **os.environ, **settings,
        "QDRANT__SERVICE__HOST": "127.0.0.1",
        "QDRANT__SERVICE__HTTP_PORT": str(http),
        "QDRANT__SERVICE__GRPC_PORT": str(grpc),
        "QDRANT__CLUSTER__P2P__PORT": str(p2p),
        "QDRANT__SERVICE__ENABLE_STATIC_CONTENT": "false",
        "QDRANT__TELEMETRY_DISABLED": "true",
    }  # fmt: skip
    command = command_dying_with_parent(
        os.environ["QDRANT_BIN"], *(f.replace("P2P", str(p2p)) for f in flags)
    )
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    key = settings.get("QDRANT__SERVICE__API_KEY", "")
    url = f"http://127.0.0.1:{http}"
    try:
        with httpx.Client(base_url=url, headers={"api-key": key}, trust_env=False) as client:
            deadline = time.monotonic() + 60
            while True:
                try:
                    if client.get("/readyz").is_success:
                        break
                except httpx.TransportError:
                    assert process.poll() is None, (folder / "server.log").read_text()
                assert time.monotonic() < deadline, (folder / "server.log").read_text()
                time.sleep(0.1)
            yield client
    finally:
        process.kill()
        process.wait(20)


def snapshot(client: httpx.Client) -> str:
    body = {"vectors": {"size": 2, "distance": "Dot"}}
    client.put("/collections/c", json=body, timeout=30).raise_for_status()
    made = client.post("/collections/c/snapshots", timeout=30).raise_for_status()
    return str(made.json()["result"]["name"])


class TestOnARealServer:
    pytestmark = real

    def test_docker_environment(self, tmp_path: Path) -> None:
        (text,) = fenced("qdrant-docker", "ini")
        settings = dict(line.split("=", 1) for line in text.splitlines())
        with started(tmp_path, settings) as client:
            name = snapshot(client)
            reading = {"api-key": settings["QDRANT__SERVICE__READ_ONLY_API_KEY"]}
            assert client.get("/collections", headers=reading).is_success
            assert client.delete("/collections/c", headers=reading).status_code == 403
        assert (tmp_path / "snapshots" / "c" / name).exists()
        assert (tmp_path / "storage").is_dir()

    def test_helm_section_config(self, tmp_path: Path) -> None:
        (tmp_path / "production.yaml").write_text(yaml.safe_dump(helm_values()["config"]))
        flags = ("--config-path", "production.yaml", "--uri", "http://127.0.0.1:P2P")
        with started(tmp_path, {}, *flags) as client:
            assert client.get("/cluster").json()["result"]["status"] == "enabled"
            name = snapshot(client)
        assert (tmp_path / "snapshots" / "c" / name).exists()
