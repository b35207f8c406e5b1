"""All errors of this project, in one tree. Each says what happened and what to do next.

* DRError
  * UsageError                 a wrong command line or configuration: exit 2
    - ConfigInvalid            names the file, the line and the nearest known key
      - ConfigDiffers          a unit read another configuration than its run
    - SecretMissing            a reference to a secret finds nothing
    - NothingSelected          `[]`, or a name that matches nothing
  * SetupFailed                a process or server of the pipeline is missing or wrong
  * PlanRefused                a plan or a safety check refused: exit 4
    - TargetNotDisposable      a drill target that is not declared disposable, or not empty
    - WorkersUnfit             Dask workers are missing, or have another version
    - FolderUnsafe             other users may write to a folder of this machine that we rely on
  * ClusterError
    + NodeUnreachable          transient, exit 5
      - NodeUntrusted          TLS: the node's certificate, or the client certificate it demands
    + NodeBusy                 transient: still asks for fewer calls (429) after we waited
    - AccessDenied             wrong, missing or read-only key
    - ServerFailed             the server refused or failed a call; quotes its own words
    - CollectionVanished       the collection existed when the run began
    - CollectionChanged        recreated under the same name, or changed during the capture
      - ReplicaMoved           only the captured replica is gone, or no longer complete
    - SnapshotUnanswered       a create call got no answer: reported, never blindly repeated
    - SnapshotFailed           the server refused or failed to make the snapshot
    + DownloadInterrupted      transient: cut off, and could not be resumed
    - DownloadMismatch         size or checksum differs from what the server announced
    - RecoverFailed            the target refused or lost the restore
    - RecoverUnanswered        the target has every byte and gave no answer: never blindly repeated
    - ClockSkew                clocks differ by more than is allowed
    - VersionUnsupported       server, client or engine is too old or too new for the job
  * RepositoryError
    + RepositoryUnreachable    transient, exit 5
      - RepositoryUntrusted    TLS: its certificate, or the client certificate it demands
    + Stalled                  transient: no progress within `stall_timeout`
    - RepositoryMissing        no repository.json there; perhaps the disk is not mounted
    - RepositoryMismatch       its id is not the configured one
    - RepositoryDenied         the credentials do not permit this
    - RepositoryRefuses        a definite error that no retry changes; the provider's code says
    which
    - ObjectArchived           in an archive storage class: readable only after it is brought back
    - CannotSign               the store has no signed URLs for its objects
    - StorageFull              no space left, or the quota is used up
    ! ObjectMissing            an object that a manifest lists is missing
    - Conflict                 a create-only name exists with other content
      - ManifestConflict       two repositories have different manifests for one backup id
      - SealConflict           a later seal differs from the first
    - StoreOverwrites          the store cannot refuse to overwrite: not usable
    - QuorumMissed             too few copies or failure domains
    - CatalogIncomplete        part of a catalog could not be read: nothing is deleted on a guess
    - BackupNotFound
    - BackupLost               records name it, but no repository has its manifest
  * RecordError
    ! RecordDamaged            truncated, edited or not canonical
    - RecordUnknown            a newer format, or an unknown field
  ! ArchiveError               something is wrong with the bytes of an archive
    ! ArchiveTruncated
    ! ArchiveInvalid           structure, members or metadata are not what Qdrant writes
    ! ArchiveHostile           members with names or types that would escape the folder
    ! ArchiveTooLarge          declares more bytes than the manifest and the disk allow
    ! ArchiveForeign           belongs to another collection or shard
  * ProofError
    ! BytesDiffer              SHA-256 or size differs from the manifest
    ! CountDiffers
    ! ContentDiffers           the fingerprints show what differs
    ! SearchDiffers            an index lost answers that it had, or disagrees with the data
    ! OperationBehind          the archive is older than writes acknowledged before it was made
    ! NotSealable              nothing shows that the archive holds every acknowledged write
    ! EngineFailed             the engine refused the archive, or panicked while reading it
      ! EngineCrashed          the engine process crashed twice: once does not count
    - EngineHindered           killed, or short of memory, disk or files: not the copy's fault
    - EngineStalled            no progress in time
    - EngineTooOld             older than the server that wrote the archive: proves nothing
    - NothingChecked           the check examined nothing, so it cannot pass
  * UnitLost                   its worker died, or it did not end in time
  * Interrupted                exit 130

`transient` (+): a retry can help. `blames_copy` (!): the copy was read, and the error is a fault of
the copy. Every other error prevented the check and says nothing about the copy, so no failed proof
is written. Arguments are positional and all passed to `super().__init__`, so that errors survive
pickling across processes.
"""

