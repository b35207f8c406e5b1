"""Years of backups in no time: an S3 emulator that starts with their records, or a folder of them.

    python -m benchmarks.history PORT BACKUPS COLLECTIONS

starts moto with a bucket `backups` that has a repository at `qdrant`: for each backup what a real
one has, one part (of no bytes to speak of), intent, answer, manifest and seal, and two proofs. Put
there in one process, for sixty thousand requests to an emulator take minutes. The seal is as large
as that of a collection with payload and two vectors, 40 kB. With more names (`PORT BACKUPS
COLLECTIONS NAME ...`) there is a repository at each, with the same backups, proofs of its own, and
the records of two runs for each backup.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from qdrant_dr import layout
from qdrant_dr.records import Fingerprint, Manifest, Proof, Seal
from qdrant_dr.records.fingerprint import BUCKETS, Component
from qdrant_dr.records.manifest import Part
from qdrant_dr.records.proof import Location
from qdrant_dr.records.repository import RepositoryRecord
from qdrant_dr.records.seal import SealedShard
from tests.support import records as made

BUCKET, PREFIX, ID = "backups", "qdrant", "7f3a9c21"
NAMES = ("aws", "gcp", "azure")
BODY = b"bytes that nobody reads"
POINTS = 2000
PARTS_OF_A_POINT = ("id", "payload", "vector:image", "vector:text")


def history(
    backups: int,
    collections: int,
    location: Location,
    now: datetime,
    *,
    repository_id: str = ID,
    runs: bool = False,
) -> Iterator[tuple[str, bytes]]:
    """Paths and bytes of a repository with so many backups, one an hour of each collection, and
    with `runs` the records of those that made and proved them."""
    yield (
        layout.REPOSITORY,
        RepositoryRecord(
            id=repository_id,
            layout="plain",
            created_at=now - timedelta(days=3650),
            tool_version="0.1.0",
        ).to_bytes(),
    )
    for number in range(backups):
        rank, of = divmod(number, collections)
        at = now - timedelta(hours=1 + rank, seconds=of)
        manifest = _manifest(f"collection-{of:03d}", at)
        seal = _seal(manifest)
        sealed = seal.sha256  # of 40 kB: once
        path = f"{layout.BACKUPS}/{manifest.key.folder}"
        yield f"{path}/{manifest.parts[0].file}", BODY
        yield f"{path}/{layout.INTENT}", b"{}"
        yield f"{path}/{layout.ANSWER}", b"{}"
        yield f"{path}/{layout.MANIFEST}", manifest.to_bytes()
        yield f"{path}/{layout.SEAL}", seal.to_bytes()
        for minutes in (1, 61):
            proof = _proof(manifest, sealed, location, at + timedelta(minutes=minutes))
            proof = proof.model_copy(update={"repository_id": repository_id})
            yield layout.proof(manifest.key, proof.proof_id), proof.to_bytes()
        if runs:
            yield from _runs(manifest, at)


def _runs(manifest: Manifest, at: datetime) -> Iterator[tuple[str, bytes]]:
    """The run that made it, and one that proved it again an hour later."""
    later = at + timedelta(minutes=60)
    made_it = made.run_start("backup", at, run_id=manifest.run_id)
    again = made.run_start("verify", later, run_id=layout.new_id(later))
    told = {made_it.run_id: (made.captured(manifest, *NAMES),), again.run_id: ()}
    for start in (made_it, again):
        end = made.run_end(start, outcomes=told[start.run_id])
        yield layout.run_start(start.run_id, start.started_at), start.to_bytes()
        yield layout.run_end(start.run_id, start.started_at), end.to_bytes()


def _manifest(collection: str, at: datetime) -> Manifest:
    made_of = made.manifest(collection, at, collection_info=_INFO)
    part: Part = made_of.parts[0].model_copy(update={"size_bytes": len(BODY)})
    return made_of.model_copy(update={"parts": (part,)})


def _seal(manifest: Manifest) -> Seal:
    return made.seal(
        manifest, POINTS, total=_TOTAL,
        shards=(SealedShard(shard=0, operation=7, points=POINTS, settled=_TOTAL),),
    )  # fmt: skip


def _proof(manifest: Manifest, sealed: str, location: Location, at: datetime) -> Proof:
    proof = made.proof(manifest, ended_at=at, depth="content", seal_sha256=sealed)
    return proof.model_copy(
        update={
            "proof_id": layout.new_id(at),
            "location": location,
        }
    )


_TOTAL = Fingerprint(
    points=POINTS,
    components={
        name: Component(
            count=POINTS, sum=made.digest(name), buckets=made.digest(name)[:16] * BUCKETS
        )
        for name in PARTS_OF_A_POINT
    },
)
_INFO = '{"config":{"params":{"vectors":{"size":128,"distance":"Cosine"}}}' + " " * 1500 + "}"


def serve(port: int, backups: int, collections: int, names: Sequence[str] = ()) -> None:
    """Fill the emulator's own tables, then serve them until killed."""
    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.s3.models import s3_backends
    from moto.server import main

    here = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
    here.create_bucket(BUCKET, "us-east-1")
    now = datetime.now(UTC)
    for prefix in names or (PREFIX,):
        location = Location(
            protocol="s3", endpoint=f"127.0.0.1:{port}", bucket=BUCKET, prefix=prefix
        )
        every = history(
            backups, collections, location, now,
            repository_id=id_of(prefix) if names else ID, runs=bool(names),
        )  # fmt: skip
        for path, data in every:
            here.put_object(BUCKET, f"{prefix}/{path}", data)
    main(["-H", "127.0.0.1", "-p", str(port)])


def id_of(name: str) -> str:
    """The id of the repository at a name."""
    return made.digest(name)[:8]


if __name__ == "__main__":
    serve(*map(int, sys.argv[1:4]), sys.argv[4:])
