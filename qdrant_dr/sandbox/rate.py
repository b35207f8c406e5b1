"""Strict mode's `read_rate_limit`, token by token as Qdrant 1.18.3 counts: per shard and minute."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from qdrant_dr.sandbox.http import ApiError, Json


class ReadRate:
    """The buckets of one collection's shards; they are full at the beginning and after a change."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._limit: int | None = None
        self._buckets: dict[int, tuple[float, float]] = {}
        self._lock = threading.Lock()

    def spend(self, strict: Json, shard: int, cost: int) -> None:
        """Take tokens under the collection's `strict_mode_config`. Raise ApiError 429."""
        strict = strict or {}
        limit = strict.get("read_rate_limit") if strict.get("enabled") else None
        with self._lock:
            if limit != self._limit:
                self._limit, self._buckets = limit, {}
            if limit is None:
                return
            if cost > limit:
                raise _exceeded(
                    "Read rate limit exceeded, request larger than rate limiter capacity, "
                    "please try to split your request"
                )
            now = self._clock()
            tokens, at = self._buckets.get(shard, (float(limit), now))
            tokens = min(limit, tokens + (now - at) * limit / 60)
            missing = max(0.0, cost - tokens)
            self._buckets[shard] = (tokens if missing else tokens - cost, now)
        if missing:
            seconds = math.ceil(missing * 60 / limit)
            raise _exceeded(
                f"Read rate limit exceeded: Operation requires {cost} tokens but only "
                f"{tokens:.1f} were available. Retry after {seconds}s",
                seconds,
            )


def conditions(where: Json) -> int:
    """Count the conditions of a filter, nested ones too: each costs a token."""
    if not isinstance(where, dict):
        return 0
    found = 0
    for kind in ("must", "must_not", "should", "min_should"):
        part = where.get(kind)
        if kind == "min_should" and isinstance(part, dict):
            part = part.get("conditions")
        for one in part if isinstance(part, list) else [part] if part else []:
            inner = {"must", "must_not", "should", "min_should"} & set(one)
            found += conditions(one) if inner else 1
    return found


def _exceeded(text: str, seconds: int | None = None) -> ApiError:
    headers = {} if seconds is None else {"Retry-After": str(seconds)}
    return ApiError(429, f"Rate limiting exceeded: {text}", headers=headers)
