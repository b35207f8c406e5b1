"""One repository in layout `chunked`: parts are recipes, their blocks lie in packs."""

from __future__ import annotations

import itertools
import logging
import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from qdrant_dr import layout
from qdrant_dr.digests import StreamDigest
from qdrant_dr.disk import free_below
from qdrant_dr.errors import (
    BoxDamaged,
    BytesDiffer,
    CannotSign,
    Conflict,
    DRError,
    ObjectMissing,
)
from qdrant_dr.records import BackupKey, Part
from qdrant_dr.repository.record_cache import memory_of
from qdrant_dr.repository.repository import Repository, Spool
from qdrant_dr.repository.reuse_bases import Bases, read_bases
from qdrant_dr.stores.base import OpenUpload, Sink, Stat, fill
from qdrant_dr.vault.box import Table, open_bytes
from qdrant_dr.vault.copy_blocks import PartBlocks
from qdrant_dr.vault.cut_once import CutOnce
from qdrant_dr.vault.known_blocks import KnownBlocks, Pack
from qdrant_dr.vault.pack_deletion_rules import ORPHAN_GRACE, may_reuse
from qdrant_dr.vault.pack_writer import PackPlaces
from qdrant_dr.vault.reader import Instead, PartReader, blaming
from qdrant_dr.vault.recipe import Recipe, read_recipe
from qdrant_dr.vault.sink import ChunkedSink, PartWriter, RecipePlace, Vault
from qdrant_dr.vault.tables import Tables
from qdrant_dr.vault.whole_packs import Scatter, WholePacks, hand_out, scatter_of
from qdrant_dr.verified_read import VerifiedRead

log = logging.getLogger(__name__)

_READERS = 16
_MOST_READ = 4
"""Times the bytes of a part that its packs may have, where they are read whole."""
_SPARE_ROOM = 2**30
_RECENT = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class PartNeeds:
    """What a recipe makes, and the paths of the packs that it needs, each with the bytes that it
    has at least."""

    size_bytes: int
    sha256: str
    packs: Mapping[str, int]

    def are_met(self, part: Part, listed: Mapping[str, int]) -> bool:
        """Say whether this makes that part, as far as the sizes of packs tell. Pure."""
        return (self.size_bytes, self.sha256) == (part.size_bytes, part.sha256) and all(
            listed.get(path, -1) >= least for path, least in self.packs.items()
        )


