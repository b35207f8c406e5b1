"""The process: where it listens, what it leaves, when it ends, what it is filled with."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest

from qdrant_dr.sandbox import serve
from qdrant_dr.sandbox.seed import change_demo, seed, seed_demo
from tests.support.rest import call, scroll
from tests.support.servers import Server, sandbox_server

PARENT = """
import subprocess, sys
child = subprocess.Popen(
    [sys.executable, "-m", "qdrant_dr.sandbox", "--data", sys.argv[1], "--die-with-parent"],
    stdout=subprocess.PIPE, text=True)
print(child.pid, child.stdout.readline().strip(), flush=True)
sys.stdin.read()
"""


def test_it_says_what_it_is(client: httpx.Client) -> None:
    root = client.get("/").json()
    assert root["sandbox"] is True
    assert "sandbox" in root["title"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", root["version"])


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "example.org"])
def test_only_loopback_is_served(host: str) -> None:
    with pytest.raises(ValueError, match="only"):
        serve(0, host=host)


def test_it_listens_on_loopback_only(sandbox: Server) -> None:
    listening = [
        connection.laddr.ip
        for connection in psutil.Process(sandbox.pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert listening == ["127.0.0.1"]


def test_its_data_goes_with_it(tmp_path: Path) -> None:
    with sandbox_server(tmp_path) as server:
        seed(server.url, "movies", points=10)
        assert list((tmp_path / "data").iterdir())
    assert list((tmp_path / "data").iterdir()) == []
    assert (tmp_path / "stderr.log").read_text() == ""


def test_it_dies_with_its_parent(tmp_path: Path) -> None:
    """Even when the parent is killed; and it still clears up."""
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "data")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as parent:
        assert parent.stdout is not None
        pid, url = parent.stdout.readline().split()
        child = psutil.Process(int(pid))
        assert httpx.get(f"{url}/readyz", trust_env=False, timeout=30).status_code == 200
        parent.send_signal(signal.SIGKILL)
        parent.wait(10)
    deadline = time.monotonic() + 20
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "it outlived its parent"
        time.sleep(0.05)
    assert list((tmp_path / "data").iterdir()) == []


def test_a_port_that_is_taken_is_an_error(sandbox: Server, tmp_path: Path) -> None:
    port = int(sandbox.url.rsplit(":", 1)[1])
    with pytest.raises(OSError, match="in use"):
        serve(port, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_seeding_is_deterministic_and_ends_with_deletes(
    client: httpx.Client, sandbox: Server
) -> None:
    for kind in ("movies", "users", "notes"):
        left = [seed(sandbox.url, f"{kind}-{i}", points=60, kind=kind, seed=5) for i in (1, 2)]
        assert left == [58, 58]
        first, second = (scroll(client, f"{kind}-{i}") for i in (1, 2))
        assert first == second
        assert len(first) == 58
        seed(sandbox.url, f"{kind}-other", points=60, kind=kind, seed=6)
        assert scroll(client, f"{kind}-other") != first


def test_the_demo_has_three_collections_and_an_alias(client: httpx.Client, sandbox: Server) -> None:
    held = seed_demo(sandbox.url, 500)
    assert set(held) == {"movies", "users", "notes"}
    for name, count in held.items():
        assert call(client, "POST", f"/collections/{name}/points/count", {})["count"] == count
    assert call(client, "GET", "/collections/live-movies")["points_count"] == held["movies"]
    assert call(client, "GET", "/collections/notes")["config"]["params"]["shard_number"] == 2
    assert any("words" in point["vector"] for point in scroll(client, "notes"))
    before = {name: {p["id"]: p for p in scroll(client, name)} for name in held}
    written = change_demo(sandbox.url, 500)
    for name, count in held.items():
        after = {p["id"]: p for p in scroll(client, name)}
        assert len(after) == count  # none that was deleted came back
        changed = [i for i, point in after.items() if point != before[name][i]]
        assert len(changed) == written[name] > 0


def test_points_are_there_before_the_url_is_printed(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "qdrant_dr.sandbox", "--points", "100"]
    command += ["--data", str(tmp_path), "--die-with-parent"]
    environment = {**os.environ, "QDR_SANDBOX_API_KEY": "key"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        headers = {"api-key": "key"}
        with httpx.Client(base_url=url, headers=headers, timeout=30, trust_env=False) as client:
            names = [c["name"] for c in call(client, "GET", "/collections")["collections"]]
        process.terminate()
        assert process.wait(20) == 0
    assert names == ["movies", "notes", "users"]


def test_a_foreign_host_on_the_command_line_is_refused() -> None:
    command = [sys.executable, "-m", "qdrant_dr.sandbox", "--host", "0.0.0.0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "only" in done.stderr
