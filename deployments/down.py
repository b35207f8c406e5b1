"""`qdrant-dr down`: end the worker and the server that `qdrant-dr up` started, and nothing else.

Runs that are at work are asked to end first, while the worker lives that tells their end: they
write their end record and clean up. The worker alone would take them along without a word, and
leave them `Running`.
"""

from __future__ import annotations

from deployments import processes
from deployments.local_server import LocalServer
from deployments.up import Say, alone, home, say
from deployments.worker import Worker


def down(say: Say = say) -> None:
    """End the runs, the worker, and last the server that they need to say goodbye.

    Raise UsageError while another `up` or `down` is at work; what was not running is no error.
    """
    with alone(home()):
        _down(say)


def _down(say: Say) -> None:
    server, worker = LocalServer(home()), Worker(home())
    served = processes.running(worker.file)
    if served and (runs := worker.end_runs()):
        say(f"runs at work: {runs} ended before their time; their records say how far they came")
    say(f"worker: {worker.stop()}")
    say(f"prefect server: {server.stop()}")
    if served and served.get("api") != server.api:
        say(f"what is registered at {served['api']} stays; what is due there gets late, unless "
            f"another worker serves the pool.\n  `prefect work-pool pause {served['pool']}` "
            "holds it; `qdrant-dr up` goes on")  # fmt: skip
    elif server.api:
        say(f"deployments and data stay below {home()}; `qdrant-dr up` goes on where this stopped")
