"""The part of `vault` that restores a backup after many nights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks import side, verdict
from benchmarks.restic import Restic
from benchmarks.vault_repositories import (
    KINDS,
    backed_up,
    check_file,
    create_vault,
    restore_part,
    seconds_of,
    stored_bytes,
)
from qdrant_dr.records import Manifest
from qdrant_dr.repository.repository import Spool


def print_nights(
    folder: Path, archives: Iterable[Path], restic: Restic | None, rounds: int
) -> None:
    """Restore the last of many backups, out of what all nights have stored, and print how long it
    takes. Archives are deleted as soon as they are stored, but the last."""
    places = {kind: folder / kind for kind in KINDS}
    vaults = {kind: create_vault(place, kind) for kind, place in places.items()}
    if restic:
        places["restic"] = folder / "restic"
        restic = restic.at(places["restic"], folder)
        restic.run("init", *restic.VERSION)
    manifests: dict[str, Manifest] = {}
    sizes: list[int] = []
    last = None
    for archive in archives:
        if last:
            last.unlink()
        last = archive
        sizes.append(archive.stat().st_size)
        for kind, vault in vaults.items():
            manifests |= backed_up([vault], archive, kind)
        if restic:
            restic.run("backup", "--compression", "auto", str(archive))
    assert last is not None
    for name, place in places.items():
        stored = stored_bytes(place) / 2**20
        print(f"  {len(sizes)} nights, {name:<22} {stored:8.1f} of {sum(sizes) >> 20} MiB stored")
    out = folder / "out"
    acts: dict[str, Callable[[], None]] = {
        kind: partial(restore_part, vault, manifests[kind], out, Spool(folder, told=_say))
        for kind, vault in vaults.items()
    }
    if restic:
        acts["restic"] = partial(restic.dump, last, out)
    _print_restores(acts, rounds, partial(check_file, out, last), f"after {len(sizes)} nights")


def _print_restores(
    acts: Mapping[str, Callable[[], None]], rounds: int, check: Callable[[], None], what: str
) -> None:
    figures: dict[str, list[float]] = {name: [] for name in acts}
    for _ in range(rounds):
        for name, act in acts.items():
            figures[name].append(seconds_of(act))
            check()
    for name, seconds in figures.items():
        print(side(f"restore {what}, {name}", seconds, "s"))
    if "restic" not in acts:
        print("vault: skipped: there is no restic >= 0.14 in PATH, so there is no ratio")
        return
    for kind in KINDS:
        ratio = median(figures[kind]) / median(figures["restic"])
        print(verdict("vault", f"restore {what}, {kind}, to restic dump", ratio, 1.2))


def _say(text: str) -> None:
    print(f"  {text}")
