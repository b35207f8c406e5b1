"""Depth `restore`: a copy that passed every depth before is restored by a server, and asked."""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from qdrant_dr.cancel import stopping
from qdrant_dr.cluster import DRILL_PREFIX, Node, drop_target, node_facts, wait_restored
from qdrant_dr.config import Config
from qdrant_dr.errors import NothingChecked, PlanRefused
from qdrant_dr.jobs.run.examine import CopyReader
from qdrant_dr.jobs.run.load_backup import Found
from qdrant_dr.jobs.run.progress import in_transit
from qdrant_dr.jobs.run.prove import ProvedCopy, prove_copy
from qdrant_dr.jobs.run.run import utc_now
from qdrant_dr.jobs.run.scratch_dir import PREFIX, dead_folders, remove_scratch, scratch_folder
from qdrant_dr.jobs.run.units import VerifyUnit
from qdrant_dr.jobs.target.node_for_shard import TargetNodes
from qdrant_dr.jobs.target.restore_to_scratch import recover_onto, scratch_nodes
from qdrant_dr.jobs.target.restored_content import Reference, compare_content, lost_indexes
from qdrant_dr.jobs.target.scratch import drill_target
from qdrant_dr.jobs.target.search import prove_served
from qdrant_dr.records import ErrorFacts, Part

FOLDER = f"{PREFIX}drill-"
_ONE_SERVER = threading.Lock()
"""A scratch holds one restore at a time, and this machine has cores for one more server."""


def require_server(config: Config) -> None:
    """Raise PlanRefused if nothing is there to restore to but the sandbox, which is no Qdrant."""
    configured = config.drill.scratch or config.drill.docker
    if configured is None and not os.environ.get("QDRANT_BIN"):
        raise PlanRefused(
            "depth restore needs a running Qdrant: the sandbox proves nothing of a server",
            "set `drill.scratch` or `drill.docker`, or QDRANT_BIN to the server's binary; or use "
            "depth `search`.",
        )


def prove_restored(config: Config, found: Found, unit: VerifyUnit, run_id: str) -> ProvedCopy:
    """Prove one copy to depth `search` with the engine, then to `restore` on a scratch server.

    What the engine could not be asked, the server is.

    The first proof is kept beside the copy before the second begins; it is what is returned if it
    failed. Raise what kept us from looking, RecoverFailed if the server would not restore it: that
    may be the copy, or the server.
    """
    require_server(config)
    with _ONE_SERVER:
        spool = config.capture.spool.path
        dead = dead_folders(spool, "drill")
        with scratch_folder(spool, f"drill-{run_id.lower()}-{secrets.token_hex(3)}") as folder:
            gone = [name.removeprefix("drill-") for name in dead]
            with drill_target(config, folder / "server", gone, manifest=found.manifest) as target:
                if node_facts(target).source_kind == "sandbox":
                    raise PlanRefused(
                        f"{target.url} is the sandbox: it proves nothing of a server",
                        "give a running Qdrant in `drill.scratch`; or use depth `search`.",
                    )
                name = DRILL_PREFIX + folder.name.removeprefix(FOLDER)
                proved = _prove_on(config, target, name, found, unit, run_id, folder)
        for name in dead:
            remove_scratch(spool, name)
    return proved


def _prove_on(
    config: Config,
    target: Node,
    name: str,
    found: Found,
    unit: VerifyUnit,
    run_id: str,
    folder: Path,
) -> ProvedCopy:
    started_at = utc_now()
    search = unit.model_copy(update={"depth": "search"})
    proved = prove_copy(config, found, search, run_id, keep_replayed=True)
    if not proved.proof.passed or proved.seal is None:
        return proved
    found.repository.add_proof(proved.proof)
    reader = CopyReader(found.repository, found.backup)
    reference = Reference(
        config, found.manifest, proved.seal, reader, folder, late=proved.replayed_points
    )
    try:
        with scratch_nodes(config, target) as nodes:
            _recover(config, nodes, name, found, folder)
            comparison = compare_content(reference, nodes.by_peer, name).with_faults(
                lost_indexes(found.manifest, target, name)
            )
        proof = prove_served(
            found, proved.seal, target, name, comparison,
            reached=proved.proof.depth, run_id=run_id, made_by=unit.made_by, started_at=started_at,
        )  # fmt: skip
    finally:
        drop_target(target, name)
    if proof is None:
        raise NothingChecked(f"the indexes of {unit.key} on {target.url} could not be asked")
    error = None
    if proof.findings:
        first = proof.findings[0]
        error = ErrorFacts(
            code=first.code,
            message=f"{unit.key} in {unit.repository}, restored on {target.url}: {first.message}",
            hint="the copy is as it was captured: read the server's log, and drill another backup.",
        )
    return replace(proved, proof=proof, error=error, unasked=())


def _recover(config: Config, nodes: TargetNodes, name: str, found: Found, folder: Path) -> None:
    """Let the server restore what is read from the repository, byte by byte compared."""

    def read(part: Part) -> Iterator[bytes]:
        return found.repository.read_verified(found.backup.key, part, in_transit(part))

    recover_onto(nodes, name, found.manifest, read, folder, limit=config.capture.spool.max)
    wait_restored(nodes.by_peer, name, stop=stopping)
