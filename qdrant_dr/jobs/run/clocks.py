"""Three clocks before one deletion: of this worker, of the stores, of the nodes.

What is deleted is gone, and when is decided by times out of records. So no clock is believed
alone: apart from one another, nothing goes; else the one that is furthest behind decides.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from qdrant_dr.cluster import ClockOffset, NodeFacts, clock_of, node_at
from qdrant_dr.config import Config
from qdrant_dr.errors import DRError
from qdrant_dr.jobs.run.run import Run, utc_now
from qdrant_dr.repository import Stat

_MS = timedelta(milliseconds=1)
_PATIENCE = timedelta(seconds=10)
"""For the time of one node, where nothing else is asked of it."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """The earliest time that a clock tells, and why nothing may be deleted by it, if so."""

    earliest: datetime
    apart: str | None = None


def compare(now: datetime, told: Mapping[str, ClockOffset], limit: timedelta) -> Clocks:
    """Compare the clocks with each other. Pure; `told` are the others against ours."""
    every = {"this machine": ClockOffset(0, 0), **told}
    behind = sorted(every.items(), key=lambda item: item[1].offset_ms)
    (slow, least), (fast, most) = behind[0], behind[-1]
    span = ClockOffset(most.offset_ms - least.offset_ms, most.uncertainty_ms + least.uncertainty_ms)
    earliest = now + least.offset_ms * _MS
    if not span.exceeds(limit):
        return Clocks(earliest)
    return Clocks(
        earliest,
        f"{fast} is {clock_text(span)} ahead of {slow}, {limit.total_seconds():.0f} s are allowed: "
        "it is not known which is right, so nothing counts as old enough to go",
    )


def clocks_of(config: Config, run: Run, nodes: Mapping[str, ClockOffset | None]) -> Clocks:
    """Compare ours with that of every store, by the time it gave to the record that this run began,
    and with those of `nodes`. A store without that record cannot be compared."""
    told = {f"node {url}": clock for url, clock in nodes.items() if clock is not None}
    unknown: list[str] = []
    for name, repository in run.repositories.items():
        try:
            if (asked := run.written.get(name)) and (there := repository.began(run.start)):
                told[f"repository {name}"] = store_clock(there, *asked)
                continue
            why = "it has no record of this run"
        except DRError as e:
            why = e.message
        unknown.append(f"the clock of repository {name} cannot be compared: {why}")
    clocks = compare(utc_now(), told, config.cluster.clock_skew_limit)
    if unknown and clocks.apart is None:
        return Clocks(clocks.earliest, "; ".join(unknown))
    return clocks


def node_clocks(facts: Sequence[NodeFacts]) -> dict[str, ClockOffset | None]:
    """Return what each node told of its time."""
    return {about.url: about.clock for about in facts}


def ask_nodes(config: Config) -> dict[str, ClockOffset | None]:
    """Ask every configured node for its time: for jobs that need nothing else of it."""
    cluster = config.cluster
    times = cluster.timeouts
    hurried = times.model_copy(
        update={name: min(getattr(times, name), _PATIENCE) for name in ("connect", "read", "busy")}
    )
    told: dict[str, ClockOffset | None] = {}
    for url in cluster.nodes:
        try:
            node = node_at(cluster.model_copy(update={"timeouts": hurried}), url)
            try:
                told[url] = clock_of(node)
            finally:
                node.close()
        except DRError:
            continue  # a cluster that is down keeps nobody from making room
    return told


def store_clock(there: Stat, before: datetime, after: datetime) -> ClockOffset:
    """Compare a store's clock with ours, by the time it gave an object written between two of our
    times."""
    whole = there.modified_at.microsecond == 0  # most stores keep whole seconds, cut off
    half = timedelta(seconds=0.5 if whole else 0)
    offset = (there.modified_at + half) - (before + (after - before) / 2)
    return ClockOffset(round(offset / _MS), round(((after - before) / 2 + half) / _MS))


def clock_text(clock: ClockOffset) -> str:
    """Format an offset: `+0.2 s (+- 0.5)`."""
    return f"{clock.offset_ms / 1000:+.1f} s (+- {clock.uncertainty_ms / 1000:.1f})"


@dataclass(frozen=True, slots=True)
class Since:
    """A moment, and how long ago it is, by a clock that nobody sets."""

    at: datetime
    ticks: float

    @classmethod
    def then(cls, at: datetime) -> Since:
        """Begin to count now."""
        return cls(at, time.monotonic())

    @property
    def now(self) -> datetime:
        """Return the later of what our clock says and what has passed since: setting the clock back
        makes nothing younger."""
        return max(utc_now(), self.at + timedelta(seconds=time.monotonic() - self.ticks))
