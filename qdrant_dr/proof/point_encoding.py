r"""The canonical encoding of a point's parts, version 2, and the digests made of it.

Every value has a type tag and an unambiguous end, so that different values never share an
encoding, and equal values have one encoding wherever they were read:

    null           n
    false, true    f  t
    integer        i<decimal>;           any size, exact; 1 and 1.0 differ
    float          d<8 bytes>            IEEE 754 binary64, big endian; -0.0 and 0.0 differ
    string         s<bytes>:<UTF-8>      length in bytes, decimal
    list           [<values>]
    object         {<string><value>...}  sorted by the UTF-8 bytes of the keys

    id, integer    i<decimal>;
    id, UUID       u<16 bytes>
    dense          D<n, 4 bytes><n x 4 bytes>               IEEE 754 binary32, little endian
    multivector    M<rows, 4 bytes><columns, 4 bytes><...>  row after row, likewise
    sparse         S<n, 4 bytes><n x 4 bytes index><n x 4 bytes>  ascending by index

Vectors are compared as what they are stored as: binary32, whose shortest decimal a server prints
and the engine widens to binary64; both come back to the same 32 bits. float16 and uint8 vectors
are read as numbers that binary32 holds exactly. An infinity or a NaN, which a server takes and
JSON cannot hold, is a null there: whatever is not finite is one token, the bits 7fc00000. Version 1
kept the bits that the engine reads; nothing else differs, so that sets without such a component
have the same digests in both.

A component's digest is SHA-256 over its domain, the point's id and its value, each self-delimiting:

    id             "qdr1:id:" id
    payload        "qdr1:payload:" id object         absent (no digest), null and {} differ
    vector:<name>  "qdr1:vector:" string(name) id vector

Test vectors, `encode_value`:

    >>> encode_value({"b": [1, 1.0, None], "a": "é", "": True})
    b'{s0:ts1:as2:\xc3\xa9s1:b[i1;d?\xf0\x00\x00\x00\x00\x00\x00n]}'
    >>> encode_value(-0.0), encode_value({}), encode_value([]), encode_value(2**64)
    (b'd\x80\x00\x00\x00\x00\x00\x00\x00', b'{}', b'[]', b'i18446744073709551616;')
    >>> encode_id("00000000-0000-0000-0000-000000000001") == b"u" + bytes(15) + b"\x01"
    True
    >>> encode_vector([1.0, -2.0])
    b'D\x02\x00\x00\x00\x00\x00\x80?\x00\x00\x00\xc0'
    >>> encode_vector({"indices": [7, 3], "values": [1.0, 2.0]})
    b'S\x02\x00\x00\x00\x03\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00@\x00\x00\x80?'
    >>> encode_vector([float("-inf")]), encode_bits([float("-inf")])
    (b'D\x01\x00\x00\x00\x00\x00\xc0\x7f', b'D\x01\x00\x00\x00\x00\x00\x80\xff')
    >>> {name: digest.hex()[:16] for name, digest in point_digests(7, {"k": 1}, [1.0]).items()}
    {'id': '0aff0a24b6934982', 'payload': '59bfb7ab0aa2c469', 'vector:': 'e77313520d12a0f5'}
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from hashlib import sha256
from math import isfinite, nan
from typing import Any
from uuid import UUID

import numpy as np

BITS, ENCODING = 1, 2
"""The versions; a set in which everything is finite is of the first, for both are equal there."""
_DOUBLE = struct.Struct(">d").pack
_COUNT = struct.Struct("<I").pack


def encode_value(value: Any) -> bytes:
    """Encode a JSON value. Raise TypeError for anything else."""
    encode = _VALUES.get(type(value))
    if encode is None:
        raise TypeError(f"{type(value).__name__} is no JSON value")
    return encode(value)


def _string(value: str) -> bytes:
    data = value.encode()
    return b"s%d:%b" % (len(data), data)


_key_orders: dict[tuple[str, ...], list[tuple[str, bytes]]] = {}
_KEY_ORDERS_KEPT = 4096


def key_order(keys: tuple[str, ...]) -> list[tuple[str, bytes]]:
    """Return keys with their encodings, sorted; cached, because points have the same keys."""
    return _key_orders.get(keys) or _order(keys)


def _order(keys: tuple[str, ...]) -> list[tuple[str, bytes]]:
    order = sorted(((k, _string(k)) for k in keys), key=lambda pair: pair[0].encode())
    if len(keys) <= 64:
        if len(_key_orders) >= _KEY_ORDERS_KEPT:
            _key_orders.clear()
        _key_orders[keys] = order
    return order


def _object(value: dict[str, Any]) -> bytes:
    keys = tuple(value)
    out = b"{"
    for key, encoded in _key_orders.get(keys) or _order(keys):
        item = value[key]
        kind = type(item)
        if kind is str:
            data = item.encode()
            out += b"%bs%d:%b" % (encoded, len(data), data)
        elif kind is int:
            out += b"%bi%d;" % (encoded, item)
        else:
            out += encoded + encode_value(item)
    return out + b"}"


_VALUES: dict[type, Callable[[Any], bytes]] = {
    str: _string,
    int: lambda v: b"i%d;" % v,
    float: lambda v: b"d" + _DOUBLE(v),
    bool: lambda v: b"t" if v else b"f",
    type(None): lambda _: b"n",
    list: lambda v: b"[" + b"".join([encode_value(item) for item in v]) + b"]",
    dict: _object,
}


def encode_id(point_id: int | str | UUID) -> bytes:
    """Encode a point's id: an unsigned integer, or a UUID in any spelling."""
    if isinstance(point_id, int):
        return b"i%d;" % point_id
    return b"u" + (point_id if isinstance(point_id, UUID) else UUID(point_id)).bytes


