"""Which copies a run drills: worst first, within a budget, so that each one gets its turn.

What is counted is a *place*: a collection in a repository. Of each only the newest backup that may
be drilled matters. Everything here is pure: history and time are arguments.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import median
from typing import Literal

from qdrant_dr.config import Budget
from qdrant_dr.errors import PlanRefused
from qdrant_dr.quantities import format_size, how_long
from qdrant_dr.records import Drilled, Outcome, RunEnd
from qdrant_dr.repository import Backup, Copy, sound

Pick = Literal["coverage", "latest", "random"]
Place = tuple[str, str]

ASSUMED_RATE = 20 * 2**20
"""Bytes per second from decision to verified where no drill was measured: slow on purpose, so that
a first run rather does too little than too much."""
SETUP = 30.0
"""Seconds that a drill is expected to take beside its bytes, where none of it was measured."""
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
TELLING = 256 * 2**20
"""Bytes from which on a drill says something of the rate: a small one is all setup."""


@dataclass(frozen=True, slots=True)
class Drillable:
    """A copy that may be drilled, and what is known of its place.

    `drilled_at`: last drilled with success; `tried_at`: last drilled at all; `since`: the oldest
    backup there, from which on a place that was never drilled is waiting.
    """

    backup: Backup
    copy: Copy
    drilled_at: datetime | None
    tried_at: datetime | None = None
    since: datetime | None = None

    @property
    def place(self) -> Place:
        return self.backup.manifest.collection, self.copy.repository

    @property
    def size_bytes(self) -> int:
        return self.backup.manifest.size_bytes

    @property
    def waiting_since(self) -> datetime:
        """Return when `drill_every` began for this place."""
        return self.drilled_at or self.since or self.backup.manifest.captured_at


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A place that this run does not drill, and why. `wanted`: it is due."""

    collection: str
    repository: str
    reason: str
    wanted: bool


@dataclass(frozen=True, slots=True)
class DrillPlan:
    """What to drill, in this order; what not, and why; and what the budget cannot do. `remarks`:
    what it could not do if the time that no drill has measured yet were as assumed."""

    chosen: tuple[Drillable, ...]
    left_out: tuple[LeftOut, ...] = ()
    doubts: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class DrillDurations:
    """How long drills of one engine take, as far as records tell.

    `measured`: seconds and bytes of the slowest of the last three drills of each place that passed;
    `rate`: bytes per second of the middle one of the large ones, or assumed; `setup`: seconds
    beside the bytes, assumed; `interval`: from one scheduled run to the next.
    """

    measured: Mapping[Place, tuple[float, int]]
    rate: float = ASSUMED_RATE
    interval: timedelta = DAY
    setup: float = SETUP

    def seconds(self, copy: Drillable) -> float:
        """Estimate one drill: as long as that place took before, longer if the backup has grown."""
        known = self.measured.get(copy.place)
        if known is None:
            return self.setup + copy.size_bytes / self.rate
        took, size = known
        return took * max(1.0, copy.size_bytes / size if size else 1.0)

    def measured_only(self) -> DrillDurations:
        """Estimate in the same way, but count no time where nothing was measured."""
        return replace(self, setup=0.0, rate=math.inf)


def drill_durations(ends: Sequence[RunEnd], *, engine: str) -> DrillDurations:
    """Return what past runs measured of drills with this engine."""
    took: dict[Place, list[tuple[float, int]]] = {}
    for outcome, detail in _drills(ends):
        if detail and detail.engine == engine and detail.fingerprint_equal:
            place = _place(outcome)
            took.setdefault(place, []).append((detail.total_us / 1e6, detail.size_bytes))
    rates = [n / s for every in took.values() for s, n in every if n >= TELLING and s > 0]
    began = sorted(
        e.start.started_at for e in ends if e.start.job == "drill" and e.start.trigger == "schedule"
    )
    gaps = [(b - a).total_seconds() for a, b in pairwise(began)]
    return DrillDurations(
        measured={place: max(every[-3:]) for place, every in took.items()},
        rate=median(rates) if rates else ASSUMED_RATE,
        interval=max(HOUR, timedelta(seconds=median(gaps))) if len(gaps) > 1 else DAY,
    )


def drillable(
    backups: Sequence[Backup],
    repositories: Sequence[str],
    ends: Sequence[RunEnd],
    *,
    now: datetime,
) -> tuple[Drillable, ...]:
    """Return sealed, sound copies, none from the future, each with the last drills of its place."""
    good: dict[Place, datetime] = {}
    tried: dict[Place, datetime] = {}
    for outcome, _ in _drills(ends):
        if outcome.verdict == "skipped":
            continue
        place = _place(outcome)
        tried[place] = max(outcome.ended_at, tried.get(place, outcome.ended_at))
        if outcome.verdict != "failed":
            good[place] = max(outcome.ended_at, good.get(place, outcome.ended_at))
    since: dict[Place, datetime] = {}
    for b in backups:
        for c in (c for c in b.copies if c.committed):
            place, at = (b.manifest.collection, c.repository), b.manifest.captured_at
            since[place] = min(at, since.get(place, at))
    return tuple(
        Drillable(b, c, good.get(place), tried.get(place), since.get(place))
        for b in backups
        if b.seal is not None and not b.of_the_future(now)
        for c in b.copies
        if c.repository in repositories and sound(b, c) and not c.archived
        for place in [(b.manifest.collection, c.repository)]
    )


