"""A Dask scheduler and workers as real processes that die with the tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.prefect import Child, free_port, spawn, spawn_forked
from tests.support.waiting import eventually


@dataclass
class DaskCluster:
    """Where its scheduler listens, and its workers in the order of their start."""

    folder: Path
    port: int
    scheduler: Child
    workers: list[Child] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def add(self, *, threads: int = 2, env: Mapping[str, str] | None = None) -> Child:
        """One more worker, without a nanny: killed, it stays dead."""
        name = f"worker-{len(self.workers)}"
        arguments = (
            self.address, "--host", "127.0.0.1", "--nthreads", str(threads), "--no-nanny",
            "--no-dashboard", "--name", name, "--local-directory", str(self.folder / name),
        )  # fmt: skip
        log = self.folder / f"{name}.log"
        if env:  # it imports other things
            worker = spawn("-m", "distributed.cli.dask_worker", *arguments, log=log, env=env)
        else:
            worker = spawn_forked("dask", "worker", *arguments, log=log, env={})
        self.workers.append(worker)
        return worker

    def by_name(self, name: str) -> Child:
        return self.workers[int(name.removeprefix("worker-"))]


@contextmanager
def dask_cluster(folder: Path, *, workers: int = 2, threads: int = 2) -> Iterator[DaskCluster]:
    """A scheduler with workers that have this package; all gone afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    port, dashboard = free_port(), free_port()
    scheduler = spawn_forked(
        "dask", "scheduler", "--host", "127.0.0.1", "--port", str(port),
        "--dashboard-address", f"127.0.0.1:{dashboard}",
        log=folder / "scheduler.log", env={},
    )  # fmt: skip
    cluster = DaskCluster(folder, port, scheduler)
    with ExitStack() as stack:
        stack.callback(scheduler.kill)
        stack.callback(lambda: [w.kill() for w in cluster.workers])
        for _ in range(workers):
            cluster.add(threads=threads)
        eventually(lambda: "Registered" in _log(cluster.workers, folder), within=60)
        yield cluster


def _log(workers: Sequence[Child], folder: Path) -> str:
    texts = [w.log.read_text() for w in workers]
    return "Registered" if all("Registered to" in t for t in texts) else ""
