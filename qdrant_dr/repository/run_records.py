"""Records of runs: that they began, how they ended, and the looks of `watch` apart from them."""

from __future__ import annotations

from datetime import datetime, timedelta

from qdrant_dr import layout
from qdrant_dr.records import RunEnd, RunStart, Watched
from qdrant_dr.repository.record_files import Read, RecordFiles
from qdrant_dr.stores.base import Stat

_LOOKS = 5  # read at once to find the last: names tell the second only, and one may be damaged
_AHEAD = timedelta(seconds=60)  # a look by another clock, or while this one began, may be so late


class RunRecords(RecordFiles):
    """The runs that a repository knows of."""

    __slots__ = ()

    def write_run_start(self, start: RunStart) -> None:
        """Say that a run began."""
        self.create_record(layout.run_start(start.run_id, start.started_at), start.to_bytes())

    def began(self, start: RunStart) -> Stat | None:
        """Return the record that a run began, as the store describes it: this tells the store's
        clock from an object that is there anyway."""
        return self.store.stat(layout.run_start(start.run_id, start.started_at))

    def write_run_end(self, end: RunEnd) -> None:
        """Write how a run ended. Watches lie apart from the runs that reports are made of."""
        start = end.start
        if start.job == "watch":
            path = layout.watch(start.cluster, start.run_id, start.started_at)
        else:
            path = layout.run_end(start.run_id, start.started_at)
        self.create_record(path, end.to_bytes())

    def last_watch(self, cluster: str, now: datetime) -> tuple[RunEnd, Stat] | None:
        """Return the newest readable watch record of this month or the months beside it, and its
        file.

        The next month, too: a watch lies in the month in which it began by its own clock, which may
        have been ahead. One that ends in the future does not count, and one that was written before
        the time it gives comes after those that were not: their clock is more credible.
        """
        months = [layout.watches(cluster, month) for month in layout.months_around(now)]
        files = {layout.stem(s.path): s for s in self.sort_out_all(months)[0]}
        newest_first = sorted(files, reverse=True)
        for at in range(0, len(files), _LOOKS):
            paths = [files[run_id].path for run_id in newest_first[at : at + _LOOKS]]
            looks = [
                (end, there)
                for end in self.read_records(RunEnd, paths).records
                if end.ended_at <= now + _AHEAD
                and any(isinstance(o.detail, Watched) for o in end.outcomes)
                and (there := files.get(end.start.run_id))
            ]
            in_time = [(e, there) for e, there in looks if e.ended_at <= there.modified_at + _AHEAD]
            if looks:
                return max(in_time or looks, key=lambda look: look[0].ended_at)
        return None

    def read_runs(self, since: datetime, until: datetime) -> tuple[Read[RunStart], Read[RunEnd]]:
        """Read the runs that began within the period: their starts and, where there are any, their
        ends."""
        found, others = self.sort_out_all(list(layout.run_months(since, until)))
        paths = [s.path for s in found]
        starts = self.read_records(RunStart, [p for p in paths if p.endswith(".start.json")])
        ends = self.read_records(RunEnd, [p for p in paths if p.endswith(".end.json")])
        return (
            Read(
                tuple(s for s in starts.records if since <= s.started_at <= until),
                starts.unreadable,
                strangers=others,
            ),
            Read(
                tuple(e for e in ends.records if since <= e.start.started_at <= until),
                ends.unreadable,
            ),
        )

    def read_end(self, run_id: str) -> Read[RunEnd]:
        """Read the end record of one run, if it is here."""
        path = layout.run_end(run_id, layout.time_of(run_id))
        return self.read_records(RunEnd, [path] if self.store.stat(path) else [])
