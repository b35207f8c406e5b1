"""Schedules of backups, expiries and sweeps of one vault on disk, as processes of which some are
killed: `python -m tests.support.vault_kills FOLDER FIRST_SEED COUNT` ends with 1 and says what was
lost. Hours pass between the steps, as far as the files tell.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random

from qdrant_dr.records import Manifest
from qdrant_dr.repository import (
    plan_packs,
    plan_sweep,
    read_catalog,
    sweep,
    sweep_packs,
)
from qdrant_dr.repository.chunked import ChunkedRepository
from tests.support import records as made
from tests.support.intents import intent_of
from tests.support.vaults import age, let_go, now, vault_on_disk, written

HOUR = timedelta(hours=1)
STEPS = 9


@dataclass
class Schedule:
    """One vault and what happens to it, by its seed."""

    root: Path
    random: Random
    vault: ChunkedRepository
    numbers: list[int] = field(default_factory=lambda: list(range(12)))
    made: int = 0
    longest: float = 0.0
    killed: int = 0

    def run(self) -> None:
        for _ in range(STEPS):
            actions = self.random.sample([self.backup, self.backup, self.expire, self.sweep], k=3)
            self.side_by_side([action() for action in actions])
            age(self.root, self.random.uniform(0, 40) * HOUR)
            self.side_by_side([self.check], kill=False)
        self.side_by_side([self.end], kill=False)

    def side_by_side(self, actions: list[Callable[[], None]], *, kill: bool = True) -> None:
        """Begin them at once, each in a process of its own; perhaps kill one of them soon."""
        began = time.monotonic()
        running = [_fork(act) for act in actions]
        if kill and self.longest and self.random.random() < 0.7:
            time.sleep(self.random.uniform(0, self.longest))
            os.kill(running[0], signal.SIGKILL)
            self.killed += 1
        for pid in running:
            _, status = os.waitpid(pid, 0)
            if status and not (os.WIFSIGNALED(status) and kill):
                raise SystemExit(1)
        if kill and not self.longest:
            self.longest = time.monotonic() - began

    def backup(self) -> Callable[[], None]:
        self.made += 1
        for _ in range(self.random.randint(0, 4)):
            self.numbers[self.random.randrange(12)] = 100 * self.made + self.random.randrange(50)
        at = made.NOW + self.made * HOUR
        return partial(self._back_up, tuple(self.numbers), at, self.pause())

    def _back_up(self, numbers: tuple[int, ...], at: datetime, pause: float) -> None:
        of = made.manifest(at=at)
        self.vault.write_intent(of.key, intent_of(of).model_copy(update={"streamed": True}))
        of = written(self.vault, numbers=numbers, at=at)
        time.sleep(pause)
        self.vault.commit(of)

    def pause(self) -> float:
        """Between what is decided and what is done: another process comes in between."""
        return self.random.choice((0, 1)) * self.random.uniform(0, 2 * self.longest)

    def expire(self) -> Callable[[], None]:
        keep = self.random.randint(1, 3)
        return partial(self._expire, keep)

    def _expire(self, keep: int) -> None:
        for of in self.manifests()[: -keep or None]:
            let_go(self.vault, of)

    def sweep(self) -> Callable[[], None]:
        return partial(self._sweep, self.pause())

    def _sweep(self, pause: float = 0) -> None:
        began = now()
        catalog = read_catalog([self.vault], cluster="prod")
        packs = plan_packs(self.vault, catalog, store_now=began)
        assert not packs.unjudged, packs.unjudged
        time.sleep(pause)
        sweep_packs(self.vault, packs)
        sweep(self.vault, plan_sweep(catalog, self.vault.name, store_now=began))

    def manifests(self) -> list[Manifest]:
        catalog = read_catalog([self.vault], cluster="prod")
        return [b.manifest for b in catalog.backups if b.copies[0].committed]

    def check(self) -> None:
        """Every backup that has a manifest is whole, bit for bit."""
        for of in self.manifests():
            for _ in self.vault.read_verified(of.key, of.parts[0]):
                pass

    def end(self) -> None:
        """When everything has gone, nothing is left of it: no pack is forgotten."""
        self.check()
        self._expire(0)
        for _ in range(2):
            age(self.root, 50 * HOUR)
            self._sweep()
        left = list((self.root / "packs").rglob("*.pack"))
        left += list((self.root / "backups").rglob("*.recipe"))
        assert not left, left


def _fork(act: Callable[[], None]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        act()
        code = 0
    except BaseException:
        traceback.print_exc()
    sys.stderr.flush()
    os._exit(code)


def main(folder: str, first: str, count: str) -> None:
    killed = 0
    for seed in range(int(first), int(first) + int(count)):
        root = Path(folder) / str(seed)
        schedule = Schedule(root, Random(seed), vault_on_disk(root))
        try:
            schedule.run()
        except SystemExit:
            print(f"seed {seed}: see above; the vault is {root}", file=sys.stderr)
            raise
        killed += schedule.killed
        shutil.rmtree(root)
    print(f"{count} schedules, {killed} kills")


if __name__ == "__main__":
    main(*sys.argv[1:])
