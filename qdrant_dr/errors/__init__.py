"""All errors of this project, in one tree. Each says what happened and what to do next.

* DRError
  * UsageError                 a wrong command line or configuration: exit 2
    - ConfigInvalid            names the file, the line and the nearest known key
      - ConfigDiffers          a unit read another configuration than its run
    - SecretMissing            a reference to a secret finds nothing
    - NothingSelected          `[]`, or a name that matches nothing
  * SetupFailed                a process or server of the pipeline is missing or wrong
    - ProjectMissing           the package lacks the Prefect project that it should carry
    - ProjectShadowed          another package's `flows` or `tasks` is imported instead of ours
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
    - KeyMissing               an encrypted repository, and no secret for it; names its slots
      - KeyWrong               the secret opens none of its slots
  * RecordError
    ! RecordDamaged            truncated, edited or not canonical
      ! BoxDamaged             a box of a chunked repository: cut, rotten, moved, of another key
        ! RecipeDamaged        does not say how its part is put together
        ! BlockMissing         a recipe names a pack or block that is not there
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
  * EvidenceError              something is wrong with the ledger, or with what signs it
    - SigningKeyUnusable       no key, a wrong one, or one that others can read
    - SignatureInvalid         not by that key, not of these bytes, or not believed
    - LedgerBroken             an entry is damaged, missing, or does not follow the one before
      - LedgerBehind           it ends before an entry that was seen
    - TimestampFailed          the time server is away, or its answer is not for what was asked
  * UnitLost                   its worker died, or it did not end in time
  * Interrupted                exit 130

`transient` (+): a retry can help. `blames_copy` (!): the copy was read, and the error is a fault of
the copy. Every other error prevented the check and says nothing about the copy, so no failed proof
is written. Arguments are positional and all passed to `super().__init__`, so that errors survive
pickling across processes.
"""

from qdrant_dr.errors.base import *
from qdrant_dr.errors.cluster import *
from qdrant_dr.errors.copies import *
from qdrant_dr.errors.evidence import *
from qdrant_dr.errors.repository import *
from qdrant_dr.errors.usage import *
from qdrant_dr.errors.vault import *
