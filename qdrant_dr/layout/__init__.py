"""Every path inside a repository, made and read in one place.

    repository.json
    backups/<cluster>/<collection folder>/<backup id>/{intent,snapshot,manifest,seal}.json
    backups/<cluster>/<collection folder>/<backup id>/{intent,snapshot}-<number>.json
    backups/<cluster>/<collection folder>/<backup id>/<part>.snapshot       in layout `plain`
    backups/<cluster>/<collection folder>/<backup id>/<part>.recipe         in layout `chunked`
    packs/<cluster>/<collection folder>/<backup id>-<number>.pack
    keys/<key id>/<slot id>.json
    proofs/<cluster>/<collection folder>/<backup id>/<proof id>.json
    runs/<year>/<month>/<run id>.start.json, .end.json
    watches/<cluster>/<year>/<month>/<run id>.json
    holds/<cluster>/<collection folder>/<backup id>/<hold id>.json
    expired/<cluster>/<collection folder>/<backup id>/<run id>.json
    acknowledged/<cluster>/<acknowledgement id>.json
    evidence/<number // 256, 7 digits>/<number, 10 digits>.json, .json.sig, .json.tsr
    evidence/allowed_signers
    undo/<cluster>/<collection folder>/<run id>/part-<number>.json, then undo.json,
        settled.json, settled-2.json, ...
    bundles/<folder>/<cluster>, bundles/runs/<year>-<month>: <digest>.bundle
    probes/<random>/...                                   of `check`, removed again

Only lower-case letters, digits, `-`, `.`, `T` and `Z` occur, so that no store, file system or
shell has an opinion on them. Ids begin with their time, so that names sort by it.
"""

from qdrant_dr.layout.backups import (
    InBackup,
    acknowledgement,
    acknowledgements,
    all_expired,
    answer_file,
    backups,
    call_of,
    expired,
    hold,
    holds,
    in_backup,
    in_undo,
    intent_file,
    is_boxed,
    proof,
    proofs,
    read_backup_path,
    undos,
)
from qdrant_dr.layout.ledger import (
    entry_number,
    in_ledger,
    ledger_entry,
    ledger_folder,
    number_beside,
)
from qdrant_dr.layout.names import (
    ACKNOWLEDGED,
    ALLOWED_SIGNERS,
    ANSWER,
    BACKUPS,
    BUNDLES,
    ENTRIES_PER_FOLDER,
    EVIDENCE,
    EXPIRED,
    HOLDS,
    INTENT,
    KEYS,
    MANIFEST,
    PACKS,
    PROBES,
    PROOFS,
    REPOSITORY,
    RUN_RECORDS,
    RUNS,
    SEAL,
    SIGNATURE,
    TIMESTAMP,
    UNDO,
    UNDO_RECORD,
    WATCHES,
    checked,
    new_id,
    time_if_id,
    time_of,
)
from qdrant_dr.layout.packs import (
    REPAIR_PACKS,
    InPacks,
    is_pack_name,
    is_pack_of,
    is_repair_pack,
    key_slot,
    key_slots,
    pack,
    pack_name,
    packs,
    part_file_of,
    read_pack_path,
    recipe_file,
)
from qdrant_dr.layout.runs import (
    bundles_of,
    may_be_bundled,
    months_around,
    run_end,
    run_months,
    run_of,
    run_start,
    stem,
    watch,
    watches,
)
from qdrant_dr.layout.shapes import (
    FOLDERS,
    in_our_place,
    is_ours,
    may_hold_ours,
)

__all__ = [
    "ACKNOWLEDGED",
    "ALLOWED_SIGNERS",
    "ANSWER",
    "BACKUPS",
    "BUNDLES",
    "ENTRIES_PER_FOLDER",
    "EVIDENCE",
    "EXPIRED",
    "FOLDERS",
    "HOLDS",
    "INTENT",
    "KEYS",
    "MANIFEST",
    "PACKS",
    "PROBES",
    "PROOFS",
    "REPAIR_PACKS",
    "REPOSITORY",
    "RUNS",
    "RUN_RECORDS",
    "SEAL",
    "SIGNATURE",
    "TIMESTAMP",
    "UNDO",
    "UNDO_RECORD",
    "WATCHES",
    "InBackup",
    "InPacks",
    "acknowledgement",
    "acknowledgements",
    "all_expired",
    "answer_file",
    "backups",
    "bundles_of",
    "call_of",
    "checked",
    "entry_number",
    "expired",
    "hold",
    "holds",
    "in_backup",
    "in_ledger",
    "in_our_place",
    "in_undo",
    "intent_file",
    "is_boxed",
    "is_ours",
    "is_pack_name",
    "is_pack_of",
    "is_repair_pack",
    "key_slot",
    "key_slots",
    "ledger_entry",
    "ledger_folder",
    "may_be_bundled",
    "may_hold_ours",
    "months_around",
    "new_id",
    "number_beside",
    "pack",
    "pack_name",
    "packs",
    "part_file_of",
    "proof",
    "proofs",
    "read_backup_path",
    "read_pack_path",
    "recipe_file",
    "run_end",
    "run_months",
    "run_of",
    "run_start",
    "stem",
    "time_if_id",
    "time_of",
    "undos",
    "watch",
    "watches",
]
