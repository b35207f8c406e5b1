"""A small world of writers, retention and sweeps on one chunked repository, under the law or a
broken one. Seeded: equal seeds tell equal stories."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random

from qdrant_dr.vault import pack_deletion_rules
from qdrant_dr.vault.pack_deletion_rules import Holding

HOUR = timedelta(hours=1)
BEGIN = datetime(2026, 11, 1, tzinfo=UTC)
END = BEGIN + timedelta(days=16)
Steps = Generator[timedelta, None, None]
"""An actor: it yields how long its next step takes."""


@dataclass(frozen=True)
class Rules:
    """What the actors ask; each can be broken."""

    protects: Callable[..., bool] = pack_deletion_rules.protects
    is_base: Callable[..., bool] = pack_deletion_rules.is_base
    may_reuse: Callable[..., bool] = pack_deletion_rules.may_reuse
    may_commit: Callable[..., bool] = pack_deletion_rules.may_commit
    packs_to_delete: Callable[..., frozenset[str]] = pack_deletion_rules.packs_to_delete
    rewritten_lately: Callable[..., bool] = pack_deletion_rules.rewritten_lately


@dataclass
class World:
    """What the store holds, and its clock. `lost`: backups whose manifest is there, and whose
    recipe, or a pack of it, is gone."""

    random: Random
    rules: Rules
    now: datetime = BEGIN
    packs: dict[str, datetime] = field(default_factory=dict)
    recipes: dict[str, frozenset[str]] = field(default_factory=dict)
    written: dict[str, datetime] = field(default_factory=dict)
    recipe_at: dict[str, datetime] = field(default_factory=dict)
    began: dict[str, datetime] = field(default_factory=dict)
    manifest_at: dict[str, datetime] = field(default_factory=dict)
    marked: set[str] = field(default_factory=set)
    manifests: set[str] = field(default_factory=set)
    tombstones: dict[str, datetime] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)
    commits: int = 0
    swept: int = 0
    reused: int = 0
    _names: int = 0

    def name(self, what: str) -> str:
        self._names += 1
        return f"{what}{self._names}"

    def holding(self, backup: str) -> Holding:
        return Holding(
            backup, backup in self.manifests, self.written[backup], self.tombstones.get(backup)
        )

    def hours(self, least: float, most: float) -> timedelta:
        return self.random.uniform(least, most) * HOUR

    def look(self) -> None:
        """Note what cannot be restored any more."""
        for backup in self.manifests:
            recipe = self.recipes.get(backup)
            if recipe is None or not recipe <= self.packs.keys():
                self.lost.add(backup)


def writer(world: World) -> Steps:
    """Back up again and again: reuse, upload, write the recipe, then the manifest; die at times."""
    rules, random = world.rules, world.random
    while True:
        yield world.hours(1, 40)
        began, backup = world.now, world.name("b")
        bases = [
            b
            for b in world.recipes
            if rules.is_base(committed=b in world.manifests, expired=b in world.tombstones)
        ]
        base = frozenset().union(*(world.recipes[b] for b in sorted(bases)[-2:]))
        free = sorted(
            p for p, at in world.packs.items() if p in base or rules.may_reuse(at, now=world.now)
        )
        mine = set(random.sample(free, k=round(len(free) * random.choice((0, 0.3, 0.7, 1)))))
        world.reused += len(mine)
        slow = random.choice((0.2, 2, 12, 30))
        doomed = random.random() < 0.35
        for _ in range(random.randint(1, 4)):
            yield world.hours(0, slow / 2)
            pack = world.name("p")
            world.packs[pack] = world.now
            mine.add(pack)
            if doomed and random.random() < 0.3:
                break
        else:
            yield world.hours(0, slow / 4)
            if not mine <= world.packs.keys():
                continue  # every pack is asked for before the recipe is written
            world.recipes[backup], world.began[backup] = frozenset(mine), began
            world.recipe_at[backup] = world.written[backup] = world.now
            yield world.hours(0, slow / 4)
            if doomed or not mine <= world.packs.keys():
                continue
            if rules.may_commit(began, now=world.now):
                yield world.hours(0, 0.9)  # a manifest arrives later than it was decided to send it
                world.manifests.add(backup)
                world.written[backup] = world.manifest_at[backup] = world.now
                world.commits += 1


def healer(world: World) -> Steps:
    """Now and then store a backup anew, as if it was damaged: another recipe in the same place.
    At times it is the newest one, and its manifest was damaged, too, and is written after that."""
    while True:
        yield world.hours(1, 90)
        began = world.now
        if not world.manifests:
            continue
        newest = max(world.manifests, key=lambda b: world.began[b])
        backup = world.random.choice((newest, *sorted(world.manifests)))
        whole = world.random.random() < 0.5
        packs = frozenset(world.name("p") for _ in range(2))
        for pack in sorted(packs):
            world.packs[pack] = world.now
        yield world.hours(0, 10)
        if backup in world.manifests and world.rules.may_commit(began, now=world.now):
            world.recipes[backup], world.recipe_at[backup] = packs, world.now
            world.marked.add(backup)
            if whole:
                yield world.hours(0, 0.1)
                if backup in world.manifests:
                    world.manifest_at[backup] = world.now


def retention(world: World) -> Steps:
    """Let old backups go: the record first, the manifest a while, sometimes days, later."""
    while True:
        yield world.hours(3, 40)
        alive = sorted(world.manifests, key=lambda b: world.written[b])
        for backup in alive[: max(0, len(alive) - world.random.randint(1, 3))]:
            world.tombstones[backup] = world.now
            yield world.hours(0, world.random.choice((0.1, 0.1, 60)))
            world.manifests.discard(backup)


def sweeper(world: World) -> Steps:
    """Decide from a list of now, and delete one after the other, up to 30 hours later."""
    rules = world.rules
    while True:
        yield world.hours(1, 20)
        now = world.now
        yield world.hours(0, 1)  # what it knows is read after the time it counts from
        packs = dict(world.packs)
        yield world.hours(0, 1)
        alive = {b for b in world.recipes if rules.protects(world.holding(b), now=now)}
        over = world.recipes.keys() - alive
        if any(
            rules.rewritten_lately(
                world.recipe_at[b],
                world.manifest_at[b],
                world.began[b],
                marked=b in world.marked,
                now=now,
            )
            for b in world.recipes
            if b in world.manifest_at
        ):
            continue
        recipes = [world.recipes[b] for b in sorted(alive)]
        goes = rules.packs_to_delete(packs, recipes, now=now)
        for pack in sorted(goes):
            yield world.hours(0, 30 / len(goes))
            world.packs.pop(pack, None)
            world.swept += 1
            world.look()
        for backup in over:
            world.recipes.pop(backup, None)


def run(seed: int, rules: Rules) -> World:
    """Tell the story of a seed to its end, or to the first loss."""
    random = Random(seed)
    world = World(random, rules)
    actors = [writer(world) for _ in range(random.randint(1, 3))]
    actors += [healer(world)] if random.random() < 0.5 else []
    actors += [retention(world), *(sweeper(world) for _ in range(random.randint(1, 2)))]
    due = [(BEGIN + next(actor), number) for number, actor in enumerate(actors)]
    heapq.heapify(due)
    while due and not world.lost:
        world.now, number = heapq.heappop(due)
        if world.now > END:
            break
        heapq.heappush(due, (world.now + next(actors[number]), number))
        world.look()
    return world
