# Everything below needs Python >= 3.11, make, npm and the package registries; the rest installs itself.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
TOOLS  := .tools
# of one Python at a time: with another one, .venv is made anew
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
READY  := $(VENV)/.ready-$(VERSION)
RESOLVED := .resolved
AZURITE := $(TOOLS)/node_modules/.bin/azurite-blob
export DO_NOT_TRACK = 1
export PREFECT_SERVER_ANALYTICS_ENABLED = false

.PHONY: install demo up down test test-resolved lint bench notebook lock clean help

help:
	@echo "make demo   see it all work on a sandbox (or on QDRANT_URL); KEEP=1 leaves it open"
	@echo "make up     from qdrant-dr.yaml to a scheduled pipeline on Prefect; run again, it changes nothing"
	@echo "make down   end the worker and server of make up; deployments and data stay"
	@echo "make test   all tests (PYTHON=python3.13: on that one)    make lint   style, types, import contracts"
	@echo "make test-resolved   all tests on what pip resolves today, not on the lock"
	@echo "make bench  ratios against peers    make lock   refresh the locked requirements"
	@echo "make docs   these pages as a site    make sbom   what the lock file installs, as CycloneDX"
	@echo "make notebook   compliance.html from qdrant-dr.yaml: the verdict first, no code; fails on a gap"
	@echo "make test-quick   under a minute: laws, plans, records, contracts, one way from capture to restore"

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python >= 3.11 is needed, and $(PYTHON) is none; say which one with make PYTHON=..."; exit 1; }
	@$(BIN)/python -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] != "$(VERSION)")' 2>/dev/null || \
	  { rm -rf $(VENV) && $(PYTHON) -m venv $(VENV); }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

# Azurite speaks Azure's protocol for the tests; without npm they skip it visibly.
$(AZURITE): deployments/tools/package-lock.json
	@if command -v npm >/dev/null; then \
	  mkdir -p $(TOOLS) && cp deployments/tools/package.json deployments/tools/package-lock.json $(TOOLS)/ && \
	  npm ci --prefix $(TOOLS) --silent --no-audit --no-fund --omit=optional && touch $@; \
	else echo "npm is missing: the Azure tests will be skipped"; fi

install: $(READY)

demo: $(READY)
	@$(BIN)/python -m deployments.demo

up: $(READY)
	@$(BIN)/qdrant-dr up

down:
	@$(BIN)/qdrant-dr down

# Three on two cores: most tests wait more than they work. tests/support/by_file.py says which files
# are run side by side, and limits.py how long they may take.
EVERY_TEST := -n 3 --dist loadfile --no-loadscope-reorder tests

test: $(READY) $(AZURITE)
	$(BIN)/python -m pytest $(EVERY_TEST)

# The inner loop: no emulator, hardly a process, and one collection captured, proven and restored.
QUICK := tests/records tests/repository tests/report tests/proof tests/contract/test_store.py \
  tests/contract/test_repository.py tests/contract/test_strangers.py tests/jobs/run/test_plans.py \
  tests/jobs/run/test_backup_selector.py tests/jobs/restore/test_plan.py tests/jobs/drill/test_plan.py \
  tests/cluster/test_facts.py tests/cluster/test_capture_conditions.py tests/cluster/test_topology.py \
  tests/cluster/test_replica_choice.py tests/cluster/test_split_archive.py \
  $(filter-out tests/test_demo.py,$(wildcard tests/test_*.py)) \
  "tests/jobs/restore/test_round_trips.py::test_deleted_and_restored_on_the_sandbox[product]" \
  $(patsubst %,--ignore=tests/%.py,proof/test_depths proof/test_search proof/test_engine \
    repository/test_record_cache report/watch/test_job report/test_looks repository/test_fanout)

.PHONY: test-quick
test-quick: $(READY)
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder \
	  -k "not s3 and not gcs and not azure" $(QUICK)

# What pip resolves today instead of what is locked, in an environment of its own. CI's second job.
test-resolved: $(AZURITE)
	rm -rf $(RESOLVED)
	$(PYTHON) -m venv $(RESOLVED)
	$(RESOLVED)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(RESOLVED)/bin/python -m pip install --quiet --group dev -r deployments/tools/build.in
	$(RESOLVED)/bin/python -m pip install --quiet --no-build-isolation \
	  -e '.[gcs,azure,aws-blocks,gcp-blocks,azure-blocks,dask,notebook]'
	$(RESOLVED)/bin/python -m pip check
	$(RESOLVED)/bin/python -m pip freeze --exclude-editable
	$(RESOLVED)/bin/python -m pytest $(EVERY_TEST)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: docs sbom
docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build
	@echo "open .site/index.html"

sbom: $(READY)
	@mkdir -p dist
	$(BIN)/python -m deployments.tools.sbom > dist/qdrant-dr.cdx.json
notebook: $(READY)
	@$(BIN)/python notebooks/render.py --out compliance.html

bench: $(READY)
	$(BIN)/python -m benchmarks

lock:
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-strip-extras --all-extras --group dev pyproject.toml deployments/tools/build.in -o requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-strip-extras --extra gcs --extra azure --extra dask -c requirements.lock pyproject.toml -o deployments/images/requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  -c requirements.lock deployments/tools/build.in -o deployments/images/build.lock

clean:
	rm -rf $(VENV) $(TOOLS) $(RESOLVED) .demo .site
