"""Every error this project raises, in one tree; each says what happened and what to do next.

* DRError
  * UsageError                 wrong words: exit 2
    - ConfigInvalid            file, line, nearest key
      - ConfigDiffers          a unit read another one than its run
    - SecretMissing            a reference that resolves to nothing
    - NothingSelected          `[]`, or a name that matches nothing
  * SetupFailed                a process or a server of the pipeline is not what it must be
  * PlanRefused                a plan or a brake said no: exit 4
    - TargetNotDisposable      a drill target that is not declared, or not empty
    - WorkersUnfit             Dask workers that are not there, or of another version
    - FolderUnsafe             others may write to a folder of this machine that we rely on
  * ClusterError
    + NodeUnreachable          transient, exit 5
      - NodeUntrusted          TLS: its certificate, or the one that it wants of us
    + NodeBusy                 transient: it asks for fewer calls (429), and was waited for
    - AccessDenied             wrong, missing or read-only key
    - ServerFailed             refused or failed a call, in the server's own words
    - CollectionVanished       it was there when the run began
    - CollectionChanged        another life of the name, or a gate moved during capture
      - ReplicaMoved           only the replica that was taken is not full, or not there, any more
    - SnapshotUnanswered       a create call that never answered: reported, never repeated blindly
    - SnapshotFailed           the server refused or failed to make it
    + DownloadInterrupted      transient: cut off, and could not be resumed
    - DownloadMismatch         size or checksum differs from what the server answered
    - RecoverFailed            the target refused or lost the restore
    - RecoverUnanswered        the target has it all and did not answer: never repeated blindly
    - ClockSkew                clocks differ by more than is allowed
    - VersionUnsupported       server, client or engine too old or too new for the job
  * RepositoryError
    + RepositoryUnreachable    transient, exit 5
      - RepositoryUntrusted    TLS: its certificate, or the one that it wants of us
    + Stalled                  transient: no progress within `stall_timeout`
    - RepositoryMissing        no repository.json: an unmounted disk is not an empty repository
    - RepositoryMismatch       another id than configured
    - RepositoryDenied         credentials may not do this
    - RepositoryRefuses        a definite answer that no retry changes: its code says which
    - ObjectArchived           there, and not readable before it is brought back from an archive
    - CannotSign               the store gives nobody a URL of its objects
    - StorageFull              no space left, or quota
    ! ObjectMissing            an object that a manifest promises is not there
    - Conflict                 a create-only name exists with other content
      - ManifestConflict       two repositories, one backup id, different manifests
      - SealConflict           a later seal that differs from the first
    - StoreOverwrites          a store that cannot refuse to overwrite: not usable
    - QuorumMissed             too few copies or failure domains
    - CatalogIncomplete        part of a catalog could not be read: nothing is deleted on a guess
    - BackupNotFound
    - BackupLost               records name it, and no repository has its manifest
  * RecordError
    ! RecordDamaged            cut, edited or not canonical
    - RecordUnknown            a newer format, or an unknown field
  ! ArchiveError               what is wrong with the bytes of an archive
    ! ArchiveTruncated
    ! ArchiveInvalid           structure, members or metadata are not what Qdrant writes
    ! ArchiveHostile           names or types that would escape the folder
    ! ArchiveTooLarge          declares more than the manifest and the disk allow
    ! ArchiveForeign           belongs to another collection or shard
  * ProofError
    ! BytesDiffer              SHA-256 or size differs from the manifest
    ! CountDiffers
    ! ContentDiffers           the fingerprint names what differs
    ! SearchDiffers            an index lost answers that it had, or disagrees with the data
    ! OperationBehind          the archive is older than the writes acknowledged before it
    ! NotSealable              nothing shows that it holds every acknowledged write
    ! EngineFailed             the engine refused it, or panicked over it
      ! EngineCrashed          it died by itself: believed when it does so twice
    - EngineHindered           killed, or given no memory, disk or files: says nothing of the copy
    - EngineStalled            no progress in time
    - EngineTooOld             older than the server that wrote the archive: proves nothing
    - NothingChecked           a check that looked at nothing is not a pass
  * UnitLost                   its worker died, or it was not done in time
  * Interrupted                exit 130

`transient` (+) decides whether a retry can help. `blames_copy` (!) decides what stands against a
copy: somebody looked at it, and this is what is wrong with it. Every other error kept us from
looking, and says nothing of any copy: no failed proof is made of it. Arguments are positional and
all passed to `super().__init__`, so errors survive pickling across processes.
"""

from __future__ import annotations

from typing import ClassVar

from qdrant_dr.hints import marked


class DRError(Exception):
    """Base of all: `message` (lower case, no full stop), `hint` (the next step, see `hints`)."""

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
        """The hint in the form that can be followed."""
        return marked(hint)

    def __str__(self) -> str:
        return f"{self.message}\nHINT: {self.hint}"


class UsageError(DRError):
    exit_code = 2
    default_hint = "see `qdrant-dr --help`."

    @classmethod
    def mark(cls, hint: str) -> str:
        """As it is, where it says which words are right: the command line names the help, too."""
        return hint if cls is UsageError else marked(hint)


