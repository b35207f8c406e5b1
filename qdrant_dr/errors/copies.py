"""Errors of one copy: its archive, and what a proof of it found."""

from __future__ import annotations

from qdrant_dr.errors.base import DRError


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
