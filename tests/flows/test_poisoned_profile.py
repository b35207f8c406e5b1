"""The command line never speaks to a Prefect server, whatever profile the user has."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.world import World

ROOT = Path(__file__).parents[2]


@contextmanager
def trap() -> Iterator[tuple[str, list[bytes]]]:
    """A listening socket that keeps what is sent to it: the API of a profile that is not ours."""
    caught: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(2)
                    caught.append(connection.recv(4096))

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/api", caught
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def poisoned(folder: Path, api: str) -> dict[str, str]:
    """The environment of a user who works with Prefect Cloud every day."""
    profiles = folder / "profiles.toml"
    profiles.write_text(
        f'active = "cloud"\n[profiles.cloud]\nPREFECT_API_URL = "{api}"\n'
        'PREFECT_API_KEY = "pnu_x"\n'
    )
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    return {**kept, "PREFECT_PROFILES_PATH": str(profiles), "PREFECT_API_URL": api}


def test_the_trap_catches(tmp_path: Path) -> None:
    with trap() as (api, caught):
        command = [sys.executable, "-m", "prefect", "flow", "ls"]
        env = {
            **poisoned(tmp_path, api),
            "PREFECT_HOME": str(tmp_path),
            "PREFECT_CLIENT_MAX_RETRIES": "0",
        }
        done = subprocess.run(command, env=env, capture_output=True, timeout=60, check=False)
    assert done.returncode != 0
    assert caught, "a test that cannot fail proves nothing"


def test_the_command_line_sends_nothing(world: Callable[..., World], tmp_path: Path) -> None:
    made = world()
    with trap() as (api, caught):
        for arguments in (["backup"], ["list"]):
            done = subprocess.run(
                [sys.executable, "-m", "qdrant_dr.cli", "-c", made.reference, *arguments],
                cwd=ROOT, env=poisoned(tmp_path, api), capture_output=True, text=True,
                timeout=90, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            assert "movies" in done.stdout
    assert caught == []
    assert made.manifests("one")
