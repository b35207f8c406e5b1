"""Leases of Prefect's concurrency limits, held by this process and handed from unit to unit.

To ask the server for each unit costs more than a small unit takes: four requests, and seconds as
soon as it says no. So a slot that a unit gives back is kept for the next one that needs the same.
A slot that nobody wants goes back after a moment, and one that was handed on for long goes back,
too, with a pause in which other processes get it. A unit that needs several limits has them by one
lease, so nobody waits for one limit while holding another.

These limits slow units down; they keep no run from beginning. What becomes of a second scheduled
run while the first one is under way says the `concurrency_limit` of its deployment in
`prefect.yaml`.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from math import inf
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.responses import ConcurrencyLimitWithLeaseResponse
from prefect.settings import PREFECT_API_URL

from qdrant_dr.cancel import stopping
from tasks.server import reachable

log = logging.getLogger(__name__)

LEASE = 60.0
"""Seconds after which the slots of a killed process are free; the least that Prefect grants."""

RENEW = 20.0
"""Seconds between two renewals of a lease, tried or done."""

IDLE = 1.0
"""Seconds that a slot waits for a next unit."""

LONGEST = 120.0
"""Seconds for which a slot is handed on within this process. A unit that takes longer keeps it."""

POLL = 2.0
"""Seconds between two questions for a slot that was refused. The server advises up to 30, in which
a slot that came free would be gone again."""

PAUSE = POLL + 1
"""Seconds in which this process does not ask again for what it had for `LONGEST`."""

FRESH = 10.0
"""Seconds for which one answer of the API does."""

TIMEOUT = 30.0
"""Seconds for one answer."""

Names = frozenset[str]


@dataclass(eq=False)
class Lease:
    """One slot of each of `names`; times by the monotonic clock."""

    id: UUID
    names: Names
    begun: float
    renewed: float
    tried: float
    idle_since: float | None = None
    """When a unit gave it back; None while a unit has it."""


class LimitLeases:
    """What this process holds at one server. All methods may be called by any thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._held: list[Lease] = []
        self._limits: dict[str, int] = {}
        self._asking: set[Names] = set()
        self._not_before: dict[Names, float] = {}
        self._keeper: threading.Thread | None = None

    def take(self, names: Names, seconds: float) -> Lease | None:
        """Take a slot of each limit for one unit; None, with a warning, if there is none in that
        time."""
        what = ", ".join(sorted(names))
        end = time.monotonic() + seconds
        while not stopping.is_set():
            now = time.monotonic()
            if now >= end:
                log.warning("no slot of %s within %.0f s, going on without", what, seconds)
                return None
            in_the_way: list[Lease] = []
            with self._changed:
                if spare := self._spare(names, now):
                    return spare
                if self._full(names):
                    in_the_way = self._remove([h for h in self._idle() if h.names & names])
                if in_the_way:
                    pass
                elif self._must_wait(names, now):
                    self._changed.wait(min(POLL / 4, end - now))
                    continue
                else:
                    self._asking.add(names)
            if in_the_way:
                _give_back(in_the_way)
                continue
            try:
                if lease := self._ask(names):
                    return lease
            except Exception as error:  # noqa: BLE001  refusal or no server: all the same here
                log.warning("no slot of %s, going on without: %s", what, error)
                return None
        return None

    def put(self, lease: Lease) -> None:
        """Put back the slots of a finished unit: keep them for the next one, or let other processes
        have them.

        A cancelled process keeps none: Prefect ends it by a signal, without `atexit`.
        """
        now = time.monotonic()
        leaving: list[Lease] = []
        with self._changed:
            lease.idle_since = now
            if stopping.is_set():
                leaving = self._remove([lease])
            elif now - lease.begun > LONGEST:
                leaving = self._remove([lease])
                self._not_before[lease.names] = now + PAUSE
            self._changed.notify_all()
        _give_back(leaving)

    def let_go(self) -> None:
        """Give back what no unit has at the moment."""
        with self._changed:
            idle = self._remove(self._idle())
        _give_back(idle)

    def _ask(self, names: Names) -> Lease | None:
        """A new lease; None if others hold all slots. `names` are marked as being asked for."""
        now = time.monotonic()  # before the question: what the server counts from is later
        granted = refused = None
        try:
            with _client() as client:
                answer = client.increment_concurrency_slots_with_lease(
                    sorted(names), slots=1, mode="concurrency", lease_duration=LEASE
                )
            granted = ConcurrencyLimitWithLeaseResponse.model_validate(answer.json())
        except httpx.HTTPStatusError as error:
            if (refused := error.response.status_code) != httpx.codes.LOCKED:
                raise
        finally:
            with self._changed:
                self._asking.discard(names)
                if refused:
                    self._not_before[names] = time.monotonic() + POLL
                lease = self._hold(granted, names, now) if granted else None
                self._changed.notify_all()
        return lease

    def _hold(self, granted: ConcurrencyLimitWithLeaseResponse, names: Names, now: float) -> Lease:
        self._limits |= {limit.name: limit.limit for limit in granted.limits}
        lease = Lease(granted.lease_id, names, begun=now, renewed=now, tried=now)
        self._held.append(lease)
        if self._keeper is None:
            # the copy knows the server, and whose log a warning belongs to
            run = copy_context().run
            self._keeper = threading.Thread(target=run, args=(self._keep,), daemon=True)
            self._keeper.start()
        return lease

    def _keep(self) -> None:
        """Renew what is held, and give back what nobody wants, as long as there is anything."""
        while True:
            with self._changed:
                if not self._held:
                    self._keeper = None
                    return
                now = time.monotonic()
                idle = self._remove([h for h in self._idle() if now - (h.idle_since or 0) >= IDLE])
                due = [h for h in self._held if now - h.tried >= RENEW]
            _give_back(idle)
            for lease in due:
                self._renew(lease)
            time.sleep(IDLE / 4)

    def _renew(self, lease: Lease) -> None:
        lease.tried = time.monotonic()
        try:
            with _client() as client:
                client.renew_concurrency_lease(lease.id, LEASE)
            lease.renewed = lease.tried
        except Exception as error:  # noqa: BLE001  tried again until the lease is over
            if _is_gone(error) or time.monotonic() - lease.renewed >= LEASE:
                with self._changed:
                    lost = self._remove([lease])
                if lost:
                    log.warning("slots of %s are lost, going on without: %s", _told(lost), error)

    def _spare(self, names: Names, now: float) -> Lease | None:
        for lease in self._idle():
            if lease.names == names and now - lease.renewed < LEASE:
                lease.idle_since = None
                return lease
        return None

    def _must_wait(self, names: Names, now: float) -> bool:
        """One thread asks at a time, and not for what this process has all of."""
        soon = now < self._not_before.get(names, -inf)
        return soon or names in self._asking or self._full(names)

    def _full(self, names: Names) -> bool:
        held = Counter(name for lease in self._held for name in lease.names)
        return any(0 < self._limits.get(n, inf) <= held[n] for n in names)

    def _idle(self) -> list[Lease]:
        return [lease for lease in self._held if lease.idle_since is not None]

    def _remove(self, leases: Sequence[Lease]) -> list[Lease]:
        """Those of them that were held until now."""
        found = [lease for lease in leases if lease in self._held]
        self._held = [lease for lease in self._held if lease not in found]
        return found


