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

from qdrant_dr.errors.base import *
from qdrant_dr.errors.cluster import *
from qdrant_dr.errors.copies import *
from qdrant_dr.errors.repository import *
from qdrant_dr.errors.usage import *
