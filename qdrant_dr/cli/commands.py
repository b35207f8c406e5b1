"""The table of commands. A module is imported only when its command runs: `--help` stays quick."""

from __future__ import annotations

from collections.abc import Mapping

# name: (module:function, what it does, examples)
COMMANDS: Mapping[str, tuple[str, ...]] = {
    "init": (
        "config:init",
        "Write an annotated configuration that works on localhost.",
        "qdrant-dr init --url http://localhost:6333",
    ),
    "schema": (
        "config:schema",
        "Print a JSON Schema, or the meaning of the report's frames.",
        "qdrant-dr schema config > qdrant-dr.schema.json",
    ),
    "check": (
        "check:check",
        "Test everything that a backup needs: nodes, keys, clocks, repositories, disk space.",
        "qdrant-dr check -r aws",
        "qdrant-dr check --read-only --json",
    ),
    "status": (
        "status:status",
        "Say whether each collection is protected: one line each, for monitoring.",
        "qdrant-dr status",
        "qdrant-dr status --format prometheus --out /var/lib/node_exporter/qdrant_dr.prom",
    ),
    "backup": (
        "backup:backup",
        "Back up collections to every repository, and prove the copies.",
        "qdrant-dr backup",
        "qdrant-dr backup movies users --prove content",
        "qdrant-dr backup --dry-run",
    ),
    "replicate": (
        "backup:replicate",
        "Replace missing or damaged copies from a proven one.",
        "qdrant-dr replicate",
        "qdrant-dr replicate movies@latest -r gcp --dry-run",
    ),
    "verify": (
        "verify:verify",
        "Read copies back and prove them to a given depth.",
        "qdrant-dr verify",
        "qdrant-dr verify movies@latest -r aws --depth content",
        "qdrant-dr verify --depth bytes --sample 5% --seed 7",
    ),
    "drill": (
        "drill:drill",
        "Restore backups to a disposable server, prove them there, and measure the time.",
        "qdrant-dr drill movies --pick latest",
        "qdrant-dr drill --engine server --scratch http://scratch:6333",
        "qdrant-dr drill --scenario lost-cloud:aws --ran-by 'Ana Li'",
    ),
    "sign": (
        "sign:sign",
        "Sign the result of a run of drills as its reviewer.",
        "qdrant-dr sign 20261122T101530Z-7f3a9c --as 'Bea Roth' --note 'all points came back'",
    ),
    "restore": (
        "restore:restore",
        "Restore backups for real: print the plan, or carry it out with --execute.",
        "qdrant-dr restore movies@latest-proven --to http://localhost:6333 --as movies-back",
        "qdrant-dr restore movies@latest-proven --to http://localhost:6333 --execute",
        "qdrant-dr restore --all --to http://new-cluster:6333 --to-key env:NEW_KEY --execute",
        "qdrant-dr restore movies@latest-proven --points --missing --execute",
        "qdrant-dr restore --undo 20261122T101530Z-7f3a9c --execute",
    ),
    "startup-archive": (
        "startup:startup_archive",
        "Combine proven backups into one file with which an empty server starts.",
        "qdrant-dr startup-archive --out full.snapshot --prove",
        "qdrant-dr startup-archive movies@latest-proven users@latest-proven --out two.snapshot",
    ),
    "expire": (
        "expire:expire",
        "Delete copies that no `retention` rule keeps; without --execute only list them.",
        "qdrant-dr expire",
        "qdrant-dr expire --execute",
        "qdrant-dr expire movies@20261122T10 --execute",
    ),
    "hold": (
        "expire:hold",
        "Keep a backup whatever the retention policy says, or list the holds.",
        "qdrant-dr hold movies@latest-proven --reason 'case 4711' --until 2027-01-31",
        "qdrant-dr hold movies@20261122T10 --release --reason 'case closed'",
    ),
    "acknowledge": (
        "acknowledge:acknowledge",
        "Acknowledge a finding, or accept a suspect backup; or list acknowledgements.",
        "qdrant-dr acknowledge movies@latest --reason 'new embedding model'",
        "qdrant-dr acknowledge 'run-bad:last verify run' --reason 'gcp is away' --until 2d",
        "qdrant-dr acknowledge movies@20261122T10 --release --reason 'it was a mistake'",
    ),
    "list": (
        "listing:list_backups",
        "List backups: age, size, copies, and the depth to which they are proven.",
        "qdrant-dr list",
        "qdrant-dr list movies -r aws --unproven",
    ),
    "show": (
        "show:show",
        "Show one backup, its copies, and the commands that restore it with curl.",
        "qdrant-dr show movies@latest-proven",
        "qdrant-dr show movies@20261122T10 --proofs",
    ),
    "get": (
        "get:get",
        "Write the archive of a backup to a file, out of any layout, every byte compared.",
        "qdrant-dr get movies@latest-proven --out movies.snapshot",
        "qdrant-dr get movies@20261122T10 --part shard-0 --out shard-0.snapshot",
    ),
    "diff": (
        "diff:diff",
        "Compare two states of a collection: which points are gone, new or changed, and in what.",
        "qdrant-dr diff movies@latest-proven live",
        "qdrant-dr diff movies@20261121T10 movies@20261122T10 --out changes.parquet",
    ),
    "find": (
        "find:find",
        "Say in which backups a point is, when it changed, and what it was.",
        "qdrant-dr find movies --id 4711",
        """qdrant-dr find movies --filter '{"must":{"key":"n","match":{"value":7}}}'""",
    ),
    "export": (
        "export:export",
        "Write the points of a backup as Parquet or NDJSON, for whoever has no Qdrant.",
        "qdrant-dr export movies@latest-proven --out ./movies-2026",
        "qdrant-dr export movies@latest-proven --out s3://archive/movies --credentials-of aws",
        "qdrant-dr export movies@20261122T10 --out ./what-is-left --from-salvage",
    ),
    "report": (
        "report:report",
        "Write the report: what can be restored, how fast, and on what evidence.",
        "qdrant-dr report --period 30d --out ./reports",
        "qdrant-dr report --as-of 2026-11-22T10:00:00Z --format html,csv",
    ),
    "watch": (
        "watch:watch",
        "Check records and cluster for findings: what is wrong, what is new, what is over.",
        "qdrant-dr watch",
        "qdrant-dr watch --record",
    ),
    "up": (
        "pipeline:up",
        "Make a scheduled pipeline on Prefect of the configuration; again, it changes nothing.",
        "qdrant-dr up",
        "qdrant-dr up --notify slack-webhook/ops",
    ),
    "down": (
        "pipeline:down",
        "End the worker and the server that `up` has started; deployments and data stay.",
        "qdrant-dr down",
    ),
    "register": (
        "pipeline:register",
        "Do all that `up` does on the Prefect API, and start nothing: worker and server are yours.",
        "qdrant-dr register --pool dr --notify slack-webhook/ops",
    ),
    "completion": (
        "completion:completion",
        "Print a script with which your shell completes commands and options.",
        "qdrant-dr completion bash > ~/.local/share/bash-completion/completions/qdrant-dr",
    ),
    "sandbox": (
        "sandbox:sandbox",
        "Run a small Qdrant-compatible server on loopback, to try things out.",
        "qdrant-dr sandbox --port 6333 --points 5000",
    ),
}
OPTIONS: Mapping[str, str] = {
    "backups": "BACKUP",
    "collections": "COLLECTION",
    "every": "--all",
    "of_run": "--run",
    "name": "--as",
    "sample_per_mille": "--sample",
}
"""Fields of requests whose names differ from those of their options."""
REPOSITORY: Mapping[str, tuple[str, ...]] = {
    "create": (
        "repository:create",
        "Create the repositories that are configured without an id, and print their new ids.",
        "qdrant-dr repository create aws",
        "qdrant-dr repository create --save",
        "qdrant-dr repository create vault --layout chunked --encrypt --save",
    ),
    "list": (
        "repository:list_repositories",
        "List the configured repositories and whether they can be used.",
        "qdrant-dr repository list",
    ),
    "show": (
        "repository:show",
        "Show one repository: its id, location and contents.",
        "qdrant-dr repository show aws",
    ),
    "adopt": (
        "repository:adopt",
        "Give a copied repository an id of its own; without --execute only say what would change.",
        "qdrant-dr repository adopt mirror",
        "qdrant-dr repository adopt mirror --execute --save",
    ),
}
KEY: Mapping[str, tuple[str, ...]] = {
    "list": (
        "key:list_slots",
        "List the slots of an encrypted repository, and which of them the configured secret opens.",
        "qdrant-dr key list vault",
    ),
    "add": (
        "key:add",
        "Let one more secret open an encrypted repository, whatever key it was written with.",
        "qdrant-dr key add vault --secret file:/media/usb/vault.key --label 'safe, Berlin'",
        'qdrant-dr key add vault --recipient "$(cat ana.pub)" --label Ana',
    ),
    "remove": (
        "key:remove",
        "Remove a slot of an encrypted repository, never the last one.",
        "qdrant-dr key remove vault 20261122T101530Z-7f3a9c",
        "qdrant-dr key remove vault 20261122T101530Z-7f3a9c --execute",
    ),
    "rotate": (
        "key:rotate",
        "Make a new master key, with which all is encrypted from now on; the old one stays.",
        "qdrant-dr key rotate vault",
    ),
    "export": (
        "key:export",
        "Write the master keys into a file for a safe: they open everything without any slot.",
        "qdrant-dr key export vault --out /media/usb/vault.master-key",
    ),
}
EVIDENCE: Mapping[str, tuple[str, ...]] = {
    "verify": (
        "evidence:verify",
        "Verify who wrote what and when: chain, signatures, records; offline, from a copy.",
        "qdrant-dr evidence verify --allowed-signers allowed_signers",
        "qdrant-dr evidence verify ./copy-of-a-bucket --allowed-signers allowed_signers",
        "qdrant-dr evidence verify aws --against gcp --against onprem",
    ),
    "bundle": (
        "evidence:bundle",
        "Write report, frames, records, ledgers and signatures into one archive for an auditor.",
        "qdrant-dr evidence bundle --period 90d --out evidence.tar.gz",
    ),
}
SIGNING: Mapping[str, tuple[str, ...]] = {
    "init": (
        "signing:init",
        "Make the key that signs the ledger, and print the line with which others check it.",
        "qdrant-dr signing init --save",
        "qdrant-dr signing init --key /etc/qdrant-dr/ledger.key --save",
    ),
    "rotate": (
        "signing:rotate",
        "Sign with another key from now on: an entry signed by the old key names it.",
        "qdrant-dr signing rotate --key /etc/qdrant-dr/ledger-2027.key --save",
    ),
    "trust": (
        "signing:trust",
        "Add a public key to the file of those that are believed.",
        "qdrant-dr signing trust ana.pub --as ana@example.org --for review",
    ),
}
GROUPS: Mapping[str, tuple[Mapping[str, tuple[str, ...]], str]] = {
    "repository": (
        REPOSITORY,
        "Create and show repositories, the places where backups are stored.",
    ),
    "key": (KEY, "Say who can open an encrypted repository."),
    "evidence": (EVIDENCE, "Let a stranger check who wrote what and when."),
    "signing": (SIGNING, "Say who signs the ledger, and who is believed."),
}
"""Commands of two words: the first, what comes second, and what they are about."""
EVERY_COMMAND: Mapping[str, tuple[str, ...]] = {
    **COMMANDS,
    **{f"{name} {second}": e for name, (table, _) in GROUPS.items() for second, e in table.items()},
}
