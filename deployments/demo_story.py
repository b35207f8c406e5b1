"""What the demo does to a copy, and what it tells: by the records in the repositories alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any


def protected(config: str) -> str:
    """Say how much lies in the repositories, by the manifests."""
    from qdrant_dr.quantities import format_size

    backups = read_catalog(config).backups
    newest = {b.key.collection: b.seal.points for b in backups if b.seal}.values()
    copies = [(b, c) for b in backups for c in b.copies if c.committed]
    logical = sum(b.manifest.size_bytes for b, _ in copies)
    stored = sum(c.written_bytes or 0 for _, c in copies)
    return (
        f"{len({b.key.collection for b in backups})} collections, {sum(newest):,} points sealed; "
        f"{len(copies)} copies of {len(backups)} backups, {format_size(logical)} in "
        f"{format_size(stored)}"
    )


def read_catalog(config: str) -> Any:
    """Read what lies in the repositories now."""
    from qdrant_dr.configfile import load
    from qdrant_dr.jobs.run.catalogs import catalog_of, open_all

    found = load(config)
    opened, failed = open_all(found)
    return catalog_of(found, opened, failed)


def to_bring_back(config: str) -> Any:
    """Return the newest manifest of the collection with most aliases, else of the largest."""
    catalog = read_catalog(config)
    manifests = [catalog.of(name)[-1].manifest for name in catalog.collections]
    return max(manifests, key=lambda m: (len(m.aliases), m.size_bytes))


def beside(config: str) -> Iterator[str]:
    """Say what the first backups of all collections wrote to each repository, and what the second
    ones did, by what lies there."""
    from qdrant_dr.quantities import format_size

    catalog = read_catalog(config)
    nights = list(zip(*(catalog.of(name)[:2] for name in catalog.collections), strict=True))
    read = [format_size(sum(b.manifest.size_bytes for b in night)) for night in nights]
    yield f"read from the server: {', then '.join(read)}; written, and read from the listings:"
    for state in catalog.repositories:
        written = [
            format_size(sum(b.copy(state.name).written_bytes or 0 for b in night))
            for night in nights
        ]
        yield f"{state.name} ({state.layout}): {', then '.join(written)}"


def rot_shared_pack(config: str, name: str, folder: Path) -> str:
    """Flip one bit of a block that the newest backup uses, as a bad disk does: in the pack that it
    takes most from, of an older backup if it can."""
    from qdrant_dr.configfile import load
    from qdrant_dr.jobs.run.catalogs import open_all
    from qdrant_dr.vault.recipe import Run

    manifest = to_bring_back(config)
    vault: Any = open_all(load(config))[0][name]
    recipes = [vault.read_recipe(manifest.key, part.file) for part in manifest.parts]
    runs = [(r.packs[s.pack], s) for r in recipes for s in r.steps() if isinstance(s, Run)]
    pack, run = max(runs, key=lambda u: (not u[0].startswith(manifest.backup_id), u[1].blocks))
    there = vault.list_packs(manifest.key)[pack]
    block = vault.table_of(there)[run.first + run.blocks // 2]
    at = block.offset + block.stored // 2
    with (folder / there.path).open("r+b") as data:
        data.seek(at)
        byte = data.read(1)[0]
        data.seek(at)
        data.write(bytes([byte ^ 1]))
    return f"{name}/{there.path}, byte {at}"


def newest_end(config: str) -> Any:
    """Read back the end record of the flow run just made from the first repository."""
    from datetime import timedelta

    from qdrant_dr.configfile import load
    from qdrant_dr.jobs.run.catalogs import open_all
    from qdrant_dr.jobs.run.run import utc_now

    opened, _ = open_all(load(config))
    now = utc_now()
    for repository in opened.values():
        _, ends = repository.read_runs(now - timedelta(days=1), now)
        if ends.records:
            return max(ends.records, key=lambda e: e.ended_at)
    return None


def order(outcome: Any) -> tuple[bool, str, str]:
    """Sort what was captured before what was checked, then by name: runs end their units in any
    order."""
    kind = outcome.detail.kind if outcome.detail else ""
    return kind == "proved", outcome.collection, outcome.repository or ""


def details(end: Any) -> Iterator[str]:
    """Describe what happened, in one line for each unit that a person wants to see."""
    from qdrant_dr.quantities import format_size
    from qdrant_dr.text import count

    for outcome in sorted(end.outcomes, key=order) if end else ():
        found = outcome.detail
        where = f" in {outcome.repository}" if outcome.repository else ""
        what = f"{outcome.collection}{where}"
        if outcome.error:
            yield f"{what}: {outcome.error.code}: {outcome.error.message}"
        elif found is None:
            continue
        elif found.kind == "captured":
            size, places = format_size(found.size_bytes), ", ".join(found.committed)
            yield f"{what}: {found.points_count:,} points, {size}, copies in {places}"
        elif found.kind == "proved":
            points = (
                f", {found.points_checked:,} points" if found.points_checked is not None else ""
            )
            yield f"{what}: proven to {found.reached}: {format_size(found.bytes_checked)}{points}"
        elif found.kind == "healed":
            packs = f" in {count(found.packs, 'pack')} written anew" if found.packs else ""
            yield f"{what}: healed from {found.source}: {format_size(found.size_bytes)}{packs}"
        elif found.kind == "restored":
            aliases = f"; aliases set: {', '.join(found.aliases_set)}" if found.aliases_set else ""
            yield (
                f"{what} as {found.name}: {counted(found.points_restored)} equal; "
                f"{took(found.phases)}{aliases}"
            )
        elif found.kind == "restored-points":
            others = f"; {found.others_sampled} others looked at" if found.others_sampled else ""
            yield f"{what}: {found.came_to}{others}; {took(found.phases)}"
            yield f"qdrant-dr restore --undo {found.undo_id} would take that back"
        elif found.kind == "drilled":
            yield f"{what}: {counted(found.points_restored)} equal; {took(found.phases)}"


def delete_old_movies(url: str) -> str:
    """Delete one movie of twenty, as a script with a wrong filter does; say so."""
    from qdrant_dr.cluster import Node

    where = {"must": [{"key": "year", "range": {"lt": 1954}}]}
    with Node(url) as node:
        count = "/collections/movies/points/count"
        asked = {"exact": True, "filter": where}
        found = node.read(count, "count movies", collection="movies", json=asked)["count"]
        node.ask(
            "POST", "/collections/movies/points/delete", "delete movies", json={"filter": where},
            params={"wait": "true"}, write=True, collection="movies",
        )  # fmt: skip
    return f"{found:,} movies of before 1954 are gone, while the collection serves"


def counted(points: int | None) -> str:
    """Format `1,470 points`; what was not counted is not zero."""
    return "uncounted points" if points is None else f"{points:,} points"


def took(phases: Iterable[Any]) -> str:
    """Format the time of all phases together, and of the two that grow with the data."""
    spent = {p.name: p.duration_us / 1e6 for p in phases}
    longest = "".join(f", {n} {spent[n]:.2f} s" for n in ("recover", "prove") if n in spent)
    return f"{sum(spent.values()):.2f} s in all{longest}"
