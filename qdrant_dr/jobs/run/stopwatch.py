"""How long each phase of a piece of work takes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from qdrant_dr.jobs.run.run import utc_now
from qdrant_dr.records import Phase


@dataclass(slots=True)
class Stopwatch:
    """Phases of one drill, in order; a phase that fails is kept with the time it took."""

    phases: list[Phase] = field(default_factory=list)

    @contextmanager
    def phase(self, name: str, size_bytes: int | None = None) -> Iterator[None]:
        """Time a block as one phase."""
        at, begun = utc_now(), time.perf_counter()
        try:
            yield
        finally:
            self.phases.append(
                Phase(
                    name=name,
                    started_at=at,
                    duration_us=round((time.perf_counter() - begun) * 1e6),
                    size_bytes=size_bytes,
                )
            )
