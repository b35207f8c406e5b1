"""A server of a later version: it keeps settings that nobody here knows, at every level.

`later_server` stands in front of a sandbox, which it asks for everything but these settings."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

from tests.support.spy import Spy

_OF_CONFIG = {
    "hnsw_config": "hnsw_config", "optimizers_config": "optimizer_config",
    "wal_config": "wal_config", "quantization_config": "quantization_config",
    "strict_mode_config": "strict_mode_config", "metadata": "metadata",
}  # fmt: skip
OF_PARAMS = frozenset(
    {
        "vectors", "sparse_vectors", "shard_number", "replication_factor", "on_disk_payload",
        "write_consistency_factor", "sharding_method", "read_fan_out_factor",
    }
)  # fmt: skip


def body_to_info(
    body: Mapping[str, Any], indexes: Iterable[Mapping[str, Any]], params: Iterable[str] = ()
) -> dict[str, Any]:
    """What `GET /collections/{c}` tells of a collection that was made with these calls.

    `params` are the settings of a later version that belong beside the vectors."""
    config: dict[str, Any] = {"params": {}}
    for key, value in copy.deepcopy(dict(body)).items():
        if key in OF_PARAMS or key in params:
            config["params"][key] = value
        else:
            config[_OF_CONFIG.get(key, key)] = value
    schema = {}
    for asked in indexes:
        more = {k: v for k, v in asked.items() if k not in ("field_name", "field_schema")}
        given = asked["field_schema"]
        told = {"data_type": given} if isinstance(given, str) else {
            "data_type": given["type"], "params": given,
        }  # fmt: skip
        schema[asked["field_name"]] = {**more, **told, "points": 0}
    return {"config": config, "payload_schema": schema}


LATER = "later_"
"""With this begin the settings that the sandbox does not know."""
_CALL = re.compile(r"(PUT|GET) /collections/([^/]+)(/index)?$")


@contextmanager
def later_server(url: str) -> Iterator[tuple[Spy, dict[str, list[dict[str, Any]]]]]:
    """Yield the server, and the bodies of the calls that made each collection and its indexes."""
    made: dict[str, list[dict[str, Any]]] = {}

    def asked(call: str, body: bytes) -> bytes:
        found = _CALL.fullmatch(call)
        if found is None or found[1] != "PUT":
            return body
        wanted = json.loads(body)
        made.setdefault(unquote(found[2]), []).append(wanted)
        return json.dumps(_known(wanted)).encode()

    def told(call: str, content: bytes) -> bytes:
        found = _CALL.fullmatch(call)
        calls = made.get(unquote(found[2])) if found and not found[3] else None
        if found is None or found[1] != "GET" or not calls:
            return content
        answer = json.loads(content)
        if "result" not in answer:
            return content
        params = [key for key in calls[0] if key.startswith(f"{LATER}params")]
        _add(answer["result"], _later(body_to_info(calls[0], calls[1:], params)))
        return json.dumps(answer).encode()

    with Spy(url, asked=asked, told=told) as spy:
        yield spy, made


def _known(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _known(v) for k, v in value.items() if not k.startswith(LATER)}
    return value


def _later(value: Any) -> Any:
    """Only the settings of a later version, each where it stands."""
    if not isinstance(value, dict):
        return {}
    told = {k: v if k.startswith(LATER) else _later(v) for k, v in value.items()}
    return {k: v for k, v in told.items() if k.startswith(LATER) or v}


def _add(there: dict[str, Any], more: Mapping[str, Any]) -> None:
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(there.get(key), dict):
            _add(there[key], value)
        else:
            there[key] = value
