"""Does a rule of the bucket take copies out of reach, and is any of them already?"""

from __future__ import annotations

from collections.abc import Iterator

from qdrant_dr import layout
from qdrant_dr.config import RepositoryConfig
from qdrant_dr.errors import DRError
from qdrant_dr.jobs.check.rows import CheckRow, degraded, ok
from qdrant_dr.quantities import how_long
from qdrant_dr.repository import Repository, Stat
from qdrant_dr.repository.repository import is_chunked
from qdrant_dr.stores.lifecycle import Rule
from qdrant_dr.stores.object_store import ObjectStore
from qdrant_dr.text import count

LIFECYCLE, ARCHIVE = "lifecycle", "archive"
DATA = (".snapshot", ".pack")
"""What may wait for hours; every other object is read to know what there is."""


def check_archive(cfg: RepositoryConfig, repository: Repository) -> Iterator[CheckRow]:
    """Yield the rows of an object storage; none where it tells no rule and keeps no archive."""
    store, scope = repository.store, f"repository {cfg.name}"
    if not isinstance(store, ObjectStore):
        return
    try:
        rules = store.lifecycle()
        frozen = [
            there
            for folder in layout.FOLDERS
            for there in store.find(folder)
            if there.storage.archived
        ]
    except DRError:
        return  # whatever keeps it from being read is a row of its own
    yield from (_ruled(scope, cfg, rule, shared=is_chunked(repository)) for rule in rules)
    if frozen:
        yield _frozen(scope, cfg, frozen)


def _ruled(scope: str, cfg: RepositoryConfig, rule: Rule, *, shared: bool) -> CheckRow:
    if not rule.archive:
        return degraded(
            scope, LIFECYCLE, f"{rule}: backups would be missed",
            "take that rule off this prefix: `qdrant-dr expire` lets backups go.",
        )  # fmt: skip
    newest = (
        ", even the newest: old blocks lie in old packs, and only the next backup stores them anew"
        if shared else ""
    )  # fmt: skip
    if cfg.archive_restore_time is not None:
        time = how_long(cfg.archive_restore_time)
        return ok(
            scope, LIFECYCLE, f"{rule}{newest}; to bring a copy back takes {time}, as configured"
        )
    return degraded(
        scope, LIFECYCLE, f"{rule}: copies there cannot be read, and count for nothing{newest}",
        f"take that rule off this prefix, or set `archive_restore_time` of {cfg.name} to the time "
        "that it takes to bring a copy back.",
    )  # fmt: skip


def _frozen(scope: str, cfg: RepositoryConfig, frozen: list[Stat]) -> CheckRow:
    classes = " and ".join(sorted({str(there.storage) for there in frozen}))
    records = [there.path for there in frozen if not there.path.endswith(DATA)]
    found = f"{count(len(frozen), 'object')} in an archive ({classes})"
    if records:
        firsts = {path.partition("/")[0]: path for path in reversed(records)}
        named = " and ".join(sorted(firsts.values()))  # one of each folder
        return degraded(
            scope, ARCHIVE,
            f"{found}, {len(records)} of them no data, such as {named}",
            "bring these back for good (`aws s3 cp` onto itself with `--storage-class STANDARD`, "
            "`az storage blob set-tier --tier Hot`): what says what there is, who did it and what "
            "it was before must be readable at any time; and let no rule move them again.",
        )  # fmt: skip
    if cfg.archive_restore_time is not None:
        return ok(scope, ARCHIVE, found)
    return degraded(
        scope, ARCHIVE, f"{found}: they cannot be read, and count for nothing",
        "`qdrant-dr status` names their collections; `qdrant-dr show NAME@latest` prints how to "
        "bring a copy back.",
    )  # fmt: skip
