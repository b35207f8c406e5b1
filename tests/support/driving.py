"""Running whole jobs in this process, as the command line does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qdrant_dr import configfile
from qdrant_dr.dispatch.threads import in_threads
from qdrant_dr.jobs.backup.job import BackupRequest, backup
from qdrant_dr.jobs.check.job import CheckRequest, check
from qdrant_dr.jobs.drill.job import DrillRequest, drill
from qdrant_dr.jobs.drill.scenario import usable
from qdrant_dr.jobs.expire.job import expire
from qdrant_dr.jobs.expire.plan import ExpireRequest
from qdrant_dr.jobs.replicate.job import ReplicateRequest, replicate
from qdrant_dr.jobs.restore.job import restore
from qdrant_dr.jobs.restore.options import RestoreRequest
from qdrant_dr.jobs.run.run import begin
from qdrant_dr.jobs.verify.job import VerifyRequest, verify
from qdrant_dr.records import Outcome, RunEnd, Seal
from tests.support.expiring import opened
from tests.support.world import World

_JOBS: dict[str, tuple[Callable[..., RunEnd], type[Any]]] = {
    "backup": (backup, BackupRequest),
    "check": (check, CheckRequest),
    "verify": (verify, VerifyRequest),
    "replicate": (replicate, ReplicateRequest),
    "drill": (drill, DrillRequest),
    "restore": (restore, RestoreRequest),
    "expire": (expire, ExpireRequest),
}


def do(world: World, job: str, **request: Any) -> RunEnd:
    """Run one job to its end record."""
    config = configfile.load(world.reference)
    work, kind = _JOBS[job]
    given = {k: v for k, v in request.items() if isinstance(v, str | bool)}
    there = usable(config, request.get("scenario"))
    run = begin(config, job, parameters=given, repositories=there)
    return work(config, kind(**request), run, in_threads(config, run.run_id))


def change_seals(world: World, **fields: Any) -> None:
    """Write every seal anew with other fields: in a box, where seals lie in boxes."""
    for name, repository in opened(world).items():
        for path in world.folders[name].glob("backups/**/seal.json"):
            place = str(path.relative_to(world.folders[name]))
            seal = repository.read_record(Seal, place).model_copy(update=fields)
            path.unlink()
            repository.write_record(place, seal)


def outcomes(end: RunEnd, unit: str) -> list[Outcome]:
    return [o for o in end.outcomes if o.unit == unit]


def rot(world: World, repository: str, collection: str | None = None) -> None:
    """Flip one bit in the middle of a stored part."""
    for part in world.parts(repository):
        if collection is None or f"/{collection}-" in str(part):
            data = bytearray(part.read_bytes())
            data[len(data) // 2] ^= 1
            part.write_bytes(data)
            return
    raise AssertionError("nothing to rot")
