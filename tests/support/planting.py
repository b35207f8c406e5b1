"""A backup planted by somebody who may write to one bucket."""

from __future__ import annotations

import shutil
from datetime import timedelta
from typing import Any

from qdrant_dr.layout import run_end, run_start
from qdrant_dr.records import Manifest, Proof, RunEnd, RunStart, Seal
from tests.support.world import World


def plant(world: World, where: str, like: Manifest) -> Manifest:
    """What somebody with a key of one bucket can do: a younger backup with a seal, a proof and a
    run, every digest right, made from one that is there."""
    place = world.folders[where]

    def records(kind: Any, below: str) -> Any:
        found = [kind.from_bytes(p.read_bytes(), where=str(p)) for p in sorted(place.glob(below))]
        assert found
        return found

    key = like.key.model_copy(update={"backup_id": like.backup_id[:-6] + "0badf0"})
    newer = {"captured_at": like.captured_at + timedelta(microseconds=1), "note": "not ours"}
    of = like.model_copy(update={"backup_id": key.backup_id, **newer})
    (seal,) = records(Seal, f"backups/{like.key.folder}/seal.json")
    seal = seal.model_copy(update={"backup_id": key.backup_id, "manifest_sha256": of.sha256})
    proof = records(Proof, f"proofs/{like.key.folder}/*.json")[0]
    proof = proof.model_copy(
        update={
            "backup_id": key.backup_id, "manifest_sha256": of.sha256,
            "seal_sha256": seal.sha256 if proof.seal_sha256 else None,
        }
    )  # fmt: skip
    home, theirs = place / "backups" / key.folder, place / "backups" / like.key.folder
    shutil.copytree(theirs, home)
    (home / "manifest.json").write_bytes(of.to_bytes())
    (home / "seal.json").write_bytes(seal.to_bytes())
    proofs = place / "proofs" / key.folder
    proofs.mkdir(parents=True)
    (proofs / f"{proof.proof_id}.json").write_bytes(proof.to_bytes())
    end = next(
        e for e in records(RunEnd, "runs/**/*.end.json")
        if any(o.backup_id == like.backup_id and o.unit == "capture" for o in e.outcomes)
    )  # fmt: skip
    start: RunStart = end.start.model_copy(update={"run_id": end.start.run_id[:-6] + "0badf0"})
    outcomes = tuple(
        o.model_copy(
            update={
                "backup_id": key.backup_id,
                "detail": o.detail.model_copy(update={"manifest_sha256": of.sha256}),
            }
        )
        for o in end.outcomes
        if o.backup_id == like.backup_id and o.unit == "capture"
    )
    end = end.model_copy(update={"start": start, "outcomes": outcomes})
    (place / run_start(start.run_id, start.started_at)).write_bytes(start.to_bytes())
    (place / run_end(start.run_id, start.started_at)).write_bytes(end.to_bytes())
    return of
