"""What repositories store, what it costs, and what the last backups added to chunked ones. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from qdrant_dr.quantities import cost_a_month, format_share, format_size
from qdrant_dr.repository import Backup, Catalog, PacksUsed, last_backups
from qdrant_dr.repository.catalog import RepositoryState
from qdrant_dr.text import count


@dataclass(frozen=True)
class LastBackup:
    """The newest backup of one collection in a chunked repository: its bytes, those that it added,
    and the packs that it uses; None: they could not be measured."""

    backup: Backup
    new_bytes: int
    used: PacksUsed | None

    @property
    def size_bytes(self) -> int:
        return self.backup.manifest.size_bytes

    @property
    def collection(self) -> str:
        return self.backup.key.collection


@dataclass(frozen=True)
class Vault:
    """A chunked repository: `logical_bytes` are those of the archives that can be read from it,
    `stored_bytes` those that lie there for them."""

    repository: str
    backups: int
    logical_bytes: int
    stored_bytes: int
    packs: int
    last: tuple[LastBackup, ...]
    price: float | None = None

    @property
    def monthly_cost(self) -> float | None:
        """Return what the stored bytes cost a month; None without a price."""
        return monthly_cost(self.stored_bytes, self.price)

    @property
    def last_bytes(self) -> int:
        return sum(b.size_bytes for b in self.last)

    @property
    def new_bytes(self) -> int:
        return sum(b.new_bytes for b in self.last)

    @property
    def use(self) -> float | None:
        """Return the share of the packs of the last backups that these need; None: not measured."""
        used = [b.used for b in self.last]
        stored = sum(u.stored_bytes for u in used if u)
        return None if None in used or not stored else sum(u.used_bytes for u in used if u) / stored

    @property
    def words(self) -> str:
        """Say it in one line: `1.20 GiB stored for 30 backups of 5.86 GiB; ...`."""
        said = (
            f"{format_size(self.stored_bytes)} stored for {count(self.backups, 'backup')} of "
            f"{format_size(self.logical_bytes)}"
        )
        if self.last:
            said += (
                f"; the last of each collection wrote {format_size(self.new_bytes)} of "
                f"{format_size(self.last_bytes)}"
            )
        said += f"; {count(self.packs, 'pack')}"
        said += "" if self.use is None else f", {format_share(self.use)} of those it uses"
        cost = self.monthly_cost
        return said + ("" if cost is None else f"; {cost_a_month(cost)}")


def vaults_of(
    catalog: Catalog, used: Mapping[tuple[str, str], PacksUsed], now: datetime
) -> tuple[Vault, ...]:
    """Return every chunked repository that could be read, in their order."""
    return tuple(
        _vault(catalog, r, used, now)
        for r in catalog.repositories
        if r.layout == "chunked" and r.error is None
    )


def monthly_cost(stored_bytes: int | None, price: float | None) -> float | None:
    """Return what so many bytes cost a month, at a price for a GiB; None if one is not known."""
    return None if stored_bytes is None or price is None else stored_bytes / 2**30 * price


@dataclass(frozen=True)
class Stored:
    """What lies in a repository for its backups, and what that costs a month; None without a
    price."""

    repository: str
    layout: str
    stored_bytes: int
    monthly_cost: float | None

    @property
    def words(self) -> str:
        cost = self.monthly_cost
        said = f"{format_size(self.stored_bytes)} stored"
        return said + ("" if cost is None else f"; {cost_a_month(cost)}")


def stored_in(catalog: Catalog) -> tuple[Stored, ...]:
    """Return what lies in every repository that could be read, in their order."""
    return tuple(
        Stored(r.name, r.layout, size, monthly_cost(size, r.price))
        for r in catalog.repositories
        if r.error is None
        for size in (stored_there(catalog, r.name),)
    )


def stored_there(catalog: Catalog, repository: str) -> int:
    """Return all bytes of backups in one repository, of packs that outlived theirs, too."""
    copies = [b.copy(repository) for b in catalog.backups]
    packs = sum(p.size_bytes for p in catalog.packs.get(repository, ()))
    return packs + sum(c.stored_bytes or 0 for c in copies)


def _vault(
    catalog: Catalog, of: RepositoryState, used: Mapping[tuple[str, str], PacksUsed], now: datetime
) -> Vault:
    name = of.name
    held = [b for b in catalog.backups if b.copy(name).committed]
    return Vault(
        repository=name,
        backups=len(held),
        logical_bytes=sum(b.manifest.size_bytes for b in held),
        stored_bytes=stored_there(catalog, name),
        packs=len(catalog.packs.get(name, ())),
        last=tuple(
            LastBackup(b, b.copy(name).written_bytes or 0, used.get((name, b.key.folder)))
            for b in last_backups(catalog, name, now)
        ),
        price=of.price,
    )
