"""`credentials: block:TYPE/NAME`: credentials blocks of Prefect as options of fsspec.

A setting of a block that has no such option is an error that names it: dropped, it would lead to
another identity than the one that was meant.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from qdrant_dr.errors import ConfigInvalid, SecretMissing
from tasks.blocks import BlockMissing, ServerAway, read_block

Fields = dict[str, Any]
_AZURE = ".blob.core.windows.net"


def credentials_block(name: str) -> dict[str, Any]:
    """Return the options of fsspec for the block `TYPE/NAME`.

    Raise SecretMissing if there is none, or no server to ask, and ConfigInvalid if it sets
    something that cannot be kept. No error holds any value of it.
    """
    kind, _, block = name.partition("/")
    if kind not in _OPTIONS:
        raise ConfigInvalid(
            f"block:{name} holds no keys of a storage", f"use one of type {', '.join(_OPTIONS)}."
        )
    try:
        stored = read_block(kind, block)
    except BlockMissing:
        raise SecretMissing(
            f"there is no block {block!r} of type {kind}",
            "make it in Prefect's UI (Blocks), or correct `credentials:`; `prefect block ls` lists "
            "what there is.",
        ) from None
    except ServerAway as error:
        raise SecretMissing(
            f"block:{name} cannot be read: {error}", "is the Prefect API up?"
        ) from None
    return options_of(name, stored)


def options_of(name: str, stored: Mapping[str, Any]) -> dict[str, Any]:
    """Translate the fields of the block `TYPE/NAME` into options of the file system of its
    storage."""
    fields = {key: value for key, value in stored.items() if value not in (None, "", {}, [])}
    options = _OPTIONS[name.partition("/")[0]](name, fields)
    _refuse(name, fields)
    return {key: value for key, value in options.items() if value not in (None, {})}


def _aws(name: str, fields: Fields) -> dict[str, Any]:
    if not fields.get("assume_role_arn"):
        fields.pop("assume_role_kwargs", None)  # without a role it says nothing
    return {
        "key": fields.pop("aws_access_key_id", None),
        "secret": fields.pop("aws_secret_access_key", None),
        "token": fields.pop("aws_session_token", None),
        "profile": fields.pop("profile_name", None),
        **_client(name, fields),
    }


def _minio(name: str, fields: Fields) -> dict[str, Any]:
    return {
        "key": fields.pop("minio_root_user", None),
        "secret": fields.pop("minio_root_password", None),
        **_client(name, fields),
    }


def _client(name: str, fields: Fields) -> dict[str, Any]:
    """What both blocks of S3 say about the client."""
    client = {k: v for k, v in fields.pop("aws_client_parameters", {}).items() if v is not None}
    verify = client.pop("verify", None)
    bundle = client.pop("verify_cert_path", None)
    plain = client.pop("use_ssl", True) is False
    own = {
        "region_name": fields.pop("region_name", None),
        "api_version": client.pop("api_version", None),
        "verify": bundle if bundle and verify is not False else verify,
    }
    options = {
        "endpoint_url": client.pop("endpoint_url", None),
        "config_kwargs": client.pop("config", None),
        "client_kwargs": {k: v for k, v in own.items() if v is not None},
    }
    _refuse(name, client, "aws_client_parameters.")
    # botocore ignores it beside an endpoint, whose URL says so itself
    return options | ({"use_ssl": False} if plain and not options["endpoint_url"] else {})


def _gcp(name: str, fields: Fields) -> dict[str, Any]:
    info = fields.pop("service_account_info", None)
    file = fields.pop("service_account_file", None)
    if isinstance(info, str):
        try:
            info = json.loads(info)
        except ValueError:
            raise ConfigInvalid(
                f"service_account_info of block:{name} is not JSON",
                "put the whole key file into it.",
            ) from None
    if file and not Path(file).expanduser().is_file():
        raise SecretMissing(
            f"the service_account_file of block:{name} is not on this machine",
            "put the key file there, or its text into service_account_info.",
        )
    return {
        "token": info or (str(Path(file).expanduser()) if file else None),
        "project": fields.pop("project", None),
    }


def _azure(name: str, fields: Fields) -> dict[str, Any]:
    found = {
        key: fields.pop(key, None)
        for key in ("connection_string", "client_id", "tenant_id", "client_secret")
    }
    if url := fields.pop("account_url", None):
        place = _split(url)
        if place is None or place.scheme != "https" or not place.hostname:
            raise ConfigInvalid(
                f"account_url of block:{name} is not https://ACCOUNT{_AZURE}",
                "write it so, or give the block a connection string.",
            )
        found["account_name"] = place.hostname.partition(".")[0]
        if not place.hostname.endswith(_AZURE):
            found["account_host"] = place.netloc
    return found


def _split(url: str) -> SplitResult | None:
    """None if it is no URL of a host alone: keys in it would be taken for an address, and shown."""
    try:
        place = urlsplit(url)
    except ValueError:
        return None
    return None if place.path.strip("/") or place.query or "@" in place.netloc else place


def _refuse(name: str, left: Mapping[str, Any], where: str = "") -> None:
    if left:
        raise ConfigInvalid(
            f"block:{name} sets {', '.join(f'{where}{key}' for key in sorted(left))}, "
            "which a repository cannot use",
            "clear it there; a role or another way to log in can be given as `options:` instead of "
            "a block, such as the profile of an AWS configuration.",
        )


_OPTIONS: dict[str, Callable[[str, Fields], dict[str, Any]]] = {
    "aws-credentials": _aws,
    "minio-credentials": _minio,
    "gcp-credentials": _gcp,
    "azure-blob-storage-credentials": _azure,
}
