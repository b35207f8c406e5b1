"""Whether the ledger can be gone on with, and whether anybody vouches for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from qdrant_dr.config import Config
from qdrant_dr.evidence.overwritten import find_overwritten
from qdrant_dr.jobs.check.rows import CheckRow, degraded, failed, ok, skipped
from qdrant_dr.jobs.run.ledger import LedgerWriter
from qdrant_dr.repository import Repository
from qdrant_dr.repository.ledger_head import LedgerHead
from qdrant_dr.text import count

_VERIFY = "qdrant-dr evidence verify"


def check_ledgers(config: Config, opened: Mapping[str, Repository]) -> Iterator[CheckRow]:
    """Read the key, and look at the end of each ledger."""
    ledgers = LedgerWriter(config, opened)
    ledgers.look()
    yield _key(ledgers)
    for name, repository in opened.items():
        scope = f"repository {name}"
        if name in ledgers.failed:
            yield failed(scope, "ledger", ledgers.failed[name])
            continue
        yield _ledger(scope, repository, ledgers.heads[name])


def _key(ledgers: LedgerWriter) -> CheckRow:
    if (error := ledgers.key_error) is not None:
        return degraded("ledger", "signing key", error.message, error.hint)
    if ledgers.signer is None:
        why = "no `signing.key`: entries of the ledger are chained, and nobody signs them"
        return skipped("ledger", "signing key", f"{why} (`qdrant-dr signing init --save`)")
    return ok("ledger", "signing key", f"{ledgers.signer.public.fingerprint} signs the ledger")


def _ledger(scope: str, repository: Repository, head: LedgerHead) -> CheckRow:
    if head.doubts:
        return degraded(scope, "ledger", head.doubts[0].message, head.doubts[0].hint)
    if head.missing:
        gap = f"{count(len(head.missing), 'entry')} before entry {head.number} are missing"
        return degraded(scope, "ledger", gap, _VERIFY)
    if not head.number:
        return skipped(scope, "ledger", "none yet: the next run begins it")
    versions = find_overwritten(repository.store)
    if versions is not None and versions.paths:
        return degraded(scope, "ledger", versions.words, _VERIFY)
    said = f"; {versions.words}" if versions is not None and versions.error is not None else ""
    signed = f"the last {head.unsigned} are not signed" if head.unsigned else "the last is signed"
    return ok(scope, "ledger", f"{count(head.number, 'entry')}, {signed}{said}")
