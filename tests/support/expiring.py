"""Repositories full of backups to be let go."""

from __future__ import annotations

from datetime import timedelta

from qdrant_dr import configfile
from qdrant_dr.jobs.run.catalogs import open_all
from qdrant_dr.jobs.run.run import utc_now
from qdrant_dr.records import Intent, Manifest
from qdrant_dr.repository import Repository
from tests.support import records as made
from tests.support.world import World

BYTES = b"points" * 1000


LITTLE = {"last": 1, "daily": 0, "weekly": 0, "monthly": 0, "floor": 1, "share": 1.0}


def opened(world: World) -> dict[str, Repository]:
    return open_all(configfile.load(world.reference))[0]


def fill(world: World, days: int, *, life: str = "one", since: int = 0) -> list[Manifest]:
    """A proven backup a day in every repository, newest first."""
    found = []
    for n in range(since, since + days):
        at = utc_now().replace(microsecond=0) - timedelta(days=n, hours=3)
        of = made.manifest("movies", at, cluster="shop", incarnation=life)
        part = of.parts[0].model_copy(
            update={"size_bytes": len(BYTES), "sha256": made.digest(BYTES.decode())}
        )
        of = of.model_copy(update={"parts": (part,)})
        for repository in opened(world).values():
            store_backup(repository, of)
        found.append(of)
    return found


def store_backup(repository: Repository, of: Manifest) -> None:
    repository.write_intent(
        of.key,
        Intent(
            run_id=of.run_id, backup_id=of.backup_id, cluster="shop", collection="movies",
            node="http://127.0.0.1:9", started_at=of.captured_at, listed_before=(),
            tool_version="0.1.0", streamed=True,  # else it is kept for the sweep of its node
        ),
    )  # fmt: skip
    sink = repository.part_sink(of.key, of.parts[0].file)
    sink.write(BYTES)
    sink.commit()
    repository.commit(of)
    seal = made.seal(of)
    repository.put_seal(seal)
    repository.add_proof(
        made.proof(
            of, repository.name, cluster="shop", seal_sha256=seal.sha256,
            proof_id=f"{of.backup_id}", repository_id=repository.id, location=repository.location,
        )
    )  # fmt: skip


def left(world: World, repository: str = "one") -> set[str]:
    return {m.backup_id for m in world.manifests(repository)}
