"""Errors of repositories, of what they hold, and of the records in them."""

from __future__ import annotations

from qdrant_dr.errors.base import DRError


class RepositoryError(DRError):
    default_hint = "run `qdrant-dr check -r REPOSITORY`."


class RepositoryUnreachable(RepositoryError):
    exit_code = 5
    transient = True
    default_hint = "check network and endpoint, then run `qdrant-dr check -r REPOSITORY`."


class RepositoryUntrusted(RepositoryUnreachable):
    transient = False
    default_hint = "set `tls:` of the repository, then run `qdrant-dr check -r REPOSITORY`."


class RepositoryRefuses(RepositoryError):
    default_hint = (
        "look the code up in the provider's documentation (its support asks for the request id), "
        "then run `qdrant-dr check -r REPOSITORY`."
    )


class ObjectArchived(RepositoryError):
    default_hint = (
        "bring it back from the archive first: `qdrant-dr show BACKUP` prints the provider's "
        "commands and lists the other copies; stop lifecycle rules from moving backups there."
    )


class Stalled(RepositoryError):
    transient = True
    default_hint = (
        "the other repositories were not held up; run `qdrant-dr replicate` when it is back."
    )


class RepositoryMissing(RepositoryError):
    default_hint = (
        "check that the disk is mounted and the bucket is right; `qdrant-dr repository create` "
        "makes a new repository."
    )


class RepositoryMismatch(RepositoryError):
    default_hint = "correct `id:` in the configuration; `qdrant-dr repository show NAME` prints it."


class RepositoryDenied(RepositoryError):
    default_hint = (
        "check the credentials and the bucket policy, then run `qdrant-dr check -r REPOSITORY`."
    )


class CannotSign(RepositoryError):
    default_hint = "use `--way upload`."


class StorageFull(RepositoryError):
    default_hint = "free space or raise the quota, then run `qdrant-dr replicate`."


class ObjectMissing(RepositoryError):
    blames_copy = True
    default_hint = "run `qdrant-dr replicate BACKUP` to heal the copy."


class Conflict(RepositoryError):
    default_hint = (
        "decide: which of the two is right? Another writer created this name; nothing was "
        "overwritten."
    )


class ManifestConflict(Conflict):
    default_hint = (
        "decide: which of them is right? Restore from neither until then: `qdrant-dr show BACKUP`."
    )


class SealConflict(Conflict):
    default_hint = (
        "decide: which of the two readings of this backup is right? `qdrant-dr show BACKUP "
        "--proofs` shows who made them; back up again with `qdrant-dr backup COLLECTION`."
    )


class StoreOverwrites(RepositoryError):
    default_hint = "use a store with conditional writes: this one cannot protect what was written."


class QuorumMissed(RepositoryError):
    default_hint = "repair the repositories named above, then run `qdrant-dr replicate`."


class CatalogIncomplete(RepositoryError):
    default_hint = "repair access, then run `qdrant-dr check`; nothing was deleted."


class BackupNotFound(RepositoryError):
    default_hint = "decide: which backup is meant? `qdrant-dr list` shows them."


class BackupLost(RepositoryError):
    default_hint = (
        "decide: put its manifest back, or give it up? `qdrant-dr show BACKUP` says which records "
        "name it, what is left of it, and how to do either."
    )


class RecordError(DRError):
    default_hint = "run `qdrant-dr replicate` to bring a good copy from another repository."


class RecordDamaged(RecordError):
    blames_copy = True


class RecordUnknown(RecordError):
    default_hint = "it was written by a newer qdrant-dr: upgrade this one."
