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
python -m deployments.register --config "$QDRANT_DR_CONFIG" --pool "$QDR_WORK_POOL"
# as `make up` does it: what an operator paused stays paused
python -c '
import os
from pathlib import Path

import yaml
from prefect.client.orchestration import get_client

from deployments.deploy import deploy

with get_client(sync_client=True) as client:
    for line in deploy(client, yaml.safe_load(Path("prefect.yaml").read_text()), os.environ):
        print(line)
'
