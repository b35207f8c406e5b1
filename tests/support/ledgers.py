"""A repository's ledger, made up: entries of the agreed record, signed, in a folder."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from qdrant_dr import layout
from qdrant_dr.records.ledger import FIRST, Head, LedgerEntry, Written
from qdrant_dr.records.proof import Location
from qdrant_dr.records.repository import RepositoryRecord
from qdrant_dr.signing import sshsig
from qdrant_dr.signing.allowed_signers import LEDGER, AllowedSigner
from qdrant_dr.signing.ssh_keys import PrivateKey
from tests.support import records as made

HOUR = timedelta(hours=1)


def bucket(name: str) -> Location:
    return Location(protocol="s3", endpoint="", bucket=name, prefix="dr")


def trust_line(key: PrivateKey, who: str = "ledger@shop", **options: Any) -> str:
    return AllowedSigner(who, key.public, namespaces=LEDGER, **options).line + "\n"


@dataclass
class Ledger:
    """A repository below `root` whose ledger grows by `append`; one entry an hour."""

    root: Path
    key: PrivateKey | None
    id: str = "0a0b0c0d"
    location: Location = field(default_factory=lambda: bucket("one"))
    at: datetime = made.NOW
    last: tuple[int, str] = (0, FIRST)

    def __post_init__(self) -> None:
        record = RepositoryRecord(
            id=self.id, layout="plain", created_at=self.at, tool_version="1", key_id=None
        )
        self.put(layout.REPOSITORY, record.to_bytes())

    def put(self, path: str, data: bytes) -> Written:
        """Write a file as it is."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        return Written(path=path, sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))

    def append(
        self,
        records: Mapping[str, bytes] | None = None,
        *,
        heads: Sequence[Head] = (),
        key: PrivateKey | None = None,
        signed: bool = True,
        **changes: Any,
    ) -> LedgerEntry:
        """Write the records, then the next entry that names them, then its signature."""
        number, previous = self.last
        key = key or self.key
        before = self.at if number else None
        self.at += HOUR
        entry = LedgerEntry(
            **{
                "repository_id": self.id,
                "location": self.location,
                "number": number + 1,
                "previous": previous,
                "previous_stored_at": before,
                "at": self.at,
                "cluster": "shop",
                "run_id": None,
                "job": "backup",
                "signer": key.public.fingerprint if key and signed else None,
                "records": tuple(self.put(p, d) for p, d in (records or {}).items()),
                "heads": tuple(heads),
                **changes,
            }
        )
        self.write(entry, key if signed else None)
        return entry

    def write(self, entry: LedgerEntry, key: PrivateKey | None) -> None:
        """Write an entry at its place, whatever it says."""
        data = entry.to_bytes()
        path = layout.ledger_entry(entry.number)
        self.put(path, data)
        if key is not None:
            self.put(path + layout.SIGNATURE, sshsig.sign(data, key, LEDGER))
        self.last = (entry.number, hashlib.sha256(data).hexdigest())

    @property
    def head(self) -> Head:
        """The last entry, as another repository notes it."""
        return Head(repository_id=self.id, number=self.last[0], sha256=self.last[1])

    def file(self, number: int) -> Path:
        return self.root / layout.ledger_entry(number)


def round_of(ledger: Ledger, at: datetime) -> dict[str, bytes]:
    """The records that one backup writes in a repository, by path."""
    start = made.run_start(at=at)
    manifest = made.manifest(at=at)
    seal = made.seal(manifest)
    proof = made.proof(
        manifest,
        repository_id=ledger.id,
        location=ledger.location,
        ended_at=at + timedelta(minutes=1),
    )
    end = made.run_end(start)
    return {
        layout.run_start(start.run_id, at): start.to_bytes(),
        layout.in_backup(manifest.key, layout.MANIFEST): manifest.to_bytes(),
        layout.in_backup(manifest.key, layout.SEAL): seal.to_bytes(),
        layout.proof(manifest.key, proof.proof_id): proof.to_bytes(),
        layout.run_end(start.run_id, at): end.to_bytes(),
    }


def clouds(
    root: Path, key: PrivateKey | None, *, names: Sequence[str], rounds: int
) -> list[Ledger]:
    """Repositories that one worker wrote to, each a witness of the others."""
    ledgers = [
        Ledger(root / name, key, id=f"{n + 1:08x}", location=bucket(name))
        for n, name in enumerate(names)
    ]
    for _ in range(rounds):
        heads = [one.head for one in ledgers if one.last[0]]
        for ledger in ledgers:
            others = [h for h in heads if h.repository_id != ledger.id]
            ledger.append(round_of(ledger, ledger.at + HOUR - timedelta(minutes=5)), heads=others)
    return ledgers
