"""Which worker runs which file of tests. A worker that dies costs one test, and the run goes on.

With `--dist loadfile` of pytest-xdist a run whose worker dies may never end. The new worker gets
what its predecessor had: the test that killed it once more, and files that are done, in which there
is nothing to do; a worker reports what it did, and only then gets more. Also, it begins a test only
once it knows of another, or that there is none.
"""

from __future__ import annotations

from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

REAL_RUNS = ("tests/flows/", "tests/docs/test_runbook.py", "tests/test_demo.py")
"""They drive Prefect's server, workers and runs, and time limits are part of what they try."""
AT_A_TIME = 2
"""So many workers have such files, and a Prefect server each: with three on two cores those limits
run out. Other tests wait more than they work: they are run meanwhile."""
LONGEST = (
    "tests/test_demo.py",
    "tests/flows/test_real_runs.py",
    "tests/flows/test_takeover.py",
    "tests/flows/test_up.py",
    "tests/flows/test_lost_api.py",
    "tests/flows/test_dask.py",
    "tests/docs/test_runbook.py",
    "tests/flows/test_watch.py",
    "tests/flows/test_alerts.py",
    "tests/flows/test_restore.py",
    "tests/flows/",
    "tests/jobs/restore/test_kill.py",
    "tests/jobs/backup/test_clusters.py",
    "tests/cluster/test_target_live.py",
    "tests/jobs/restore/test_salvage.py",
    "tests/report/test_looks.py",
    "tests/jobs/restore/test_job.py",
    "tests/contract/test_add_only.py",
    "tests/jobs/check/test_replicas.py",
    "tests/cli/test_append_only.py",
    "tests/jobs/",
    "tests/notebooks/",
    "tests/cli/",
    "tests/contract/",
    "tests/benchmarks/",
)
"""What takes longest begins first, so that no worker ends alone."""


def rank(nodeid: str) -> int:
    """The place of a file in the order."""
    return next((n for n, name in enumerate(LONGEST) if nodeid.startswith(name)), len(LONGEST))


class ByFile(LoadFileScheduling):
    """Each file on one worker, in the order in which they were collected."""

    def remove_node(self, node: WorkerController) -> str | None:
        """What was left to do goes first to others, without the test in which the worker died."""
        files = self.assigned_work.pop(node)
        left = [(file, test) for file in files for test, done in files[file].items() if not done]
        if not left:
            return None
        file, died = left[0]
        files[file][died] = True
        for name in reversed([name for name, tests in files.items() if not all(tests.values())]):
            self.workqueue[name] = files[name]
            self.workqueue.move_to_end(name, last=False)
        for other in self.nodes:
            self._reschedule(other)
        return died

    def _reschedule(self, node: WorkerController) -> None:
        """Another file when one test is left, no earlier: who has done less may take it."""
        if node.shutting_down or node not in self.registered_collections:
            return
        while self.workqueue and self._pending_of(self.assigned_work[node]) < 2:
            self._assign_work_unit(node)
        if not self.workqueue:
            node.shutdown()

    def _assign_work_unit(self, node: WorkerController) -> None:
        """The first file in the queue; one of real runs only when few others have one, as long as
        there is something else to do."""
        busy = sum(self._has_real_runs(other) for other in self.nodes if other is not node)
        if busy >= AT_A_TIME:
            other = next((f for f in self.workqueue if not f.startswith(REAL_RUNS)), None)
            if other is not None:
                self.workqueue.move_to_end(other, last=False)
        super()._assign_work_unit(node)

    def _has_real_runs(self, node: WorkerController) -> bool:
        return any(
            file.startswith(REAL_RUNS) and not all(tests.values())
            for file, tests in self.assigned_work[node].items()
        )
