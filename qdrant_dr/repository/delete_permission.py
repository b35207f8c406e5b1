"""Deleting where it may be forbidden: a key that can only add is what keeps backups from whoever
stole it.

So what a refusal means depends on why something is deleted. Cleaning up after the work decides
nothing about the work: it is a remark. Where deletion is the work, it says what is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from qdrant_dr import layout
from qdrant_dr.errors import DRError, RepositoryDenied, RepositoryRefuses
from qdrant_dr.repository.repository import Repository

_PERMISSION: Final = {
    "s3": "s3:DeleteObject (and s3:AbortMultipartUpload)",
    "gs": "storage.objects.delete",
    "az": "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/delete (`d` of a SAS)",
    "file": "write permission in its folders",
}
KEEPS: Final = "is append-only, as configured"


def is_refusal(error: DRError) -> bool:
    """Say whether the store refuses for good: a policy, a lock, a lease."""
    return isinstance(error, RepositoryDenied | RepositoryRefuses)


def clean(repository: Repository, remove: Callable[[], None]) -> str | None:
    """Remove what is only in the way; why it was refused, None if it is gone. Where the
    configuration says `append_only` it is not even tried. Raise whatever is no refusal."""
    if repository.append_only:
        return f"repository {repository.name} {KEEPS}"
    try:
        remove()
    except DRError as e:
        if not is_refusal(e):
            raise
        return e.message
    return None


def ask_to_delete(repository: Repository, cluster: str) -> None:
    """Ask for the permission to delete before anything is written down as going: by deleting what
    nobody has ever made. Raise RepositoryDenied, with what is missing."""
    try:
        repository.store.delete(f"{layout.backups(cluster)}/may-this-key-delete")
    except DRError as e:
        raise (may_not_delete(repository, e) if is_refusal(e) else e) from None


def may_not_delete(repository: Repository, refused: DRError) -> RepositoryDenied:
    """Build the error of a refused deletion, where deleting was the task."""
    needed = _PERMISSION.get(repository.location.protocol, "the permission to delete")
    return RepositoryDenied(
        f"{refused.message}: nothing of it is expired",
        f"expiring needs {needed}. If this key is meant to only add, say `append_only: true` below "
        f"`name: {repository.name}`, and let another key or machine run `qdrant-dr expire`.",
    )
