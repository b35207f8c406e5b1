#!/bin/sh
# From nothing to deployed, and again without a change: the repositories and their ids, the work
# pool, limits and automations, the deployments. Called by `setup` of compose.yaml; needs
# QDRANT_DR_CONFIG (a file in a folder that may be written to), QDR_WORK_POOL and PREFECT_API_URL.
set -eu
here=$(dirname "$0")

if ! [ -e "$QDRANT_DR_CONFIG" ]; then
  cp "$here/qdrant-dr.yaml" "$QDRANT_DR_CONFIG"
fi
# --save writes the ids down: a repository without one was not made yet
if ! grep -q '^ *id:' "$QDRANT_DR_CONFIG"; then
  qdrant-dr repository create --save
fi
# 3: something needs a look, for instance that there is no collection yet
qdrant-dr check || [ $? -eq 3 ]
# as often as it likes: what is equal is left alone, what an operator paused stays paused
qdrant-dr register
