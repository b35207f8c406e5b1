"""Collection archives put together again into one full snapshot, for `qdrant --storage-snapshot`.

The layout is Qdrant's own (content_manager/snapshots/mod.rs of 1.18.3): a tar of the collections'
archives, and as its last member `config.json` with the mapping of collections to files and all
aliases. The file appears when it is whole and every byte of it was proven, or not at all.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO

from qdrant_dr.cluster.full_snapshot import CONFIG
from qdrant_dr.errors import PlanRefused
from qdrant_dr.records import Manifest, Part
from qdrant_dr.records.manifest import collection_slug
from qdrant_dr.repository import Backup
from qdrant_dr.tar import BLOCK
from qdrant_dr.verified_read import VerifiedRead


@dataclass(frozen=True, slots=True)
class StartupPlan:
    """Which backups go in, the aliases that come with them, and what is said of those."""

    backups: tuple[Backup, ...]
    aliases: dict[str, str]
    remarks: tuple[str, ...]

    @property
    def size_bytes(self) -> int:
        """Return the size of the file without its small last member."""
        return sum(b.manifest.size_bytes + 2 * BLOCK for b in self.backups)


def plan_startup(backups: Sequence[Backup]) -> StartupPlan:
    """Decide what goes into the archive. Pure; raise PlanRefused with every reason why not.

    An alias that two of them had (it was moved between their captures) goes with the newer one;
    one that is the name of a collection in the archive is left out. Both are said.
    """
    reasons = [why for b in backups for why in _unfit(b.manifest)]
    names = [b.manifest.collection for b in backups]
    reasons += [
        f"{n} was chosen {names.count(n)} times" for n in sorted({*names}) if names.count(n) > 1
    ]
    if not backups:
        raise PlanRefused("no backup was chosen", "run `qdrant-dr backup` first.")
    if reasons:
        raise PlanRefused(
            "no start-up archive can be made: " + "; ".join(reasons),
            "restore those as `qdrant-dr restore --help` says; name the others.",
        )
    ordered = tuple(sorted(backups, key=lambda b: b.manifest.collection))
    aliases: dict[str, str] = {}
    remarks: list[str] = []
    for backup in sorted(backups, key=lambda b: b.manifest.captured_at):
        name = backup.manifest.collection
        for alias in backup.manifest.aliases:
            if alias in names:
                remarks.append(f"alias {alias} of {name} is left out: a collection has that name")
                continue
            if alias in aliases:
                remarks.append(f"alias {alias} was of {aliases[alias]} once, it goes with {name}")
            aliases[alias] = name
    return StartupPlan(ordered, aliases, tuple(remarks))


def _unfit(manifest: Manifest) -> Iterator[str]:
    """Why a full snapshot cannot hold this backup."""
    key = manifest.key
    if [p.kind for p in manifest.parts] != ["collection"]:
        yield f"{key} is kept by shard, not as one archive of its collection"
    elif manifest.parts[0].peer_id is not None:
        yield f"{key} is of a node of a cluster: a single server refuses shards that are elsewhere"
    if ":" in manifest.collection:
        # src/snapshots.rs of 1.18.3 splits `file:collection` at every colon, and panics
        yield f"{key}: Qdrant 1.18 takes no colon in a name at start-up"


def member_name(manifest: Manifest) -> str:
    """Return the name of the collection's file in the archive: plain letters, whatever the
    collection's name holds."""
    return f"{collection_slug(manifest.collection)}-{manifest.backup_id.lower()}.snapshot"


def add_member(out: BinaryIO, manifest: Manifest, part: Part, read: VerifiedRead) -> None:
    """Append one collection. If its bytes are not the manifest's, leave the file as it was and
    raise BytesDiffer (or what reading raised)."""
    start = out.tell()
    try:
        out.write(_header(member_name(manifest), part.size_bytes, manifest.captured_at))
        out.writelines(read)
        out.write(bytes(-part.size_bytes % BLOCK))
    except BaseException:
        out.seek(start)
        out.truncate()
        raise


def finish(out: BinaryIO, plan: StartupPlan, now: datetime) -> None:
    """Write the last member and the end of the tar."""
    config = {
        "collections_mapping": {
            b.manifest.collection: member_name(b.manifest) for b in plan.backups
        },
        "collections_aliases": plan.aliases,
    }
    text = json.dumps(config, ensure_ascii=False, indent=2).encode()
    out.write(_header(CONFIG, len(text), now) + text + bytes(-len(text) % BLOCK + 2 * BLOCK))


def _header(name: str, size: int, at: datetime) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mtime, entry.mode = size, int(at.timestamp()), 0o600
    return entry.tobuf(tarfile.GNU_FORMAT, "utf-8")
