"""Believable data over HTTP: to any Qdrant, the same for the same seed.

Each collection ends with updates and deletes after its inserts, so that its log matters and its
segments hold what was deleted.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import httpx

Json = dict[str, Any]

DIMENSION = 64
_BATCH = 500
_REWRITTEN = 50
"""One point in so many is written again, and as many others are deleted."""
_TIMEOUT = 60.0

_GENRES = ("drama", "comedy", "noir", "western", "science fiction", "documentary")
_WORDS = (
    *("silent", "broken", "last", "golden", "northern", "hidden", "electric", "second"),
    *("river", "harbour", "winter", "letter", "garden", "signal", "orchard", "station"),
)
_NAMES = ("Ada", "Boris", "Chiara", "Daan", "Elif", "Femi", "Goro", "Hana", "Íñigo", "Jürgen")
_COUNTRIES = ("DE", "FR", "IT", "JP", "NG", "NL", "TR", "US")
_TOPICS = ("backup", "search", "storage", "network", "release")


@dataclass(frozen=True, slots=True)
class Kind:
    """What a collection is made of; `point` makes the point of a number."""

    create: Json
    indexes: Mapping[str, Any]
    point: Callable[[int, random.Random], Json]


def seed(
    url: str,
    collection: str,
    *,
    points: int,
    seed: int = 1,
    kind: str = "movies",
    shards: int = 1,
    api_key: str | None = None,
) -> int:
    """Create `collection` and fill it with `points` points of a kind (`movies`, `users`, `notes`).

    Return how many are left after the deletes. Raise httpx.HTTPError, a taken name included.
    """
    return _seed(url, collection, points, seed, KINDS[kind], shards, api_key)


def seed_demo(
    url: str, points: int, *, seed: int = 1, api_key: str | None = None
) -> dict[str, int]:
    """Make three collections that share `points`: `movies` with the alias `live-movies`, `users`
    with UUIDs, and `notes` with two named vectors and a sparse one in two shards.

    Return how many points each holds. Raise httpx.HTTPError.
    """
    held = {
        name: _seed(url, name, size, seed, KINDS[name], 2 if name == "notes" else 1, api_key)
        for name, size in _demo_sizes(points).items()
    }
    alias = {"create_alias": {"collection_name": "movies", "alias_name": "live-movies"}}
    with _client(url, api_key) as client:
        _call(client, "POST", "/collections/aliases", {"actions": [alias]})
    return held


def change_demo(
    url: str, points: int, *, seed: int = 1, api_key: str | None = None
) -> dict[str, int]:
    """Write one point in a hundred of what `seed_demo` made anew. Return how many of each
    collection. Raise httpx.HTTPError."""
    written = {}
    with _client(url, api_key) as client:
        for name, size in _demo_sizes(points).items():
            # none of those that were deleted
            rows = [
                KINDS[name].point(number, _chance(seed + 2, number))
                for number in range(2, size, 2 * _REWRITTEN)
            ]
            if rows:
                path = f"/collections/{name}/points?wait=true"
                _call(client, "PUT", path, {"points": rows})
            written[name] = len(rows)
    return written


def _demo_sizes(points: int) -> dict[str, int]:
    notes, users = points // 5, points * 3 // 10
    return {"movies": points - notes - users, "users": users, "notes": notes}


def _seed(
    url: str, collection: str, points: int, seed: int, made: Kind, shards: int, api_key: str | None
) -> int:
    changed = range(0, points, _REWRITTEN)
    again = [made.point(number, _chance(seed + 1, number)) for number in changed]
    gone = [
        made.point(number, _chance(seed, number))["id"] for number in range(1, points, _REWRITTEN)
    ]
    rows = (made.point(number, _chance(seed, number)) for number in range(points))
    with _client(url, api_key) as client:
        path = f"/collections/{collection}"
        _call(client, "PUT", path, {**made.create, "shard_number": shards})
        for field, schema in made.indexes.items():
            index = {"field_name": field, "field_schema": schema}
            _call(client, "PUT", f"{path}/index?wait=true", index)
        while batch := list(islice(rows, _BATCH)):
            _call(client, "PUT", f"{path}/points?wait=true", {"points": batch})
        if again:
            _call(client, "PUT", f"{path}/points?wait=true", {"points": again})
        if gone:
            _call(client, "POST", f"{path}/points/delete?wait=true", {"points": gone})
    return points - len(gone)


def _chance(seed: int, number: int) -> random.Random:
    """Each point has a source of its own, so that one can be made without those before it."""
    return random.Random(f"{seed}/{number}")


def _movie(number: int, chance: random.Random) -> Json:
    return {
        "id": number,
        "vector": _vector(chance),
        "payload": {
            "title": " ".join(chance.sample(_WORDS, 2)).title(),
            "genre": chance.choice(_GENRES),
            "year": chance.randint(1950, 2026),
            "rating": round(chance.uniform(1, 10), 1),
            "tags": chance.sample(_WORDS, chance.randint(0, 3)),
        },
    }


def _user(number: int, chance: random.Random) -> Json:
    name = chance.choice(_NAMES)
    return {
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"qdrant-dr/user/{number}")),
        "vector": _vector(chance),
        "payload": {
            "name": name,
            "mail": f"user{number}@example.org",
            "country": chance.choice(_COUNTRIES),
            "joined": f"20{chance.randint(15, 26)}-{chance.randint(1, 12):02}-01T00:00:00Z",
            "referrer": None if chance.random() < 0.5 else chance.randint(0, 2**53),
        },
    }


def _note(number: int, chance: random.Random) -> Json:
    vector: Json = {"title": _vector(chance, DIMENSION // 2), "body": _vector(chance)}
    if number % 7:  # some notes have no words
        indices = sorted(chance.sample(range(30_000), 8))
        vector["words"] = {
            "indices": indices,
            "values": [round(chance.random(), 4) for _ in indices],
        }
    payload = {
        "topic": chance.choice(_TOPICS),
        "text": " ".join(chance.choices(_WORDS, k=12)),
        "author": {"name": chance.choice(_NAMES), "editor": chance.random() < 0.1},
    }
    return {"id": number, "vector": vector, "payload": payload}


def _vector(chance: random.Random, dimension: int = DIMENSION) -> list[float]:
    return [round(chance.gauss(0, 1), 4) for _ in range(dimension)]


KINDS: Mapping[str, Kind] = {
    "movies": Kind(
        {"vectors": {"size": DIMENSION, "distance": "Cosine"}}, {"genre": "keyword"}, _movie
    ),
    "users": Kind(
        {"vectors": {"size": DIMENSION, "distance": "Dot"}}, {"country": "keyword"}, _user
    ),
    "notes": Kind(
        {
            "vectors": {
                "title": {"size": DIMENSION // 2, "distance": "Cosine"},
                "body": {"size": DIMENSION, "distance": "Euclid", "datatype": "float16"},
            },
            "sparse_vectors": {"words": {}},
        },
        {"topic": "keyword"},
        _note,
    ),
}


def _client(url: str, api_key: str | None) -> httpx.Client:
    headers = {"api-key": api_key} if api_key else {}
    return httpx.Client(base_url=url, headers=headers, timeout=_TIMEOUT, trust_env=False)


def _call(client: httpx.Client, method: str, path: str, body: Json) -> None:
    client.request(method, path, json=body).raise_for_status()
