"""`make down`: end the worker and the server that `make up` started, and nothing else.

Runs that are at work are asked to end first, while the worker lives that tells their end: they
write their end record and clean up. The worker alone would take them along without a word, and
leave them `Running`.
"""

from __future__ import annotations

import sys

from deployments import processes
from deployments.local_server import LocalServer
from deployments.up import alone, home, say
from deployments.worker import Worker
from qdrant_dr.errors import DRError


def main() -> None:
    """Do it, a line for each; what was not running is no error."""
    try:
        with alone(home()):
            down()
    except DRError as e:
        sys.exit(f"{e.message}\n  {e.hint}")


def down() -> None:
    """The runs, the worker, and last the server that they need to say goodbye."""
    server, worker = LocalServer(home()), Worker(home())
    served = processes.running(worker.file)
    if served and (runs := worker.end_runs()):
        say(f"runs at work: {runs} ended before their time; their records say how far they came")
    say(f"worker: {worker.stop()}")
    say(f"prefect server: {server.stop()}")
    if served and served.get("api") != server.api:
        say(f"what is registered at {served['api']} stays; what is due there gets late, unless "
            f"another worker serves the pool.\n  `prefect work-pool pause {served['pool']}` "
            "holds it; `make up` goes on")  # fmt: skip
    elif server.api:
        say(f"deployments and data stay below {home()}; `make up` goes on where this stopped")


if __name__ == "__main__":
    main()
