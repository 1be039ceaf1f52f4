# `make` prints what there is. Every target makes its own environment first, in .venv, from
# requirements.lock. PYTHON=... chooses the Python that makes it.

bin := .venv/bin
installed := .venv/installed
# A checkout beside the shared data tests against the real orders; elsewhere those tests are skipped.
ODDLOT_DATA ?= $(abspath $(wildcard ../shared/data))
export ODDLOT_DATA

.PHONY: targets install demo test lint format bench golden lock clean browser

targets: ## print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

install: $(installed) ## make .venv with the exact versions of requirements.lock, and oddlot itself

demo: $(installed) ## simulate a shop with faults, replay it sped up, watch the engine find them
	@$(bin)/oddlot demo

test: $(installed) browser ## run the tests
	@$(bin)/python -m pytest

lint: $(installed) ## check style, format and types
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/mypy

format: $(installed) ## format the code and mend what ruff can mend by itself
	$(bin)/ruff check --fix-only .
	$(bin)/ruff format .

bench: $(installed) ## run every script in bench/: minutes each, on an otherwise idle machine
	@set -e; for script in bench/*.py; do echo "== $$script"; $(bin)/python "$$script"; done

golden: $(installed) ## write the reference pages and the golden files anew; then read the diff
	@$(bin)/python -m pytest -m golden --golden

lock: $(bin)/python ## write requirements.lock anew, with the newest versions that fit
	@$(bin)/python -m venv .venv/lock && .venv/lock/bin/python -m pip install --quiet uv
	.venv/lock/bin/uv pip compile pyproject.toml --all-extras --group test --group build --universal \
		--upgrade --generate-hashes --no-emit-index-url --no-emit-find-links --no-header \
		--no-annotate --quiet --output-file requirements.lock

clean: ## remove .venv, caches and build outputs
	rm -rf .venv .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist
	find src tests docs bench -name __pycache__ -prune -exec rm -rf {} +

# The dashboard's tests drive a real Chromium, which Debian packages; only root can install it.
browser:
	@if command -v chromium >/dev/null || command -v chromium-browser >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "installing chromium for the dashboard's tests ..."; \
		{ apt-get -qq update && \
			DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends chromium; \
		} >/dev/null || echo "chromium could not be installed"; \
	else echo "chromium is not installed: the tests in a browser will be skipped"; fi

$(bin)/python:
	@for python in $(PYTHON) python3 python3.13 python3.12 python3.11; do \
		if "$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' \
			2>/dev/null; then exec "$$python" -m venv .venv; fi; \
	done; \
	echo "oddlot needs Python 3.11, 3.12 or 3.13; found none. Name one: make PYTHON=..." >&2; exit 1

$(installed): requirements.lock pyproject.toml | $(bin)/python
	@echo "installing into .venv ..."
	@$(bin)/python -m pip --disable-pip-version-check install --quiet --require-hashes \
		--requirement requirements.lock
	@$(bin)/python -m pip --disable-pip-version-check install --quiet --no-deps \
		--no-build-isolation --editable .
	@touch $@