from __future__ import annotations

from typing import ClassVar

from qdrant_dr.hints import marked


class DRError(Exception):
    """The base of all errors.

    `message` is lower case, without a full stop. `hint` is the next step, see `hints`.
    """

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1
    transient: ClassVar[bool] = False
    blames_copy: ClassVar[bool] = False
    default_hint: ClassVar[str] = "run it again with -v, and read the last lines."

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        name = cls.__name__
        cls.code = "".join(f"-{c.lower()}" if c.isupper() else c for c in name).lstrip("-")

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = self.mark(hint or self.default_hint)

    @classmethod
    def mark(cls, hint: str) -> str:
        """Return the hint in one of the three forms of `hints`."""
        return marked(hint)

    def __str__(self) -> str:
        return f"{self.message}\nHINT: {self.hint}"


class UsageError(DRError):
    exit_code = 2
    default_hint = "see `qdrant-dr --help`."

    @classmethod
    def mark(cls, hint: str) -> str:
        """Leave the hint of a plain UsageError as it is; the command line names the help as
        well."""
        return hint if cls is UsageError else marked(hint)


class ConfigInvalid(UsageError):
    default_hint = "compare with `qdrant-dr schema config`."


class ConfigDiffers(ConfigInvalid):
    default_hint = (
        "give every worker the same file, or keep it in one place (`block:NAME`), then run it "
        "again."
    )


class SecretMissing(UsageError):
    default_hint = "set the variable or file that the reference names, then run `qdrant-dr check`."


class NothingSelected(UsageError):
    default_hint = "compare the names with those that `qdrant-dr list` prints."


class SetupFailed(DRError):
    default_hint = "read the log named above, then run `make up` again: it continues."


class PlanRefused(DRError):
    exit_code = 4
    default_hint = "read the reasons above; nothing was changed."


class TargetNotDisposable(PlanRefused):
    default_hint = "name an empty server and declare it: `drill.scratch.disposable: true`."


class WorkersUnfit(PlanRefused):
    default_hint = (
        "install the same versions on every Dask worker (`pip install -r requirements.lock` and "
        "this package), restart them, then run it again; `QDR_RUNNER=threads` needs no workers."
    )


class FolderUnsafe(PlanRefused):
    default_hint = "set `capture.spool.path` to a folder that only this user may write to."


class ClusterError(DRError):
    """An error of a node or cluster.

    `undecided`: a call was sent and got no answer; it may still take effect.
    """

    default_hint = "run `qdrant-dr check`."
    undecided: bool = False


class NodeUnreachable(ClusterError):
    exit_code = 5
    transient = True
    default_hint = "check the address in `cluster.nodes`, then run `qdrant-dr check`."


class NodeUntrusted(NodeUnreachable):
    transient = False
    default_hint = "set `cluster.tls`, then run `qdrant-dr check`."


class NodeBusy(ClusterError):
    transient = True
    default_hint = (
        "its other clients use up the whole limit: run it again at a quieter time, or raise the "
        "collection's `read_rate_limit`, `cluster.read_share` or `cluster.timeouts.busy`."
    )


class AccessDenied(ClusterError):
    default_hint = "check the key that `cluster.api_key` refers to, then run `qdrant-dr check`."


class ServerFailed(ClusterError):
    default_hint = "read the server's log, then run `qdrant-dr check`."


