"""What a look works out of many backups grows with them, not with their square."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, TypeVar

import pytest

from qdrant_dr import layout
from qdrant_dr.errors import RecordDamaged
from qdrant_dr.repository import Stat, Unreadable, plan_sweep
from qdrant_dr.repository.assemble import Reading, assemble
from qdrant_dr.repository.catalog import Catalog, Unfinished
from qdrant_dr.repository.foreign_objects import Stranger
from tests.support import records as made

T = TypeVar("T")
NAMES = ("aws", "gcp", "azure")
seen: Counter[str] = Counter()


class Told(list[T]):
    """A list that counts what is looked at in it."""

    def __iter__(self) -> Iterator[T]:
        for each in super().__iter__():
            seen["steps"] += 1
            yield each


def reading(name: str, many: int) -> Reading:
    """A repository in which no proof can be read, and half of the manifests cannot."""
    found = Reading(made.state(name), "prod/")
    found.unreadable = Told()
    for number in range(many):
        manifest = made.manifest(f"movies-{number}", made.NOW - timedelta(hours=number))
        folder = manifest.key.folder
        path = layout.in_backup(manifest.key, layout.MANIFEST)
        found.files[folder] = {layout.MANIFEST: Stat(path, 10, made.NOW)}
        damaged = RecordDamaged(path)
        found.unreadable.append(
            Unreadable(name, layout.proof(manifest.key, manifest.backup_id), damaged)
        )
        if name == "aws" and number % 2:
            found.unreadable.append(Unreadable(name, path, damaged))
        else:
            found.manifests[folder] = manifest
    return found


@pytest.mark.parametrize("many", [20, 80])
def test_records_that_cannot_be_read_are_looked_at_once(many: int) -> None:
    readings = [reading(name, many) for name in NAMES]
    seen.clear()
    catalog = assemble("prod", readings)
    assert len(catalog.backups) == many
    lacking = [b for b in catalog.backups if "manifest" in b.copy("aws").lacks]
    assert len(lacking) == many // 2
    assert all(len(c.unread) == 1 for b in catalog.backups for c in b.copies)
    assert seen["steps"] <= 6 * many * len(NAMES)


@pytest.mark.parametrize("many", [20, 80])
def test_foreign_objects_and_unfinished_captures_are_looked_at_once(many: int) -> None:
    every: Any = Told()
    unfinished = []
    for number in range(many):
        folder = made.manifest(f"movies-{number}").key.folder
        path = f"backups/{folder}"
        every += [Stranger("aws", f"{path}/notes.txt"), Stranger("gcp", f"{path}/deep/er/x")]
        part = Stat(f"{path}/shard-0.snapshot", 10, made.NOW)
        unfinished.append(Unfinished("aws", folder, (part,)))
    backups = assemble("prod", [reading("aws", many)]).backups
    catalog = Catalog(
        "prod", (made.state("aws"), made.state("gcp")), backups, tuple(unfinished), strangers=every
    )
    seen.clear()
    plan = plan_sweep(catalog, "aws", store_now=made.NOW + timedelta(days=9))
    assert len(plan.kept) == many
    assert all("notes.txt" in why for why in plan.kept if "not ours" in why)
    for left in unfinished:
        assert catalog.strangers_beside("aws", left.folder) == (f"backups/{left.folder}/notes.txt",)
        deep = f"backups/{left.folder}/deep/er/x"
        assert catalog.strangers_beside("gcp", left.folder) == (deep,)
    assert seen["steps"] == len(every) == 2 * many
