"""How every server and every store is reached: one rule for proxies, for trust, for who we are.

Proxies: `HTTP_PROXY` and `HTTPS_PROXY` (small letters, too), but not for what `NO_PROXY` names: a
host or a domain below which it lies, an address, a network (`10.0.0.0/8`), or `*`. This machine's
own addresses are never spoken to through a proxy.
Trust: the `ca` of the configuration, else the first file of `CA_VARIABLES`, else the system's list,
else that of certifi. One replaces the other.
"""

from __future__ import annotations

import ipaddress
import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

import certifi

from qdrant_dr.config import Tls
from qdrant_dr.errors import ConfigInvalid

CA_VARIABLES: Final = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE")
_SYSTEM_LISTS: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


def proxy_for(url: str) -> str | None:
    """The proxy that a URL is reached through; None: directly. Raise ConfigInvalid for one that
    is not spoken."""
    parts = urlsplit(url)
    proxies = getproxies_environment()
    proxy = proxies.get(parts.scheme)
    if not proxy or parts.hostname is None or _goes_directly(parts.hostname, parts.port, proxies):
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if not proxy.startswith(("http://", "https://")):
        raise ConfigInvalid(
            f"{parts.scheme.upper()}_PROXY is no http:// or https:// proxy",
            "give one that is, or name the host in `NO_PROXY`.",
        )
    return proxy


def ca_file(tls: Tls) -> str:
    """The file of the certificates that are trusted. Raise ConfigInvalid if it is not there."""
    if tls.ca is not None:
        return _there(tls.ca, "`tls.ca`")
    for name in CA_VARIABLES:
        if named := os.environ.get(name):
            return _there(named, f"${name}")
    default = ssl.get_default_verify_paths().cafile
    system = (*([default] if default else []), *_SYSTEM_LISTS)
    return next((file for file in system if Path(file).is_file()), certifi.where())


def client_pair(tls: Tls) -> tuple[str, str] | None:
    """Files of our own certificate and its key, where the other side wants one."""
    if tls.certificate is None:
        return None
    certificate = _there(tls.certificate, "`tls.certificate`")
    return certificate, certificate if tls.key is None else _key_file(tls.key)


def tls_context(tls: Tls) -> ssl.SSLContext:
    """What is trusted, and who we are. Raise ConfigInvalid for files that do not serve."""
    trusted = ca_file(tls)
    try:
        context = ssl.create_default_context(cafile=trusted)
    except (OSError, ValueError):
        raise ConfigInvalid(f"{trusted} holds no certificates in PEM form") from None
    if folder := os.environ.get("SSL_CERT_DIR") if tls.ca is None else None:
        context.load_verify_locations(capath=folder)
    if pair := client_pair(tls):
        try:
            context.load_cert_chain(*pair, password=_no_password)
        except (OSError, ValueError) as e:
            why = "its key is under a password" if isinstance(e, _Locked) else "they do not fit"
            raise ConfigInvalid(
                f"{pair[0]} and {pair[1]} are no certificate with its key: {why}",
                "`tls.certificate` and `tls.key` are PEM files; the key is without a password.",
            ) from None
    return context


def tls_words(error: BaseException) -> tuple[str, str] | None:
    """What is wrong with TLS in an error or in what it came from, and what to do; None if nothing.

    The number of such an error is OpenSSL's: as one of the system it would be EPERM.
    """
    links = [e for e in chain(error) if isinstance(e, ssl.SSLError)]
    if not links or isinstance(links[-1], ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return None  # none of TLS, or cut off, as any connection can be
    found = links[-1]  # OpenSSL's own; those of aiohttp around it are of this class, too
    if isinstance(found, ssl.SSLCertVerificationError):
        said = getattr(found, "verify_message", "") or "it could not be verified"
        return f"its certificate is not trusted ({said})", _TRUST
    reason = getattr(found, "reason", None) or type(found).__name__
    if "CERTIFICATE_REQUIRED" in reason or "HANDSHAKE_FAILURE" in reason:
        return f"it wants a certificate of ours ({reason})", _PRESENT
    if "ALERT" in reason and ("CERT" in reason or "UNKNOWN_CA" in reason):
        return f"it does not accept our certificate ({reason})", _PRESENT
    if reason in {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"}:
        return f"it does not speak TLS there ({reason})", _PLAIN
    return f"TLS failed ({reason})", _TRUST


_TRUST = (
    "give the CA's file as `tls.ca` in the configuration (`cluster.tls` or the repository's) or in "
    "`SSL_CERT_FILE`; see docs/configuration.md."
)
_PRESENT = (
    "give `tls.certificate` and `tls.key` in the configuration (`cluster.tls` or the "
    "repository's); see docs/configuration.md."
)
_PLAIN = "is the address `https://` where it should be `http://`, or the port another one?"


def chain(error: BaseException) -> Iterator[BaseException]:
    """An error and what it came from, innermost last."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen and len(seen) < 16:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__  # httpcore suppresses what it came from


def _goes_directly(host: str, port: int | None, proxies: Mapping[str, str]) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    if proxy_bypass(host if port is None else f"{host}:{port}"):
        return True
    with suppress(ValueError):
        address = ipaddress.ip_address(host)
        return address.is_loopback or any(address in net for net in _networks(proxies))
    return False


def _networks(
    proxies: Mapping[str, str],
) -> Iterator[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    for entry in proxies.get("no", "").split(","):
        with suppress(ValueError):
            yield ipaddress.ip_network(entry.strip(), strict=False)


def _key_file(reference: str) -> str:
    """TLS reads keys from files only; a secret that lies in one is one."""
    kind, _, name = reference.partition(":")
    folder = os.environ.get("QDR_SECRETS_DIR")
    if kind == "file":
        return _there(name, "`tls.key`")
    if folder is None:
        raise ConfigInvalid(
            f"`tls.key` is {reference}, and there is no $QDR_SECRETS_DIR",
            "TLS reads a key from a file only: put it into one, and name it with file:PATH.",
        )
    return _there(str(Path(folder) / name), "`tls.key`")


def _there(path: str, named: str) -> str:
    file = Path(path).expanduser()
    if not file.is_file():
        raise ConfigInvalid(f"{file}, which {named} names, is no file")
    return str(file)


class _Locked(ValueError):
    pass


def _no_password() -> str:
    """Asked for instead of the terminal, where nobody sits at night."""
    raise _Locked