def archived_places(
    backups: Sequence[Backup], repositories: Sequence[str], candidates: Iterable[Drillable]
) -> tuple[tuple[Backup, Copy], ...]:
    """Return places of which no copy can be drilled because all lie in an archive: the newest of
    each."""
    open_places = {c.place for c in candidates}
    found: dict[Place, tuple[Backup, Copy]] = {}
    for b in sorted(backups, key=lambda b: b.manifest.captured_at):
        for c in b.copies:
            place = b.manifest.collection, c.repository
            if c.archived and c.repository in repositories and place not in open_places:
                found[place] = b, c
    return tuple(found[place] for place in sorted(found))


def plan_one(
    candidates: Iterable[Drillable], *, pick: Pick, seed: int, budget: Budget
) -> DrillPlan:
    """Choose one copy: of the newest backup, a seeded random one, or of the place that waited
    longest.

    Raise PlanRefused if there is none: a drill of nothing is not a pass.
    """
    every_copy = list(candidates)
    fitting = sorted(_fitting(every_copy, budget), key=_oldest_first)
    if pick == "random":
        chosen = random.Random(seed).choice(fitting)
    elif pick == "latest":
        newest = fitting[-1].backup.key
        chosen = next(c for c in fitting if c.backup.key == newest)
    else:
        chosen = min(_newest_of_each(fitting, budget.bytes), key=_worst_first)
    return DrillPlan((chosen,), doubts=tuple(too_large(every_copy, budget)))


def plan_drills(
    candidates: Iterable[Drillable],
    *,
    budget: Budget,
    every: timedelta,
    pace: DrillDurations,
    now: datetime,
) -> DrillPlan:
    """Choose as many copies as the budget allows, at least one; those that waited longest come
    first.

    A place is due when half of `every` has passed since it was last drilled with success: then a
    failed or missed run leaves time for another, and a place that is not due costs nothing. If
    none is due, the one that waited longest is drilled all the same: a run that does nothing is no
    pass. Who is tried goes to the end of the queue, also if it failed: none starves the others.

    The queue is taken as far as it fits, and not beyond: what does not fit is first in the next
    run. Bytes are exact and never exceeded: a larger copy is left out for good, and said. Seconds
    are an estimate, so the first of the queue is drilled even if it alone is expected to take more.
    Raise PlanRefused as `plan_one` does.
    """
    every_copy = list(candidates)
    places = _newest_of_each(every_copy, budget.bytes)
    fitting = _fitting(places, budget)
    large = [c for c in places if c.size_bytes > budget.bytes]
    chosen, waiting, recent = _take(fitting, budget, every, pace, now)
    left = [
        *(LeftOut(*c.place, _too_large(c, budget), wanted=True) for c in large),
        *(LeftOut(*c.place, "does not fit into what is left of the budget", True) for c in waiting),
        *(LeftOut(*c.place, _recent(c, every), wanted=False) for c in recent),
    ]  # fmt: skip
    doubts, remarks = too_large(every_copy, budget), list[str]()
    if lagging := behind(fitting, budget=budget, every=every, pace=pace, now=now):
        sure = pace.measured_only()
        certain = behind(fitting, budget=budget, every=every, pace=sure, now=now)
        (doubts if certain else remarks).append(lagging)
    return DrillPlan(tuple(chosen), tuple(left), tuple(doubts), tuple(remarks))


def too_large(copies: Sequence[Drillable], budget: Budget) -> list[str]:
    """Name the collections of which no copy is small enough to be drilled, and those of which only
    an older copy is."""
    limit = f"`drill.budget.bytes` ({format_size(budget.bytes)})"
    last: dict[str, Drillable] = {}
    for c in sorted(copies, key=_oldest_first):
        last[c.place[0]] = c
    small = {c.place[0] for c in copies if c.size_bytes <= budget.bytes}
    return [
        f"the newest backup of {name} is larger than {limit}: an older one is drilled in its place"
        if name in small
        else f"{name} is larger than {limit}: no drill of it"
        for name, newest in sorted(last.items())
        if newest.size_bytes > budget.bytes
    ]


