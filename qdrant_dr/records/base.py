"""Canonical JSON records with their own digest, so that an edited one is detected."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Annotated, Any, ClassVar, Self

import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
)
from pydantic_core import PydanticCustomError

from qdrant_dr.errors import RecordDamaged, RecordError, RecordUnknown

LARGEST = 64 * 2**20
"""The largest record in bytes: a larger one is neither written nor read. See docs/decisions.md."""

_WRITTEN = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)

NEWER = "newer"


def canonical_json(value: Any) -> bytes:
    """Encode as UTF-8 JSON with sorted keys, no spaces and no NaN: equal values, equal bytes."""
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode()


def _without(whole: bytes, digest: object) -> bytes | None:
    """Cut a record's own digest out of its canonical bytes, which is what encoding the rest again
    gives; None if the digest stands there twice, so that nobody knows which is its own."""
    member = b'"sha256":' + canonical_json(digest)
    if whole.count(member) != 1:
        return None
    before, _, after = whole.partition(member)
    return before + after[1:] if after[:1] == b"," else before.removesuffix(b",") + after


def format_time(at: datetime) -> str:
    """Format as RFC 3339 in UTC with microseconds and `Z`."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str) -> datetime:
    """Read what `format_time` wrote. Raise ValueError for any other form."""
    if _WRITTEN.fullmatch(text):  # a look reads thousands of times
        return datetime.fromisoformat(text[:-1]).replace(tzinfo=UTC)
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


def _parse(value: object) -> object:
    return parse_time(value) if isinstance(value, str) else value


def _aware(at: datetime) -> datetime:
    if at.utcoffset() != timedelta(0):
        raise ValueError("time must be in UTC")
    return at


def _is_json(text: str) -> str:
    try:
        json.loads(text)
    except RecursionError:
        raise ValueError("is JSON nested too deep") from None
    return text


def _plain(error: Exception) -> str:
    """Return the error's text, encodable: a parser may quote an unpaired surrogate."""
    return str(error).encode(errors="backslashreplace").decode()


Time = Annotated[
    datetime,
    BeforeValidator(_parse),
    AfterValidator(_aware),
    PlainSerializer(format_time, return_type=str),
]
"""A moment in UTC, with microseconds."""

RawJSON = Annotated[str, AfterValidator(_is_json)]
"""A server's answer kept as text, because client models know only their own version (R12)."""


def later(default: Any, **about: Any) -> Any:
    """Define a field that older records lack. It is left out of the bytes while it has its default,
    so that older records keep their bytes and digest."""
    return Field(default, exclude_if=lambda value: value == default, **about)


def newer(message: str) -> PydanticCustomError:
    """Build the error of a validator for a value that only a later version can have written."""
    return PydanticCustomError(NEWER, "{said}", {"said": message})


class Frozen(BaseModel):
    """A value in a record: immutable, without unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    seen = dict(pairs)
    if len(seen) != len(pairs):
        raise ValueError("a key stands twice")
    return seen


def _fast(data: bytes) -> Any:
    """Parse what is canonical beyond doubt; None for anything else, which the slow way judges.

    A ledger of a year is 36,500 records. What is encoded again to the same bytes has sorted keys,
    none of them twice, and no spaces. Only floats does orjson write in another way than `json`."""
    try:
        body = orjson.loads(data)
        same = orjson.dumps(body, option=orjson.OPT_SORT_KEYS) == data
    except (ValueError, TypeError):
        return None
    return body if same and not _has_float(body) else None


def _has_float(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_float, value.values()))
    if isinstance(value, list):
        return any(map(_has_float, value))
    return isinstance(value, float)


def parse_canonical(data: bytes, *, where: str) -> dict[str, Any]:
    """Parse the bytes of a record of any kind, and compare them with the digest in them; the body
    comes back without it. Raise RecordDamaged if they are truncated, edited or not canonical."""
    try:
        if (body := _fast(data)) is None:
            body = json.loads(data, object_pairs_hook=_no_duplicates)
            whole = canonical_json(body)
        else:
            whole = data
        if not isinstance(body, dict):
            raise RecordDamaged(f"{where} is not a record but a {type(body).__name__}")
        if (digest := body.pop("sha256", None)) is None:
            raise RecordDamaged(f"{where} has no digest of itself")
        rest = _without(whole, digest) or canonical_json(body)
    except (ValueError, RecursionError) as e:  # the parser accepts NaN and lone surrogates
        raise RecordDamaged(f"{where} is not a complete record: {_plain(e)}") from None
    if hashlib.sha256(rest).hexdigest() != digest:
        raise RecordDamaged(f"{where} was changed after it was written (its digest differs)")
    if whole != data:
        raise RecordDamaged(f"{where} is not in canonical form")
    return body


class Record(Frozen):
    """A file of a repository: `format` and `kind`, the fields, and `sha256` over all the others."""

    KIND: ClassVar[str]
    FORMAT: ClassVar[int] = 1

    def to_bytes(self) -> bytes:
        """Return the canonical bytes with the digest. Equal records have equal bytes. Raise
        RecordError for a record larger than `LARGEST`, which could not be read back."""
        body = {**self.model_dump(mode="json"), "format": self.FORMAT, "kind": self.KIND}
        digest = hashlib.sha256(canonical_json(body)).hexdigest()
        data = canonical_json({**body, "sha256": digest})
        if len(data) > LARGEST:
            raise RecordError(
                f"a {self.KIND} of {len(data)} bytes is too large: a record may have {LARGEST}",
                "select fewer collections in one run.",
            )
        return data

    @cached_property
    def sha256(self) -> str:
        """Return the SHA-256 of the whole file as stored, hex; computed once."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Copy the record; the copy has its own digest."""
        copied = super().model_copy(update=update, deep=deep)
        copied.__dict__.pop("sha256", None)
        return copied

    @classmethod
    def from_bytes(cls, data: bytes, *, where: str) -> Self:
        """Parse what `to_bytes` wrote; `where` names the file in errors.

        Raise RecordDamaged if it is truncated, edited or not canonical, RecordUnknown if it has a
        newer format, another kind, or a field that this version does not know.
        """
        body = parse_canonical(data, where=where)
        kind, form = body.pop("kind", None), body.pop("format", None)
        if kind != cls.KIND:
            raise RecordUnknown(f"{where} is a {kind!r}, not a {cls.KIND!r}")
        if form != cls.FORMAT:
            raise RecordUnknown(f"{where} has format {form!r}; this version reads {cls.FORMAT}")
        try:
            record = cls.model_validate(body)
        except ValidationError as e:
            first = e.errors(include_url=False)[0]
            at = ".".join(map(str, first["loc"]))
            unknown = first["type"] in ("extra_forbidden", NEWER)
            error = RecordUnknown if unknown else RecordDamaged
            raise error(f"{where}: {at}: {first['msg']}") from None
        record.__dict__["sha256"] = hashlib.sha256(data).hexdigest()  # these are its very bytes
        return record
