"""A Prefect profile whose API is a trap: whoever asks it is seen."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
