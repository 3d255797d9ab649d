# Kaituan: every target installs what it needs into .venv first. `make help` lists them.
VENV    := .venv
BIN     := $(VENV)/bin
STAMP   := $(VENV)/.installed
# The first python3.x that really runs (a name on the PATH may be only a launcher's stub).
PYTHON  ?= $(shell for v in 3.13 3.12 3.11 3.14; do python$$v -c '' 2>/dev/null && echo python$$v && exit; done; command -v python3)
PIP     := $(BIN)/python -m pip --disable-pip-version-check --no-input -q
export PIP_ONLY_BINARY := :all:
export PIP_CONSTRAINT  := constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test check bench load up pages pages-kept screenshots migrate audit fuzz schemas clean

help: ## this list
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Kaituan needs Python 3.11 to 3.14: install one (with its venv), then run make again."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' || { echo "Kaituan needs Python 3.11 to 3.14, and $(PYTHON) is another: install one, or name it: make PYTHON=/path/to/python3.12 …"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) has no venv: install it (on Debian: apt-get install python3-venv), then run make again."; exit 1; }
	@echo "Installing into $(VENV) with $$($(PYTHON) --version) …"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) install -e '.[dev]'
	@touch $@

pages: $(STAMP) ## build the customer's, guide's and HQ's pages into web/dist
	@sh web/build.sh $(BIN)/python

# Where they cannot be built (no npm registry), what needs them goes on without, and that is said.
pages-kept: $(STAMP)
	@sh web/build.sh $(BIN)/python kept

demo: $(STAMP) pages-kept ## start everything, play an evening, open the doors (ARGS=--once ends by itself)
	@$(BIN)/kaituan demo $(ARGS)

test: $(STAMP) pages-kept ## all tests, on the real embedded stores
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(STAMP) ## format, lint, types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

bench: $(STAMP) ## the yardsticks and ours side by side; medians and ratios to bench/results.json
	@$(BIN)/kaituan bench $(ARGS)

load: $(STAMP) ## a flash sale at peak with Locust, an HTML report and a verdict by the audit
	@$(BIN)/kaituan load $(ARGS)

up: $(STAMP) pages-kept ## start everything and serve, without the evening
	@$(BIN)/kaituan up $(ARGS)

migrate: $(STAMP) ## bring KAITUAN_DATABASE_OWNER_URL to the newest schema
	@$(BIN)/kaituan migrate $(ARGS)

audit: $(STAMP) ## check the laws on what is running
	@$(BIN)/kaituan audit $(ARGS)

fuzz: $(STAMP) ## the property tests and seeded races, long
	@$(BIN)/python -m pytest -m 'fuzz or long' --hypothesis-profile=fuzz --timeout=3600 $(ARGS)

schemas: $(STAMP) ## write docs/openapi.json and docs/protocol.json from the code
	@$(BIN)/kaituan schemas $(ARGS)

screenshots: $(STAMP) pages ## pictures of the four pages over the real stack, into docs/
	@$(BIN)/python -m tests.browser.screenshots $(ARGS)

clean: ## remove .venv, caches and the serving data of this checkout
	@if [ -x $(BIN)/kaituan ]; then $(BIN)/kaituan clean; fi
	@rm -rf web/node_modules web/dist web/build.log
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
