"""Errors before anything is done: wrong words, and plans that are refused."""

from __future__ import annotations

from qdrant_dr.errors.base import DRError
from qdrant_dr.hints import marked


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
