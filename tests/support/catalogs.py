"""Backups stored in repositories, proofs of them, and what a catalog says of them."""

from __future__ import annotations

import hashlib
from datetime import datetime

from qdrant_dr.records import Manifest, Proof
from qdrant_dr.repository import Repository, read_catalog
from qdrant_dr.repository.catalog import Backup
from tests.support import records as made

DATA = b"archive" * 1000


def manifest_of(collection: str = "movies", at: datetime = made.NOW, **fields: object) -> Manifest:
    plain = made.manifest(collection, at, **fields)
    part = plain.parts[0].model_copy(
        update={"size_bytes": len(DATA), "sha256": hashlib.sha256(DATA).hexdigest()}
    )
    return plain.model_copy(update={"parts": (part,)})


def back_up(of: Manifest, *repositories: Repository) -> None:
    for repository in repositories:
        sink = repository.part_sink(of.key, of.parts[0].file)
        sink.write(DATA)
        sink.commit()
        repository.commit(of)


def prove(of: Manifest, repository: Repository, **fields: object) -> Proof:
    about = {"repository_id": repository.id, "location": repository.location}
    proof = made.proof(of, **{"ended_at": made.NOW, **about, **fields})
    repository.add_proof(proof)
    return proof


def only(*repositories: Repository) -> Backup:
    (backup,) = read_catalog(repositories, cluster="prod").backups
    return backup