def behind(
    places: Sequence[Drillable],
    *,
    budget: Budget,
    every: timedelta,
    pace: DrillDurations,
    now: datetime,
) -> str | None:
    """Say what the budget cannot do: the runs of the next period are simulated."""
    every_place = {c.place: c for c in places}
    late: set[Place] = set()
    for step in range(math.ceil(every / pace.interval) + 1):
        at = now + step * pace.interval
        # whoever is overdue now may have its turn in this run; later on nobody may become so
        overdue = {c.place for c in every_place.values() if at - c.waiting_since > every}
        taken, _, _ = _take(list(every_place.values()), budget, every, pace, at)
        every_place |= {c.place: replace(c, drilled_at=at, tried_at=at) for c in taken}
        late |= overdue if step else overdue - {c.place for c in taken}
    if not late:
        return None
    days = every / DAY
    size = sum(c.size_bytes for c in places) / days
    length = timedelta(seconds=round(sum(map(pace.seconds, places)) / days))
    turn = pace.interval / DAY
    enough = size * turn <= budget.bytes and length * turn <= budget.time
    where = "yet: they wait for their turn" if enough else "at this budget"
    return (
        f"{len(late)} of {len(places)} copies are not drilled within "
        f"{how_long(every)} {where}: needs {format_size(size)} and "
        f"{length.total_seconds():.0f} s a day, a run may use {format_size(budget.bytes)} and "
        f"{budget.time.total_seconds():.0f} s"
    )


def _fitting(copies: Sequence[Drillable], budget: Budget) -> list[Drillable]:
    """Those that the budget of bytes allows. Raise PlanRefused if there is none."""
    if not copies:
        raise PlanRefused(
            "there is no sealed copy without an open failure to drill",
            "run `qdrant-dr verify --depth content` first.",
        )
    fitting = [c for c in copies if c.size_bytes <= budget.bytes]
    if not fitting:
        least = min(c.size_bytes for c in copies)
        raise PlanRefused(
            f"each of {len(copies)} copies is larger than `drill.budget.bytes` "
            f"({format_size(budget.bytes)})",
            f"set it to {format_size(least)} or more.",
        )
    return fitting


def _take(
    places: Sequence[Drillable],
    budget: Budget,
    every: timedelta,
    pace: DrillDurations,
    now: datetime,
) -> tuple[list[Drillable], list[Drillable], list[Drillable]]:
    """Those that this run drills, those that are due and have to wait, those that are not due."""
    queue = sorted(places, key=_worst_first)
    due = [c for c in queue if _is_due(c, every, now)]
    if not due:
        return queue[:1], [], queue[1:]
    size, seconds, n = 0, 0.0, 0
    for c in due:
        size, seconds = size + c.size_bytes, seconds + pace.seconds(c)
        if size > budget.bytes or (n and seconds > budget.time.total_seconds()):
            break
        n += 1
    return due[:n], due[n:], [c for c in queue if not _is_due(c, every, now)]


def _is_due(c: Drillable, every: timedelta, now: datetime) -> bool:
    return c.drilled_at is None or now - c.drilled_at >= every / 2


def _oldest_first(c: Drillable) -> tuple[datetime, str, str]:
    return c.backup.manifest.captured_at, str(c.backup.key), c.copy.repository


def _worst_first(c: Drillable) -> tuple[bool, float, float, str, str]:
    """Never tried, then longest ago; of equals the one with the oldest backup. Names come last:
    they decide nothing but the order of equals."""
    last = max((t for t in (c.tried_at, c.drilled_at) if t), default=None)
    tried = last.timestamp() if last else 0.0
    return last is not None, tried, c.waiting_since.timestamp(), *c.place


def _newest_of_each(candidates: Iterable[Drillable], limit: int) -> list[Drillable]:
    """Per place the newest backup, of those that are small enough if there is one."""
    best: dict[Place, Drillable] = {}
    for c in candidates:
        if c.place not in best or _rank(c, limit) > _rank(best[c.place], limit):
            best[c.place] = c
    return list(best.values())


def _rank(c: Drillable, limit: int) -> tuple[bool, datetime, str]:
    return c.size_bytes <= limit, c.backup.manifest.captured_at, c.backup.key.backup_id


def _place(outcome: Outcome) -> Place:
    return outcome.collection, outcome.repository or ""


def _drills(ends: Sequence[RunEnd]) -> Iterable[tuple[Outcome, Drilled | None]]:
    for end in sorted(ends, key=lambda e: (e.ended_at, e.start.run_id)):
        for o in end.outcomes:
            if o.unit == "drill":
                yield o, o.detail if isinstance(o.detail, Drilled) else None


def _too_large(c: Drillable, budget: Budget) -> str:
    return f"{format_size(c.size_bytes)}, `drill.budget.bytes` is {format_size(budget.bytes)}"


def _recent(c: Drillable, every: timedelta) -> str:
    at = f"{c.drilled_at:%Y-%m-%d}" if c.drilled_at else "?"
    return f"drilled on {at}, due again {how_long(every / 2)} later"
