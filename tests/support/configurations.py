"""A configuration with everything in it, and a secret that must never be shown."""

from __future__ import annotations

GOOD = """\
# yaml-language-server: $schema=./docs/qdrant-dr.schema.json
format: 1
cluster:
  name: prod
  nodes: [https://qdrant-0.internal:6333]
  api_key: secret:qdrant-prod
  read_api_key: null
  timeouts: {connect: 5s, read: 60s, snapshot: 2h}
collections:
  include: ["*"]
  exclude:
    - {match: "tmp_*", reason: rebuilt nightly by etl}
  expect: [movies, users]
  overrides:
    - match: movies
      owner: search-team
      criticality: high
      objectives: {rto: 30m}
repositories:
  - name: aws
    id: 7f3a9c21
    url: s3://acme-dr/qdrant
    domain: aws-eu-central-1
    bandwidth: 200MiB/s
  - name: gcp
    id: 10203040
    url: gs://acme-dr/qdrant
    domain: gcp-europe-west3
    options: {project: acme-dr}
  - name: minio
    id: c4410f0e
    url: s3://dr/qdrant
    domain: onprem
    options: {endpoint_url: "https://minio:9000", key: env:MINIO_KEY, secret: env:MINIO_SECRET}
copies: {quorum: 2, domains: 2, stall_timeout: 90s}
capture:
  method: auto
  parallel_collections: 2
  spool: {path: /var/tmp/qdrant-dr, max: 200GiB}
proof: {memory: 8GiB, stall_timeout: 5m}
objectives:
  rpo: 26h
  rto: 1h
  proven: {depth: content, max_age: 8d}
  drill_every: 30d
drill:
  engine: server
  scratch: {url: "http://scratch:6333", api_key: secret:scratch, disposable: true}
  pick: coverage
  isolation: VPC dr-drill, account 1234
retention: {last: 7, daily: 14, weekly: 8, monthly: 12, floor: 3}
report: {url: "s3://acme-dr-reports/qdrant", timezone: Europe/Berlin, public_url: null}
"""


HUSH = "hunter2"
