"""Which packs a new backup takes blocks from again: those of the backups nearest to it in time."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from qdrant_dr import layout
from qdrant_dr.errors import KeyMissing, ObjectArchived, ObjectMissing, RecordError
from qdrant_dr.records import BackupKey, Proof
from qdrant_dr.records.proof import reaches
from qdrant_dr.repository.proven import open_failures
from qdrant_dr.repository.repository import Repository
from qdrant_dr.vault.box import Table
from qdrant_dr.vault.decline import SHARE, declined, use_of
from qdrant_dr.vault.known_blocks import Pack
from qdrant_dr.vault.pack_deletion_rules import is_base
from qdrant_dr.vault.recipe import Recipe, Run

log = logging.getLogger(__name__)

_BASES = 2
_PACK = re.compile(rf"{layout.PACKS}/[^/ ]+/[^/ ]+/([^/ ]+)\.pack")


@dataclass(frozen=True, slots=True)
class Bases:
    """The recipes of backups whose blocks may be reused, the packs that may not, and the ids of
    backups that failed a proof: of these no pack may."""

    recipes: tuple[Recipe, ...] = ()
    damaged: frozenset[str] = frozenset()
    failed: frozenset[str] = frozenset()

    def declined(
        self,
        packs: Iterable[tuple[Pack, Table]],
        *,
        stream_bytes: int,
        newest_key: bytes | None,
        trusted: Collection[str] = (),
        share: float = SHARE,
    ) -> Collection[str]:
        """Return the names of packs whose blocks are stored anew, though they are there. No failed
        proof speaks against those that are `trusted`. Pure."""
        tables = {pack.name: table for pack, table in packs}
        damaged = {
            name
            for name in tables
            if name not in trusted
            and (name in self.damaged or any(layout.is_pack_of(name, f) for f in self.failed))
        }
        runs: dict[str, list[tuple[int, int]]] = {}
        for recipe in self.recipes:
            for step in recipe.steps():
                if isinstance(step, Run):
                    runs.setdefault(recipe.packs[step.pack], []).append((step.first, step.blocks))
        return declined(
            [
                use_of(name, table, runs.get(name, ()))
                for name, table in tables.items()
                if name in runs or name in damaged
            ],
            stream_bytes=stream_bytes,
            damaged=damaged,
            newest_key=newest_key,
            share=share,
        )


def read_bases(
    repository: Repository, key: BackupKey, read_recipe: Callable[[BackupKey, str], Recipe]
) -> Bases:
    """Read what the committed backups nearest in time use, and which packs are not believed.

    Of a backup that failed a proof nothing is: a finding ends a proof, so it names one bad pack of
    perhaps many. Nor is one a base that is to go: for its packs the time has begun to run.
    """
    files: dict[str, list[str]] = {}
    for there in repository.find_backups(key.cluster, key.collection):
        if at := layout.read_backup_path(there.path):
            files.setdefault(at.backup_id, []).append(at.file)
    going = repository.find(layout.all_expired(key.cluster, key.collection))
    let_go = {at.backup_id for s in going if (at := layout.read_backup_path(s.path))}
    failed = _failed(repository, key)

    def recipes_of(name: str) -> Iterator[Recipe]:
        backup = key.model_copy(update={"backup_id": name})
        for part in filter(None, map(layout.part_file_of, files.get(name, ()))):
            try:
                yield read_recipe(backup, part)
            except (RecordError, ObjectMissing, ObjectArchived, KeyMissing) as e:
                what = f"the blocks of {part} of {backup} in {repository.name}"
                log.warning("%s are not reused: %s", what, e.message)

    damaged: set[str] = set()
    for name, named in failed.items():
        backup = key.model_copy(update={"backup_id": name})
        log.warning("no block of %s in %s is reused: it may be bad", backup, repository.name)
        damaged |= named
        damaged.update(pack for recipe in recipes_of(name) for pack in recipe.packs)
    possible = [
        n
        for n, of in files.items()
        if is_base(committed=layout.MANIFEST in of, expired=n in let_go)
    ]
    bases = [n for n in nearest(possible, key.backup_id) if n not in failed]
    recipes = tuple(recipe for name in bases for recipe in recipes_of(name))
    return Bases(recipes, frozenset(damaged), frozenset(failed))


def _failed(repository: Repository, key: BackupKey) -> dict[str, frozenset[str]]:
    """The backups of a collection of which bytes are bad, or nobody knows, by id: each with the
    packs that are named."""
    proofs = repository.read_proofs(key.cluster, key.collection)
    of: dict[str, list[Proof]] = {}
    for proof in proofs.records:
        of.setdefault(proof.backup_id, []).append(proof)
    failed: dict[str, frozenset[str]] = {}
    for name, every in of.items():
        named = packs_named(open_failures(every))
        if named is None or named:
            failed[name] = named or frozenset()
    for unreadable in proofs.unreadable:
        if isinstance(unreadable.error, ObjectArchived | ObjectMissing):
            continue  # not damaged: a rule of the bucket moves old proofs away
        if at := layout.read_backup_path(unreadable.path):
            failed.setdefault(at.backup_id, frozenset())
    return failed


def nearest(committed: Collection[str], backup_id: str) -> list[str]:
    """Return the ids of the backups nearest to one in time, before and after it. Pure."""
    before = sorted(name for name in committed if name <= backup_id)
    after = sorted(name for name in committed if name > backup_id)
    return [*before[-1:], *after[:1], *before[-2:-1], *after[1:2]][:_BASES]


def packs_named(failures: Sequence[Proof]) -> frozenset[str] | None:
    """Return the packs that failed proofs say are bad; None if bytes of the copy are bad, and one
    of them does not say where. Pure."""
    found: set[str] = set()
    for failure in failures:
        named = {n for f in failure.findings for n in _PACK.findall(f.message)}
        read = failure.reached is not None and reaches(failure.reached, "bytes")
        if not named and not read:
            return None
        found |= named
    return frozenset(found)
