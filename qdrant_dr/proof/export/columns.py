"""Which columns a file of points has, from the settings of its collection. Pure.

They are the same in every file of an export, and known before a point is read: a column for every
vector, and one for every payload index whose values are plain.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Self

from qdrant_dr.proof.payloads import fits
from qdrant_dr.raw_settings import dense_vectors

Kind = Literal["dense", "multi", "sparse"]
_FIELDS = ("keyword", "text", "uuid", "integer", "float", "bool", "datetime", "geo")
_FINER = re.compile(r"[.,]\d{7}")
"""A time finer than microseconds."""
_DATATYPES = ("float32", "float16", "uint8")


@dataclass(frozen=True, slots=True)
class VectorColumn:
    """One vector. `size` is the length of a dense one, or of each row; 0 for a sparse one."""

    name: str
    kind: Kind
    size: int
    datatype: str

    @property
    def column(self) -> str:
        return f"vector_{self.name}" if self.name else "vector"


@dataclass(frozen=True, slots=True)
class FieldColumn:
    """One field of the payload, with the type of its index."""

    field: str
    type: str

    @property
    def column(self) -> str:
        return f"payload_{self.field}"


@dataclass(frozen=True, slots=True)
class PointColumns:
    """The columns beside `id` and `payload`."""

    vectors: tuple[VectorColumn, ...] = ()
    fields: tuple[FieldColumn, ...] = ()

    @classmethod
    def of_collection(cls, info: Mapping[str, Any]) -> Self:
        """Choose the columns from a server's description of its collection."""
        params = info["config"]["params"]
        vectors = [
            VectorColumn(
                name,
                "multi" if about.get("multivector_config") else "dense",
                about["size"],
                _datatype(about.get("datatype")),
            )
            for name, about in dense_vectors(params).items()
        ]
        sparse = [
            VectorColumn(name, "sparse", 0, "float32")
            for name in params.get("sparse_vectors") or {}
        ]
        indexes = info.get("payload_schema") or {}
        fields = [
            FieldColumn(field, about["data_type"])
            for field, about in sorted(indexes.items())
            if about.get("data_type") in _FIELDS and _is_plain(field)
        ]
        return cls(tuple(sorted([*vectors, *sparse], key=lambda v: v.name)), tuple(fields))

    def facts(self) -> dict[str, Any]:
        """Return them as JSON, for the engine's child."""
        return asdict(self)

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> Self:
        """Read what `facts` gave."""
        return cls(
            tuple(VectorColumn(**v) for v in facts["vectors"]),
            tuple(FieldColumn(**f) for f in facts["fields"]),
        )


def _datatype(given: str | None) -> str:
    return given if given in _DATATYPES else "float32"


def _is_plain(field: str) -> bool:
    """Say whether this is a field at the top of a payload, and no path into it."""
    return field != "" and not any(mark in field for mark in '.[]"')


def plain_value(kind: str, value: Any) -> Any:
    """Return what a column of this type holds for a value of a payload: exactly the same, or None
    where it cannot (a list, another type, a number too large)."""
    return _PLAIN[kind](value)


def _datetime(value: Any) -> datetime | None:
    if not fits("datetime", value) or _FINER.search(value):
        return None
    try:
        at = datetime.fromisoformat(value)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _geo(value: Any) -> dict[str, float] | None:
    if not fits("geo", value) or len(value) != 2:
        return None
    return {"lon": float(value["lon"]), "lat": float(value["lat"])}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _float(value: Any) -> float | None:
    if type(value) is int:
        return float(value) if abs(value) <= 2**53 else None
    return value if type(value) is float else None


_PLAIN: dict[str, Callable[[Any], Any]] = {
    "keyword": _text,
    "text": _text,
    "uuid": _text,
    "integer": lambda v: v if type(v) is int and -(2**63) <= v < 2**63 else None,
    "float": _float,
    "bool": lambda v: v if isinstance(v, bool) else None,
    "datetime": _datetime,
    "geo": _geo,
}