class ConfigInvalid(UsageError):
    default_hint = "compare with `qdrant-dr schema config`."


class ConfigDiffers(ConfigInvalid):
    default_hint = (
        "give every worker the same file, or keep it in one place (`block:NAME`), then run again."
    )


class SecretMissing(UsageError):
    default_hint = "set the variable or file that the reference names, then run `qdrant-dr check`."


class NothingSelected(UsageError):
    default_hint = "compare the names with those that `qdrant-dr list` prints."


class SetupFailed(DRError):
    default_hint = "read the log named above, then run `make up` again: it goes on where it was."


class PlanRefused(DRError):
    exit_code = 4
    default_hint = "read the reasons above; nothing was changed."


class TargetNotDisposable(PlanRefused):
    default_hint = "give an empty server and declare it: `drill.scratch.disposable: true`."


class WorkersUnfit(PlanRefused):
    default_hint = (
        "install the same versions on every Dask worker (`pip install -r requirements.lock` and "
        "this package), restart them, then run again; `QDR_RUNNER=threads` needs none."
    )


class FolderUnsafe(PlanRefused):
    default_hint = "set `capture.spool.path` to a folder that only this user may write to."


class ClusterError(DRError):
    """`undecided`: a call was sent and nobody said what became of it: it may still take effect."""

    default_hint = "run `qdrant-dr check`."
    undecided: bool = False


class NodeUnreachable(ClusterError):
    exit_code = 5
    transient = True
    default_hint = "check the address in `cluster.nodes`, then run `qdrant-dr check`."


class NodeUntrusted(NodeUnreachable):
    transient = False
    default_hint = "give `cluster.tls`, then run `qdrant-dr check`."


class NodeBusy(ClusterError):
    transient = True
    default_hint = (
        "its readers need all that the limit allows: run again at a quieter time, or raise the "
        "collection's `read_rate_limit`, `cluster.read_share` or `cluster.timeouts.busy`."
    )


class AccessDenied(ClusterError):
    default_hint = "check the key that `cluster.api_key` refers to, then run `qdrant-dr check`."


class ServerFailed(ClusterError):
    default_hint = "read the server's log, then run `qdrant-dr check`."


class CollectionVanished(ClusterError):
    default_hint = (
        "decide: whoever deleted it meant it, or it is restored; `qdrant-dr list COLLECTION` shows "
        "what there is."
    )


class CollectionChanged(ClusterError):
    default_hint = "run `qdrant-dr backup COLLECTION` when it has settled."


class ReplicaMoved(CollectionChanged):
    default_hint = "run `qdrant-dr backup COLLECTION` when its shards stay where they are."


class SnapshotUnanswered(ClusterError):
    default_hint = "run `qdrant-dr backup COLLECTION`: it looks first at what was left on the node."


class SnapshotFailed(ClusterError):
    default_hint = "read the server's log, then run `qdrant-dr check`."


class DownloadInterrupted(ClusterError):
    transient = True
    default_hint = "run `qdrant-dr backup COLLECTION`; the snapshot is still on the server."


class DownloadMismatch(ClusterError):
    default_hint = (
        "run `qdrant-dr backup COLLECTION`; if it repeats, suspect a proxy or the node's disk."
    )


class RecoverFailed(ClusterError):
    default_hint = "read the target's log, delete the half-restored collection, then try again."


class RecoverUnanswered(ClusterError):
    default_hint = (
        "look at the collection there, which the server may still finish; then run the same "
        "command again, which waits for it and goes on."
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


class ArchiveError(DRError):
    blames_copy = True
    default_hint = (
        "run `qdrant-dr replicate BACKUP`: the copy is not usable, and without another one it says "
        "what is."
    )


class ArchiveTruncated(ArchiveError):
    pass


class ArchiveInvalid(ArchiveError):
    pass


class ArchiveHostile(ArchiveError):
    default_hint = "do not unpack it by hand; find out where it came from."


class ArchiveTooLarge(ArchiveError):
    default_hint = "compare its size with the manifest; free disk under `capture.spool.path`."


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
        "run `qdrant-dr verify BACKUP --depth restore`: its points are whole, and a server builds "
        "what an index lacks; or back up again."
    )


class OperationBehind(ProofError):
    blames_copy = True
    default_hint = "run `qdrant-dr backup COLLECTION`: this archive misses acknowledged writes."


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
        "nothing is known against the copy: look at this machine's memory, disk and logs, then "
        "run it again."
    )


class EngineStalled(ProofError):
    default_hint = "raise `proof.stall_timeout`, or verify where disk and CPU are less busy."


class EngineTooOld(ProofError):
    default_hint = "upgrade the package `qdrant-edge-py`; see `qdrant-dr check`."


class NothingChecked(ProofError):
    default_hint = "nothing is known against the copy: run it again with -v and read why."


class UnitLost(DRError):
    default_hint = "look at the workers and their logs, then run again."


class Interrupted(DRError):
    exit_code = 130
    default_hint = "run the same command again; it continues from the records."
