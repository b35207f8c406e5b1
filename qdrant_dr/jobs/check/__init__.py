"""`check`: try everything that a backup will need, before it is needed; it writes only probes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from qdrant_dr.config import Config, RepositoryConfig
from qdrant_dr.errors import DRError
from qdrant_dr.jobs.check.archive import check_archive
from qdrant_dr.jobs.check.bucket import check_bucket
from qdrant_dr.jobs.check.ledger import check_ledgers
from qdrant_dr.jobs.check.nodes import ClusterCheck, check_scratch
from qdrant_dr.jobs.check.rows import Checked, CheckRow, failed, skipped
from qdrant_dr.jobs.check.space import check_space, expected_sizes
from qdrant_dr.jobs.check.store import check_repository
from qdrant_dr.jobs.run.catalogs import open_all
from qdrant_dr.jobs.run.scope import selected_repositories
from qdrant_dr.repository import Catalog, read_catalog, written_by_last

__all__ = ["CheckRow", "Checked", "check", "try_everything"]

Told = Callable[[CheckRow], None]


def nobody(row: CheckRow) -> None:
    """Ignore every row."""


def check(
    config: Config,
    *,
    repositories: Sequence[str] | None = None,
    read_only: bool = False,
    told: Told = nobody,
) -> Checked:
    """Check nodes, keys, clocks, versions, repositories and space; `told` hears each row at once.

    `read_only` writes no probe anywhere, and says what is not proven for it. Repositories are
    tried side by side. Raise NothingSelected for a repository that is not configured.
    """
    rows = try_everything(
        config, ClusterCheck(config), repositories, read_only=read_only, told=told
    )
    return Checked(tuple(rows))


def try_everything(
    config: Config,
    cluster: ClusterCheck,
    repositories: Sequence[str] | None,
    *,
    read_only: bool,
    told: Told,
) -> list[CheckRow]:
    """Yield the rows of `check`; `cluster` then has what it saw."""
    names = selected_repositories(config, repositories)
    wanted = [r for r in config.repositories if r.name in names]

    def hear(found: Iterator[CheckRow]) -> list[CheckRow]:
        rows = []
        for row in found:
            told(row)
            rows.append(row)
        return rows

    rows = hear(cluster.rows())
    rows += hear(check_scratch(config))
    rows += hear(check_bucket(config))
    with ThreadPoolExecutor(len(wanted)) as pool:
        each = pool.map(
            lambda cfg: hear(
                check_repository(
                    cfg,
                    stall_timeout=config.copies.stall_timeout,
                    skew_limit=config.cluster.clock_skew_limit,
                    read_only=read_only,
                )
            ),
            wanted,
        )
        rows += [row for found in each for row in found]
    rows += hear(_archives(config, wanted))
    rows += hear(_ledgers(config, names))
    return [*rows, *hear(_space(config, cluster, names))]


def _archives(config: Config, wanted: Sequence[RepositoryConfig]) -> Iterator[CheckRow]:
    opened, _ = open_all(config, [cfg.name for cfg in wanted])  # the others have a row already
    for cfg in wanted:
        if cfg.name in opened:
            yield from check_archive(cfg, opened[cfg.name])


def _ledgers(config: Config, names: Sequence[str]) -> Iterator[CheckRow]:
    opened, _ = open_all(config, names)  # what cannot be opened has a row already
    yield from check_ledgers(config, opened)


def _space(config: Config, cluster: ClusterCheck, names: Sequence[str]) -> Iterator[CheckRow]:
    if cluster.inventory is None:
        yield skipped("space", "estimate", "not proven: the collections could not be read")
        return
    opened, _ = open_all(config, names)  # what cannot be opened has a row already
    rules = config.collections
    included = [
        c for c in cluster.inventory.collections if rules.decide(c.collection).status == "included"
    ]
    try:
        catalog = read_catalog(list(opened.values()), cluster=config.cluster.name)
        written = written_by_last(catalog, datetime.now(UTC))
        sizes = expected_sizes(included, _last_sizes(catalog))
        yield from check_space(config, sizes, opened.values(), written)
    except DRError as e:
        yield failed("space", "estimate", e)


def _last_sizes(catalog: Catalog) -> dict[str, int]:
    """Bytes of the newest backup of each collection, where there is one."""
    ordered = sorted(catalog.backups, key=lambda b: b.manifest.captured_at)
    return {b.manifest.collection: b.manifest.size_bytes for b in ordered}
