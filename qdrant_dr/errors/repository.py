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
    default_hint = "give `tls:` of the repository, then run `qdrant-dr check -r REPOSITORY`."


class RepositoryRefuses(RepositoryError):
    default_hint = (
        "look the code up in the provider's documentation (its support wants the request id), "
        "then run `qdrant-dr check -r REPOSITORY`."
    )


class ObjectArchived(RepositoryError):
    default_hint = (
        "bring it back from the archive first: `qdrant-dr show BACKUP` prints the provider's "
        "commands, and other copies; keep lifecycle rules from moving backups there."
    )


class Stalled(RepositoryError):
    transient = True
    default_hint = "the other repositories went on; run `qdrant-dr replicate` when it is back."


class RepositoryMissing(RepositoryError):
    default_hint = (
        "is the disk mounted, the bucket right? a new one is made by `qdrant-dr repository create`."
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
        "decide: which of both is right; somebody else wrote this name, nothing was overwritten."
    )


class ManifestConflict(Conflict):
    default_hint = (
        "decide: which of them is true, and restore from none before: `qdrant-dr show BACKUP`."
    )


class SealConflict(Conflict):
    default_hint = (
        "decide: two readings of one backup differ, and one is true: `qdrant-dr show BACKUP "
        "--proofs` tells who made them; back up again with `qdrant-dr backup COLLECTION`."
    )


class StoreOverwrites(RepositoryError):
    default_hint = "this store cannot keep evidence; use one with conditional writes."


class QuorumMissed(RepositoryError):
    default_hint = "repair the repositories named above, then run `qdrant-dr replicate`."


class CatalogIncomplete(RepositoryError):
    default_hint = "repair access, then run `qdrant-dr check`; nothing was deleted."


class BackupNotFound(RepositoryError):
    default_hint = "decide: which backup is meant; `qdrant-dr list` has them."


class BackupLost(RepositoryError):
    default_hint = (
        "decide: its manifest is put back, or it is given up: `qdrant-dr show BACKUP` says who "
        "names it, what is left, and how."
    )


class RecordError(DRError):
    default_hint = "run `qdrant-dr replicate` to bring a good copy from another repository."


class RecordDamaged(RecordError):
    blames_copy = True


class RecordUnknown(RecordError):
    default_hint = "it was written by a newer qdrant-dr: upgrade this one."
