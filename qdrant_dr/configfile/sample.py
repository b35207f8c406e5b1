"""The configuration that `init` writes: it works on localhost and mentions the other options."""

from __future__ import annotations

import json

_TEXT = """\
# qdrant-dr: what is protected, where copies go, and which objectives hold.
# Durations (s, m, h, d, w) and sizes (MiB, GiB, ...) have units. `qdrant-dr schema config` prints
# every key; relative paths are relative to this file.
format: 1

cluster:
  name: local                       # goes into every record: choose it once
  nodes: [{url}]  # REST URL of every node
  # Secrets are references: env:NAME, file:PATH, or secret:NAME (a file in $QDR_SECRETS_DIR).
  # api_key: env:QDRANT_API_KEY
  # read_api_key: env:QDRANT_READ_API_KEY
  timeouts: {{connect: 5s, read: 60s, snapshot: 2h}}

collections:
  include: ["*"]                    # new collections are protected by default
  exclude: []                       # - {{match: "tmp_*", reason: rebuilt nightly}}
  expect: []                        # names that must exist: missing = failed run

repositories:                       # order = reading preference
  - name: local
    # `qdrant-dr repository create local --save` adds its id here
    url: ./backups                  # or s3://bucket/prefix, gs://..., abfs://...
    domain: this-machine            # failure domain: provider, account, region
    # bandwidth: 200MiB/s
    # options: {{endpoint_url: "https://minio:9000", key: env:MINIO_KEY, secret: env:MINIO_SECRET}}

# One copy on one disk is a start, not disaster recovery: add repositories elsewhere, then raise.
copies: {{quorum: 1, domains: 1, stall_timeout: 90s}}

capture:
  method: auto
  parallel_collections: 2
  spool: {{path: ./spool, max: 20GiB}}

objectives:
  rpo: 26h                          # age of the newest proven backup
  rto: 1h                           # a measured restore
  proven: {{depth: content, max_age: 8d}}
  drill_every: 30d

drill:
  engine: edge                      # server: needs a disposable server, see scratch
  pick: coverage
  # scratch: {{url: "http://scratch:6333", disposable: true}}

retention: {{last: 7, daily: 14, weekly: 8, monthly: 12, floor: 3}}

report: {{url: ./reports, timezone: UTC}}
"""


def init_text(url: str) -> str:
    """Return an annotated configuration for the server at `url`: one repository in ./backups."""
    return _TEXT.format(url=json.dumps(url))