@cache
def _packer(count: int, kind: str) -> Callable[..., bytes]:
    return struct.Struct(f"<{count}{kind}").pack


def _floats(values: Sequence[float | None]) -> bytes:
    pack = _packer(len(values), "f")
    try:
        return pack(*values)
    except struct.error:
        return pack(*[nan if v is None else v for v in values])


DENSE_HEADER = 5
"""Bytes before the components in the encoding of a dense vector."""


def dense_header(count: int) -> bytes:
    """Return what precedes so many components."""
    return b"D" + _COUNT(count)


@cache
def _dense_packer(count: int) -> Callable[..., bytes]:
    return struct.Struct(f"<cI{count}f").pack


def encode_vector(vector: Any) -> bytes:
    """Encode a dense, multi- or sparse vector, from the engine or a server's JSON; a dense one also
    from its bytes: components as binary32, little endian. A memoryview is the encoding of a finite
    vector already."""
    return encode_bits(vector if is_finite(vector) else _with_token(vector))


def is_finite(vector: Any) -> bool:
    """Say whether every component is a finite number; null in a server's JSON is not."""
    if type(vector) is memoryview:
        return True
    if type(vector) is bytes:
        tops = vector[3::4]  # without its sign, 7f in each component that is not finite
        if b"\x7f" not in tops and b"\xff" not in tops:
            return True
        return bool(np.isfinite(np.frombuffer(vector, "<f4")).all())
    if type(vector) is list:
        try:
            return isfinite(sum(vector))  # of binary32 in binary64: it cannot overflow
        except TypeError:
            return all(map(is_finite, vector)) if _is_multi(vector) else False
    return is_finite(list(vector["values"] if isinstance(vector, Mapping) else vector.values))


def _with_token(vector: Any) -> Any:
    """Return the vector with null for each component that is not finite."""
    vector = unpacked(vector)
    if isinstance(vector, list):
        if _is_multi(vector):
            return [_with_token(row) for row in vector]
        return [v if v is not None and isfinite(v) else None for v in vector]
    sparse = vector if isinstance(vector, Mapping) else {
        "indices": vector.indices, "values": vector.values,
    }  # fmt: skip
    return {**sparse, "values": _with_token(list(sparse["values"]))}


def unpacked(vector: Any) -> Any:
    """A vector given as bytes as the list of its components; any other as it is."""
    return list(_unpack(vector)) if type(vector) is bytes else vector


def _unpack(vector: bytes) -> tuple[float, ...]:
    return struct.unpack(f"<{len(vector) // 4}f", vector)


def _is_multi(vector: list[Any]) -> bool:
    return bool(vector) and isinstance(vector[0], list)


def encode_bits(vector: Any) -> bytes:
    """Encode in version 1: components that are not finite by their bits, as the engine reads
    them."""
    if type(vector) is memoryview:
        return vector.tobytes()
    if type(vector) is bytes:
        return dense_header(len(vector) // 4) + vector
    if type(vector) is list:
        count = len(vector)
        try:
            return _dense_packer(count)(b"D", count, *vector)
        except struct.error:  # rows of a multivector, or a null for NaN
            return _unusual(vector)
    if isinstance(vector, Mapping):
        indices, values = vector["indices"], vector["values"]
    else:
        indices, values = vector.indices, vector.values
    pairs = sorted(zip(indices, values, strict=True), key=lambda pair: pair[0])
    ordered = _packer(len(pairs), "I")(*[i for i, _ in pairs])
    return b"S" + _COUNT(len(pairs)) + ordered + _floats([v for _, v in pairs])


def _unusual(vector: list[Any]) -> bytes:
    if not _is_multi(vector):
        return dense_header(len(vector)) + _floats(vector)
    columns = len(vector[0])
    if any(len(row) != columns for row in vector):
        raise ValueError("the rows of a multivector differ in length")
    data = b"".join([_floats(row) for row in vector])
    return b"M" + _COUNT(len(vector)) + _COUNT(columns) + data


@cache
def vector_domain(name: str) -> bytes:
    """Return what precedes id and value in the digest of the vectors of one name."""
    return b"qdr1:vector:" + _string(name)


ID_DOMAIN = b"qdr1:id:"
PAYLOAD_DOMAIN = b"qdr1:payload:"


def named_vectors(vector: Any) -> dict[str, Any]:
    """Return a point's vectors by name; a bare vector has the name ''."""
    if vector is None:
        return {}
    return vector if isinstance(vector, dict) else {"": vector}


def point_digests(
    point_id: int | str | UUID, payload: dict[str, Any] | None, vector: Any
) -> dict[str, bytes]:
    """Return the digest of every component that the point has."""
    ident = encode_id(point_id)
    digests = {"id": sha256(ID_DOMAIN + ident).digest()}
    if payload is not None:
        digests["payload"] = sha256(PAYLOAD_DOMAIN + ident + encode_value(payload)).digest()
    for name, value in named_vectors(vector).items():
        data = vector_domain(name) + ident + encode_vector(value)
        digests[f"vector:{name}"] = sha256(data).digest()
    return digests


def digest_point(point: Mapping[str, Any]) -> dict[str, int]:
    """Return `point_digests` of one point of a server's scroll, as integers."""
    digests = point_digests(point["id"], point.get("payload"), point.get("vector"))
    return {name: int.from_bytes(d, "little") for name, d in digests.items()}
