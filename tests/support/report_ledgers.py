"""Ledgers as a report reads them: hand-made entries, chained and signed; and a world that signs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from qdrant_dr.records import LedgerEntry
from qdrant_dr.records.ledger import FIRST, Head
from qdrant_dr.report.evidence.ledger_read import LedgerRead, ReadEntry
from qdrant_dr.signing import sshsig
from qdrant_dr.signing.allowed_signers import LEDGER, REVIEW, AllowedSigner
from qdrant_dr.signing.ssh_keys import PrivateKey, new_key
from tests.support import records as r
from tests.support.records import NOW, hours
from tests.support.world import World, make_world

KEY = new_key()
TRUSTED = (AllowedSigner("ledger@prod", KEY.public, LEDGER),)


def chain(
    repository: str, length: int = 3, *, key: PrivateKey | None = KEY, heads: Sequence[Head] = ()
) -> tuple[ReadEntry, ...]:
    """Entries of one repository, an hour apart, the last three hours ago; the last has `heads`."""
    found: list[ReadEntry] = []
    for number in range(1, length + 1):
        entry = LedgerEntry(
            repository_id=r.digest(repository)[:8],
            location=r.location(repository),
            number=number,
            previous=found[-1].entry.sha256 if found else FIRST,
            previous_stored_at=None,
            at=NOW - hours(3 + length - number),
            cluster=r.CLUSTER,
            run_id=None,
            job="backup",
            signer=key.public.fingerprint if key else None,
            heads=tuple(heads) if number == length else (),
        )
        found.append(signed(entry, key))
    return tuple(found)


def signed(entry: LedgerEntry, key: PrivateKey | None = KEY) -> ReadEntry:
    return ReadEntry(entry, sshsig.sign(entry.to_bytes(), key, LEDGER) if key else None)


def read(repository: str, entries: Sequence[ReadEntry], **fields: Any) -> LedgerRead:
    return LedgerRead(
        repository,
        r.digest(repository)[:8],
        first=entries[0] if entries else None,
        entries=tuple(entries),
        **fields,
    )


def signing_world(folder: Path, url: str) -> World:
    """Two repositories whose ledgers a worker signs; `ana` is the key file of a reviewer. Both keys
    are allowed signers."""
    lines = []
    for name, purpose in (("worker", LEDGER), ("ana", REVIEW)):
        key, file = new_key(), folder / name
        file.touch(mode=0o600)
        file.write_text(key.to_text())
        lines.append(AllowedSigner(f"{name}@example.com", key.public, purpose).line)
    (folder / "allowed_signers").write_text("\n".join(lines))
    signing = {"key": f"file:{folder}/worker", "allowed_signers": f"{folder}/allowed_signers"}
    return make_world(folder, url, signing=signing)


def after_all(world: World) -> datetime:
    """A moment after the last run and its entries."""
    return world.ends("one")[-1].ended_at + timedelta(minutes=1)