_lock = threading.Lock()
_leases: dict[str | None, LimitLeases] = {}


def limit_leases() -> LimitLeases:
    """Return the slots of the server in use."""
    with _lock:
        return _leases.setdefault(PREFECT_API_URL.value(), LimitLeases())


@atexit.register
def let_go() -> None:
    """Give back what no unit has: at the end of a step, and of the process."""
    limit_leases().let_go()


@contextmanager
def _client() -> Iterator[SyncPrefectClient]:
    """One of our own: the client of the task run at hand is closed with it, and settings that
    differ keep `get_client` from giving us that. Raise ConnectionError at once if the server is
    away: see `reachable`."""
    if not reachable(within=FRESH):
        raise ConnectionError("the Prefect API does not answer")
    with get_client(sync_client=True, httpx_settings={"timeout": TIMEOUT}) as client:
        yield client


def _give_back(leases: Sequence[Lease]) -> None:
    if not leases:
        return
    try:
        with _client() as client:
            for lease in leases:
                client.release_concurrency_slots_with_lease(lease.id)
    except Exception as error:  # noqa: BLE001  the leases end by themselves
        log.warning("slots of %s were not given back: %s", _told(leases), error)


def _is_gone(error: Exception) -> bool:
    return (
        isinstance(error, httpx.HTTPStatusError) and error.response.status_code == httpx.codes.GONE
    )


def _told(leases: Sequence[Lease]) -> str:
    return "; ".join(", ".join(sorted(lease.names)) for lease in leases)