@dataclass(slots=True)
class ChunkedRepository(Repository):
    """Stores each block of a collection once. Safe to use from several threads."""

    _tables: Tables = field(init=False)
    _numbers: dict[str, Iterator[int]] = field(init=False, default_factory=dict)
    _bases: dict[str, tuple[datetime, Bases]] = field(init=False, default_factory=dict)
    _healed: dict[str, set[str]] = field(init=False, default_factory=dict)
    """Packs that this process wrote to heal a backup, by its folder: no proof speaks of them."""

    def __post_init__(self) -> None:
        Repository.__post_init__(self)  # slots make it another class than `super()` knows
        self._tables = Tables(self.store, self.keys, self._memory())

    def _memory(self) -> Path | None:
        """Where tables are remembered on this machine; nowhere if they lie on it."""
        if self.location.protocol in ("file", "memory"):
            return None
        try:
            return memory_of(self.id, self.location).with_suffix(".tables")
        except RuntimeError:  # a container may run under an id without a home
            return None

    # capture and repair

    def part_sink(
        self,
        key: BackupKey,
        file_name: str,
        size_hint: int | None = None,
        stream: CutOnce | None = None,
        digest: StreamDigest | None = None,  # noqa: ARG002 -- a box has its own
    ) -> Sink:
        path = self._part_path(key, file_name)
        if self.store.stat(path) is not None:
            raise Conflict(f"repository {self.name}: {path} already exists")
        place = RecipePlace(path, key.folder, file_name)
        vault = self._vault(key, size_hint or 0, self._recent_bases(key))
        return ChunkedSink(vault, place, stream or CutOnce())

    def _recent_bases(self, key: BackupKey) -> Bases:
        """The parts of a capture share them: a collection may have thousands of proofs. Not for
        long, since a base may be let go meanwhile."""
        now = datetime.now(UTC)
        read_at, bases = self._bases.get(key.folder, (None, None))
        if read_at is None or bases is None or not timedelta(0) <= now - read_at < _RECENT:
            bases = read_bases(self, key, self.read_recipe)
            self._bases[key.folder] = now, bases
        return bases

    def replace_part(self, key: BackupKey, part: Part, blocks: Iterable[bytes]) -> None:
        """Repair: store a part anew, of whose packs none is believed any more."""
        if not isinstance(blocks, VerifiedRead):
            what, then = f"{part.file} of {key} came with", f". nothing was replaced in {self.name}"
            blocks = VerifiedRead(blocks, part, what, then)
        fill(ChunkedSink(*self._replacing(key, part), CutOnce()), blocks)

    def replace_part_by_blocks(
        self, key: BackupKey, part: Part, blocks: PartBlocks
    ) -> Iterator[bytes]:
        """The same out of another chunked repository, of whose recipe it is known that it makes the
        part. Yield what is read there: only blocks that are not here."""
        writer = PartWriter(*self._replacing(key, part))
        try:
            yield from blocks.copy_to(writer)
            writer.finish(part.size_bytes, part.sha256)
        finally:
            writer.abort()

    def _replacing(self, key: BackupKey, part: Part) -> tuple[Vault, RecipePlace]:
        try:
            doubted: Collection[str] = self.read_recipe(key, part.file).packs
        except (ObjectMissing, BoxDamaged):
            doubted = ()
        place = RecipePlace(self._part_path(key, part.file), key.folder, part.file, replace=True)
        bases = read_bases(self, key, self.read_recipe)
        return self._vault(key, part.size_bytes, bases, doubted, healing=True), place

    def _part_path(self, key: BackupKey, file_name: str) -> str:
        return layout.in_backup(key, layout.recipe_file(file_name))

    # reading a part

    def part_size(self, key: BackupKey, part: Part) -> int | None:
        """Return how many bytes of a part can be put together, as far as a list of packs tells.
        Raise BytesDiffer if nobody can tell: its recipe is damaged."""
        try:
            recipe = self.read_recipe(key, part.file)
        except ObjectMissing:
            return None
        except BoxDamaged as e:
            raise BytesDiffer(f"{self._what(key, part)}: {e.message}") from None
        listed = self.list_packs(key)
        gone = [
            pack
            for pack, least in recipe.least_sizes().items()
            if pack not in listed or listed[pack].size_bytes < least
        ]
        if not gone:
            return recipe.size_bytes
        log.warning("%s: %d packs are gone or cut, %s", self._what(key, part), len(gone), gone[0])
        lost = {recipe.packs.index(p) for p in gone}
        there = (s for s in recipe.steps() if isinstance(s, bytes) or s.pack not in lost)
        return sum(len(s) if isinstance(s, bytes) else s.size for s in there)

    def has_part(self, key: BackupKey, part: Part) -> bool:
        """Say whether the recipe of a part is of these very bytes, and its packs are there, as far
        as a list tells. Raise BytesDiffer if its recipe is damaged."""
        try:
            needs = self.needs_of(self._part_path(key, part.file))
        except ObjectMissing:
            return False
        except BoxDamaged as e:
            raise BytesDiffer(f"{self._what(key, part)}: {e.message}") from None
        listed = {there.path: there.size_bytes for there in self.list_packs(key).values()}
        return needs.are_met(part, listed)

    def read_part(
        self,
        key: BackupKey,
        part: Part,
        start: int = 0,
        end: int | None = None,
        instead: Instead | None = None,
    ) -> Iterator[bytes]:
        """Yield the bytes of a part, put together. Raise BytesDiffer at a block that is damaged,
        ObjectMissing at one that is gone; with `instead`, what that returns stands for it."""
        with blaming(self._what(key, part)):
            recipe = self.read_recipe(key, part.file)
            path = self._pack_path(key)
            tables = Tables(self.store, self.keys)
            reader = PartReader(
                self.store, self.keys, tables, recipe, self.list_packs(key), path, instead
            )
            yield from reader.read(start, end)

    def _what(self, key: BackupKey, part: Part) -> str:
        return f"{part.file} of {key} in {self.name}"

    def read_whole(self, key: BackupKey, part: Part, spool: Spool | None) -> Iterator[bytes]:
        """Yield all bytes of a part: out of a file of the spool where its packs would be read many
        times in the order of the stream, and there is room; else in that order."""
        if spool is None:
            return self.read_part(key, part)
        with blaming(self._what(key, part)):
            recipe = self.read_recipe(key, part.file)
            listed = self.list_packs(key)
            scatter = scatter_of(recipe)
            read = sum(listed[name].size_bytes for name in recipe.packs if name in listed)
            if not scatter.is_wide or read > _MOST_READ * recipe.size_bytes:
                return self.read_part(key, part)
            room = free_below(str(spool.folder)) - _SPARE_ROOM
            if recipe.size_bytes > min(room, spool.most_bytes or room):
                spool.told(f"{_scattered(part, scatter)}: the spool has no room to put it together")
                return self.read_part(key, part)
            spool.told(f"{_scattered(part, scatter)}: put together from whole packs in the spool")
            file = spool.folder / f"{part.name}-{secrets.token_hex(4)}.part"
            packs = WholePacks(self.store, self.keys, self._pack_path(key))
            try:
                for _ in spool.waiting(packs.put_together(recipe, file)):
                    pass
            except BaseException as e:
                file.unlink(missing_ok=True)
                if isinstance(e, OSError):
                    spool.told(f"{part.file} was not put together in the spool: {e.strerror}")
                    return self.read_part(key, part)
                raise
            return hand_out(file)

    def read_damaged(
        self, key: BackupKey, part: Part, lost: Callable[[DRError, int], None]
    ) -> Iterator[bytes]:
        """Yield the bytes of a part as far as they can be had, to save what is left of it: zeros
        stand for each block that is damaged or gone, and `lost` is told."""

        def zeros(error: BoxDamaged, size: int) -> bytes:
            lost(error, size)
            return bytes(size)

        return self.read_part(key, part, instead=zeros)

    def read_recipe(self, key: BackupKey, file_name: str) -> Recipe:
        """Read the recipe of a part. Raise ObjectMissing, RecipeDamaged, BoxDamaged, KeyMissing."""
        path = self._part_path(key, file_name)
        text = open_bytes(path, self.store.read(path), self.keys)
        return read_recipe(path, text, folder=key.folder, part=file_name)

    def packs_of(self, path: str) -> frozenset[str]:
        """Return the paths of the packs that the recipe at this path takes blocks from. Raise what
        `read_recipe` raises."""
        return frozenset(self.needs_of(path).packs)

    def needs_of(self, path: str) -> PartNeeds:
        """Return what the recipe at this path makes, and of what. Raise what `read_recipe`
        raises."""
        at, part = layout.read_backup_path(path), layout.part_file_of(path)
        if at is None or part is None:
            raise ValueError(f"{path} is no recipe")
        text = open_bytes(path, self.store.read(path), self.keys)
        recipe = read_recipe(path, text, folder=at.folder, part=part.rpartition("/")[2])
        below = f"{layout.PACKS}/{at.cluster}/{at.collection_folder}"
        packs = {f"{below}/{name}.pack": size for name, size in recipe.least_sizes().items()}
        return PartNeeds(recipe.size_bytes, recipe.sha256, packs)

    def table_of(self, pack: Stat) -> Table:
        """Read the table of a listed pack from the store. Raise BoxDamaged, ObjectMissing,
        KeyMissing."""
        return Tables(self.store, self.keys).of(pack)

    def known_table_of(self, pack: Stat) -> Table:
        """Return the table of a listed pack as it was when it was read first: what has become of
        it since, this cannot tell. Raise what `table_of` raises."""
        return self._tables.of(pack)

    def list_packs(self, key: BackupKey) -> dict[str, Stat]:
        """List the packs of the collection of a backup, by name."""
        found = self.find(layout.packs(key.cluster, key.collection))
        named = ((layout.read_pack_path(there.path), there) for there in found)
        return {at.name: there for at, there in named if at is not None}

    def written_bytes(self, key: BackupKey) -> int | None:
        """Return the bytes of the packs that were written for a backup; None if it is not here."""
        if self.store.stat(layout.in_backup(key, layout.MANIFEST)) is None:
            return None
        listed = self.list_packs(key).items()
        return sum(s.size_bytes for name, s in listed if layout.is_pack_of(name, key.backup_id))

    def presigned(self, key: BackupKey, part: Part, seconds: int) -> str:  # noqa: ARG002
        raise CannotSign(
            f"repository {self.name} stores blocks (layout `chunked`): no URL of it is an archive",
            "use `--way upload`, which puts the archive together; `qdrant-dr get BACKUP --out "
            "FILE` writes it to a file.",
        )

    # what the sweep needs

    def open_uploads(self, cluster: str) -> list[OpenUpload]:
        """List uploads of a cluster that were begun and never finished, if the store can tell."""
        packs = self.store.open_uploads(layout.packs(cluster))
        return [*self.store.open_uploads(layout.backups(cluster)), *packs]

    # blocks that are there already

    def _vault(
        self,
        key: BackupKey,
        stream_bytes: int,
        bases: Bases,
        doubted: Collection[str] = (),
        *,
        healing: bool = False,
    ) -> Vault:
        """Everything that a sink needs to know of what is stored already; of `doubted` packs
        nothing is reused."""
        began = datetime.now(UTC)
        listed = self.list_packs(key)
        young = {name for name, there in listed.items() if may_reuse(there.modified_at, now=began)}
        based = {name for recipe in bases.recipes for name in recipe.packs}
        there = (young | based) & listed.keys() - set(doubted)
        packs = [Pack(n, listed[n]) for n in sorted(there) if listed[n].storage.stays_readable]
        if frozen := len(there) - len(packs):
            log.warning("%s: blocks of %d packs in an archive are stored anew", self.name, frozen)
        with ThreadPoolExecutor(_READERS) as pool:
            tables = list(pool.map(self._table_if_good, packs))
        good = [(p, t) for p, t in zip(packs, tables, strict=True) if t is not None]
        newest_key = self.keys.newest.id if self.keys else None
        fresh = self._healed.setdefault(key.folder, set()) if healing else set()
        not_reused = bases.declined(
            good,
            stream_bytes=stream_bytes,
            newest_key=newest_key,
            trusted=fresh,
            share=self.decline,
        )
        if not_reused:
            log.info("%s: blocks of %d packs are stored anew", self.name, len(not_reused))
        known = KnownBlocks(self._table_if_good)
        known.add_all((pack, table) for pack, table in good if pack.name not in not_reused)
        return Vault(
            store=self.store,
            keys=self.keys,
            known=known,
            places=self._places(key, {*listed, *based, *doubted}, healing=healing),
            listed=partial(self.list_packs, key),
            until=began + ORPHAN_GRACE / 2,
            written=fresh.add if healing else None,
            limit=self._bandwidth_limit,
        )

    def _table_if_good(self, pack: Pack) -> Table | None:
        if pack.stat is None:
            return None
        try:
            return self._tables.of(pack.stat)
        except DRError as e:
            what = f"the blocks of {pack.name} in {self.name}"
            log.warning("%s are not reused: %s", what, e.message)
            return None

    def _places(
        self, key: BackupKey, named: Collection[str], *, healing: bool = False
    ) -> PackPlaces:
        """Choose names that are free. `named` are packs that are there, and those that recipes name
        though they are gone: a new pack under such a name would look like the one they mean. What
        heals an old backup cannot know all of those, so it begins anywhere in a range of its own.
        """
        path = self._pack_path(key)
        name = partial(layout.pack_name, key.backup_id)
        if healing:
            first = layout.REPAIR_PACKS
            return PackPlaces(name, path, itertools.count(first + secrets.randbelow(8 * first)))
        read = (layout.read_pack_path(path(name)) for name in named)
        taken = (
            at.number
            for at in read
            if at and at.backup_id == key.backup_id and at.number < layout.REPAIR_PACKS
        )
        numbers = self._numbers.setdefault(key.folder, itertools.count(max(taken, default=0) + 1))
        return PackPlaces(name, path, numbers)

    def _pack_path(self, key: BackupKey) -> Callable[[str], str]:
        return partial(layout.pack, key.cluster, key.collection)


def _scattered(part: Part, scatter: Scatter) -> str:
    return f"{part.file} takes {scatter.requests} requests for {scatter.packs} packs in its order"
