"""Errors of chunked repositories: their boxes, recipes, blocks and keys."""

from __future__ import annotations

from qdrant_dr.errors.repository import RecordDamaged, RepositoryError


class BoxDamaged(RecordDamaged):
    default_hint = "run `qdrant-dr replicate BACKUP` to heal the copy."


class RecipeDamaged(BoxDamaged):
    pass


class BlockMissing(BoxDamaged):
    pass


class KeyMissing(RepositoryError):
    default_hint = (
        "give the secret of one of its slots as `key:` of the repository (`qdrant-dr key list "
        "REPOSITORY` names them), then run `qdrant-dr check -r REPOSITORY`."
    )


class KeyWrong(KeyMissing):
    pass
