"""The kinds of keys that people and workers sign with, and how a signature of each is checked."""

from __future__ import annotations

import hashlib
from functools import lru_cache

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

from qdrant_dr.errors import SignatureInvalid
from qdrant_dr.signing.ssh_keys import ED25519, PublicKey
from qdrant_dr.signing.wire import Reader, number

_TOUCHED = "sk-ssh-ed25519@openssh.com"
_CURVES: dict[str, HashAlgorithm] = {
    "ecdsa-sha2-nistp256": SHA256(),
    "ecdsa-sha2-nistp384": SHA384(),
    "ecdsa-sha2-nistp521": SHA512(),
}
_RSA: dict[str, HashAlgorithm] = {"rsa-sha2-256": SHA256(), "rsa-sha2-512": SHA512()}
_SMALLEST_RSA = 2048


def check_signature(public: PublicKey, signature: bytes, data: bytes) -> None:
    """Check that this key made this signature of the data. Raise SignatureInvalid."""
    reader = Reader(signature)
    kind = reader.string().decode("ascii", "replace")
    value, more = reader.string(), reader.rest()
    try:
        if public.type == _TOUCHED == kind:
            _check_touched(public, value, more, data)
        elif more:
            raise SignatureInvalid("it has more bytes than a signature of its kind")
        elif public.type == ED25519 == kind:
            _ed25519(public).verify(value, data)
        elif public.type in _CURVES and kind == public.type:
            _check_curve(public, value, data)
        elif public.type == "ssh-rsa" and kind in _RSA:
            _check_rsa(public, value, data, _RSA[kind])
        else:
            raise SignatureInvalid(f"a {kind!r} by a {public.type!r} is not accepted")
    except InvalidSignature:
        raise SignatureInvalid(
            f"key {public.fingerprint} did not sign these bytes: one of the two was changed"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise SignatureInvalid(f"its {public.type!r} key cannot be read") from None


@lru_cache(maxsize=64)
def _ed25519(public: PublicKey) -> Ed25519PublicKey:
    """A ledger has thousands of signatures, by few keys."""
    reader = Reader(public.blob)
    reader.string()
    key = Ed25519PublicKey.from_public_bytes(reader.string())
    if reader.rest():
        raise SignatureInvalid("its key has more bytes than one of its kind")
    return key


def _check_touched(public: PublicKey, value: bytes, more: bytes, data: bytes) -> None:
    """A key in hardware signs what it was asked for together with its flags and counter."""
    reader = Reader(public.blob)
    reader.string()
    key, application = Ed25519PublicKey.from_public_bytes(reader.string()), reader.string()
    flags = Reader(more)
    flag, counter = flags.take(1), flags.number()
    if flags.rest() or not flag[0] & 1:
        raise SignatureInvalid("nobody touched the hardware key for it")
    signed = hashlib.sha256(application).digest() + flag + number(counter)
    key.verify(value, signed + hashlib.sha256(data).digest())


def _check_curve(public: PublicKey, value: bytes, data: bytes) -> None:
    key, reader = load_ssh_public_key(public.line.encode()), Reader(value)
    r, s = (int.from_bytes(reader.string(), signed=True) for _ in range(2))
    if reader.rest() or not isinstance(key, EllipticCurvePublicKey):
        raise SignatureInvalid("it is no signature of an elliptic curve")
    key.verify(encode_dss_signature(r, s), data, ECDSA(_CURVES[public.type]))


def _check_rsa(public: PublicKey, value: bytes, data: bytes, by: HashAlgorithm) -> None:
    key = load_ssh_public_key(public.line.encode())
    if not isinstance(key, RSAPublicKey) or key.key_size < _SMALLEST_RSA:
        raise SignatureInvalid(f"an RSA key of fewer than {_SMALLEST_RSA} bits proves nothing")
    key.verify(value, data, PKCS1v15(), by)
