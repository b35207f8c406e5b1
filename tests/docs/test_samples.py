"""Every sample is read by Qdrant, does what it says, and is explained."""

from __future__ import annotations

import os
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from qdrant_dr.jobs.target.scratch import free_ports
from qdrant_dr.parent_death import command_dying_with_parent

SAMPLES = Path(__file__).parents[2] / "deployments" / "samples"
FILES = sorted(SAMPLES.glob("*.yaml"))
SECTIONS = {"storage", "service", "cluster", "tls"}
real = [
    pytest.mark.qdrant,
    pytest.mark.skipif("QDRANT_BIN" not in os.environ, reason="needs QDRANT_BIN"),
]


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_a_sample_is_yaml_and_explained(file: Path) -> None:
    body = yaml.safe_load(file.read_text())
    assert body.keys() <= SECTIONS
    comments = [line for line in file.read_text().splitlines() if line.startswith("#")]
    assert len(comments) >= 4
    assert f"({file.name})" in (SAMPLES / "README.md").read_text()


def test_the_readme_names_no_sample_that_is_not_there() -> None:
    named = {line.split("`")[1] for line in (SAMPLES / "README.md").read_text().splitlines()
             if line.startswith("| [`")}  # fmt: skip
    assert named == {f.name for f in FILES}


@contextmanager
def started(folder: Path, sample: str, **more: str) -> Iterator[httpx.Client]:
    """A server with this sample, its paths and ports redirected."""
    http, grpc, p2p = free_ports(3)
    settings = {
        "QDRANT__SERVICE__HOST": "127.0.0.1",
        "QDRANT__SERVICE__HTTP_PORT": str(http),
        "QDRANT__SERVICE__GRPC_PORT": str(grpc),
        "QDRANT__CLUSTER__P2P__PORT": str(p2p),
        "QDRANT__SERVICE__ENABLE_STATIC_CONTENT": "false",
        "QDRANT__TELEMETRY_DISABLED": "true",
        **more,
    }
    path = SAMPLES / f"{sample}.yaml"
    command = [os.environ["QDRANT_BIN"], "--config-path", str(path)]
    body = yaml.safe_load(path.read_text())
    if body.get("cluster", {}).get("enabled"):
        command += ["--uri", f"http://127.0.0.1:{p2p}"]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command_dying_with_parent(*command), cwd=folder, env={**os.environ, **settings},
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
    scheme = "https" if body.get("service", {}).get("enable_tls") else "http"
    verify: Any = str(folder / "tls" / "cert.pem") if scheme == "https" else False
    context = ssl.create_default_context(cafile=verify) if verify else False
    try:
        with httpx.Client(
            base_url=f"{scheme}://127.0.0.1:{http}", verify=context, trust_env=False, timeout=20
        ) as client:
            deadline = time.monotonic() + 60
            while True:
                try:
                    if client.get("/readyz").status_code == 200:
                        break
                except httpx.TransportError:
                    pass
                said = (folder / "server.log").read_text(errors="replace")[-1500:]
                assert process.poll() is None, said
                assert time.monotonic() < deadline, said
                time.sleep(0.1)
            yield client
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def make(client: httpx.Client, name: str = "c") -> None:
    body = {"vectors": {"size": 2, "distance": "Dot"}}
    client.put(f"/collections/{name}", json=body).raise_for_status()


class TestOnARealServer:
    pytestmark = real

    def test_snapshots_on_disk(self, tmp_path: Path) -> None:
        with started(tmp_path, "snapshots-on-disk") as client:
            make(client)
            made = client.post("/collections/c/snapshots").raise_for_status().json()["result"]
        assert made["checksum"]
        assert (tmp_path / "snapshots" / "c" / made["name"]).stat().st_size == made["size"]

    def test_snapshots_on_s3(self, tmp_path: Path) -> None:
        """It starts, and wants its bucket when a snapshot is asked for."""
        nowhere = f"http://127.0.0.1:{free_ports(1)[0]}"
        keys = {"AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none"}
        endpoint = {"QDRANT__STORAGE__SNAPSHOTS_CONFIG__S3_CONFIG__ENDPOINT_URL": nowhere}
        with started(tmp_path, "snapshots-on-s3", **keys, **endpoint) as client:
            make(client)
            refused = client.get("/collections/c/snapshots", timeout=60)
        assert refused.status_code >= 500
        assert not list((tmp_path / "snapshots").glob("c/*.snapshot"))

    def test_write_ahead_log(self, tmp_path: Path) -> None:
        with started(tmp_path, "write-ahead-log") as client:
            make(client)
            info = client.get("/collections/c").json()["result"]
        wal = yaml.safe_load((SAMPLES / "write-ahead-log.yaml").read_text())["storage"]["wal"]
        assert info["config"]["wal_config"] == wal

    def test_cluster(self, tmp_path: Path) -> None:
        with started(tmp_path, "cluster") as client:
            assert client.get("/cluster").json()["result"]["status"] == "enabled"
            make(client)
            params = client.get("/collections/c").json()["result"]["config"]["params"]
        assert params["replication_factor"] == 2

    def test_listener_node(self, tmp_path: Path) -> None:
        with started(tmp_path, "listener-node") as client:
            assert client.get("/cluster").json()["result"]["status"] == "enabled"

    def test_no_url_recovery(self, tmp_path: Path) -> None:
        with started(tmp_path, "no-url-recovery") as client:
            answer = client.put(
                "/collections/c/snapshots/recover", json={"location": "http://127.0.0.1:1/x"}
            )
        assert answer.status_code == 403

    def test_tls_and_keys(self, tmp_path: Path) -> None:
        (tmp_path / "tls").mkdir()
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-keyout", "tls/key.pem", "-out", "tls/cert.pem", "-days", "2",
             "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"],
            cwd=tmp_path, check=True, capture_output=True,
        )  # fmt: skip
        keys = {
            "QDRANT__SERVICE__API_KEY": "writes-and-reads",
            "QDRANT__SERVICE__READ_ONLY_API_KEY": "reads",
        }
        with started(tmp_path, "tls-and-keys", **keys) as client:
            assert client.get("/collections").status_code == 401
            client.headers["api-key"] = "reads"
            assert client.get("/collections").status_code == 200
            assert client.put("/collections/c", json={}).status_code in {400, 403}
            body = {"vectors": {"size": 2, "distance": "Dot"}}
            assert client.put("/collections/c", json=body).status_code == 403
            client.headers["api-key"] = "writes-and-reads"
            assert client.put("/collections/c", json=body).status_code == 200