class CollectionVanished(ClusterError):
    default_hint = (
        "decide: was it deleted on purpose, or is it to be restored? `qdrant-dr list COLLECTION` "
        "shows its backups."
    )


class CollectionChanged(ClusterError):
    default_hint = "run `qdrant-dr backup COLLECTION` when the collection has stopped changing."


class ReplicaMoved(CollectionChanged):
    default_hint = "run `qdrant-dr backup COLLECTION` when its shards have stopped moving."


class SnapshotUnanswered(ClusterError):
    default_hint = (
        "run `qdrant-dr backup COLLECTION`: it first looks for a snapshot left on the node."
    )


class SnapshotFailed(ClusterError):
    default_hint = "read the server's log, then run `qdrant-dr check`."


class DownloadInterrupted(ClusterError):
    transient = True
    default_hint = "run `qdrant-dr backup COLLECTION`; the snapshot is still on the server."


class DownloadMismatch(ClusterError):
    default_hint = (
        "run `qdrant-dr backup COLLECTION`; if it happens again, suspect a proxy or the node's "
        "disk."
    )


class RecoverFailed(ClusterError):
    default_hint = "read the target's log, delete the half-restored collection, then try again."


class RecoverUnanswered(ClusterError):
    default_hint = (
        "look at the collection on the target: the server may still finish it. Then run the same "
        "command again; it waits for the server and continues."
    )


class ClockSkew(ClusterError):
    default_hint = "synchronise the clocks (NTP), then run `qdrant-dr check`."


class VersionUnsupported(ClusterError):
    default_hint = "use the same or the next minor version; see `qdrant-dr check`."


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


class ArchiveError(DRError):
    blames_copy = True
    default_hint = (
        "run `qdrant-dr replicate BACKUP`: this copy is not usable; if there is no other, it says "
        "what can be used."
    )


class ArchiveTruncated(ArchiveError):
    pass


class ArchiveInvalid(ArchiveError):
    pass


class ArchiveHostile(ArchiveError):
    default_hint = "do not unpack it by hand; find out where it came from."


class ArchiveTooLarge(ArchiveError):
    default_hint = "compare its size with the manifest; free disk space under `capture.spool.path`."


class ArchiveForeign(ArchiveError):
    pass


class ProofError(DRError):
    default_hint = "run `qdrant-dr replicate BACKUP` to heal the copy from a good one."


class BytesDiffer(ProofError):
    blames_copy = True


class CountDiffers(ProofError):
    blames_copy = True


class ContentDiffers(ProofError):
    blames_copy = True


class SearchDiffers(ProofError):
    blames_copy = True
    default_hint = (
        "run `qdrant-dr verify BACKUP --depth restore`: its points are complete, and a server "
        "rebuilds what an index lacks; or back up again."
    )


class OperationBehind(ProofError):
    blames_copy = True
    default_hint = "run `qdrant-dr backup COLLECTION`: this archive lacks acknowledged writes."


class NotSealable(ProofError):
    blames_copy = True
    default_hint = (
        "run `qdrant-dr backup COLLECTION --method collection`: this archive cannot be used."
    )


class EngineFailed(ProofError):
    blames_copy = True


class EngineCrashed(EngineFailed):
    pass


class EngineHindered(ProofError):
    default_hint = (
        "check this machine's memory, disk and logs, then run it again: this says nothing about "
        "the copy."
    )


class EngineStalled(ProofError):
    default_hint = "raise `proof.stall_timeout`, or verify on a machine that is less busy."


class EngineTooOld(ProofError):
    default_hint = "upgrade the package `qdrant-edge-py`; see `qdrant-dr check`."


class NothingChecked(ProofError):
    default_hint = "run it again with -v and read why: this says nothing about the copy."


class UnitLost(DRError):
    default_hint = "look at the workers and their logs, then run it again."


class Interrupted(DRError):
    exit_code = 130
    default_hint = "run the same command again; it continues from the records."
