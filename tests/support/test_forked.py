"""Forked sandboxes are processes of their own, and none outlives the tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from tests.support.loopback import loopback
from tests.support.servers import sandbox_server
from tests.support.waiting import eventually

TESTS_THAT_ARE_KILLED = """
import sys
from pathlib import Path
from tests.support.servers import sandbox_server
with sandbox_server(Path(sys.argv[1])) as server:
    print(server.pid, flush=True)
    sys.stdin.read()
"""


def test_two_have_nothing_in_common(tmp_path: Path) -> None:
    with sandbox_server(tmp_path / "a") as a, sandbox_server(tmp_path / "b", api_key="k") as b:
        assert len({a.pid, b.pid, os.getpid()}) == 3
        body = {"vectors": {"size": 2, "distance": "Dot"}}
        loopback.put(f"{a.url}/collections/here", json=body).raise_for_status()
        assert loopback.get(f"{b.url}/collections").status_code == 401
        answer = loopback.get(f"{b.url}/collections", headers={"api-key": "k"})
        assert answer.json()["result"]["collections"] == []
    assert not psutil.pid_exists(a.pid) or psutil.Process(a.pid).status() == "zombie"


def test_it_ends_with_tests_that_are_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", TESTS_THAT_ARE_KILLED, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    ) as tests:
        assert tests.stdout is not None
        pid = int(tests.stdout.readline())
        assert psutil.pid_exists(pid)
        tests.send_signal(signal.SIGKILL)
        tests.wait(10)
    eventually(lambda: not psutil.pid_exists(pid))
