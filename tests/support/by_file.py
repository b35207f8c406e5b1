"""Which worker runs which file of tests. A worker that dies costs one test, and the run goes on.

With `--dist loadfile` of pytest-xdist a run whose worker dies may never end. The new worker gets
what its predecessor had: the test that killed it once more, and files that are done, in which there
is nothing to do; a worker reports what it did, and only then gets more. Also, it begins a test only
once it knows of another, or that there is none.
"""

from __future__ import annotations

from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController


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
