"""Read a collection's settings in the server's own JSON, which may hold more than we know.

No client model comes near them: a model drops or refuses what a later server has added.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def without_nulls(value: Any) -> Any:
    """Return the value without null keys: absent and null mean the same in a configuration."""
    if not isinstance(value, dict):
        return value
    return {k: without_nulls(v) for k, v in value.items() if v is not None}


def dense_vectors(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of each dense vector by its name, which is empty for the only one.

    A vector may be named `size`: then what stands there is no number."""
    vectors = params.get("vectors") or {}
    return {"": vectors} if isinstance(vectors.get("size"), int) else dict(vectors)


def cosine_vectors(params: Mapping[str, Any]) -> frozenset[str]:
    """Return the names of the vectors that servers normalise: each machine for itself, so that
    their last bits may differ."""
    about = dense_vectors(params).items()
    return frozenset(name for name, of in about if of.get("distance") == "Cosine")
