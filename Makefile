# Verbs of the project. `make demo` and `make test` do all their own set-up.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q
export PYTHONDONTWRITEBYTECODE ?= 1

.PHONY: help setup demo serve test test-postgres browser lint types bench fuzz soak docs lock clean

help:            ## this list
	@grep -hE '^[a-z-]+:.*##' Makefile | sed 's/:[^#]*## /\t/' | expand -t 16

setup: $(VENV)/.run  ## .venv with the locked dependencies and the `ceguan` command

$(VENV)/.run: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Ceguan needs Python 3.11 or newer; set PYTHON=python3.x")'
	@echo "installing the locked dependencies …"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install --require-hashes -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@echo "compiling the kernels (once) …"
	@$(BIN)/python -c 'import ceguan.intake.hj212.batch, ceguan.store.bulk, ceguan.store.numbers'
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements-dev.lock
	@echo "installing what the tests need …"
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@

demo: setup      ## a living invented city in the browser (RESET=1 from scratch, SPEED=60 time-lapse)
	@$(BIN)/ceguan demo $(if $(RESET),--reset) $(if $(SPEED),--speed $(SPEED))

serve: setup     ## gateway, clockwork and web on your own data folder (CEGUAN_DATA)
	@$(BIN)/ceguan serve

test: $(VENV)/.dev  ## all tests: unit, property, service, real browser
	@tools/system-packages
	@$(BIN)/python -m pytest -n 4 --dist loadfile $(ARGS)

# Whoever reads or writes a database. Left out: what knows none (decoder, tables, pieces of pages) or only its register
# (reloading gateways, packs bent byte by byte, the memory of long exports: minutes that say nothing more here), what
# starts its own PostgreSQL anyway (tests/store, moving, doctor, restarts), what is about SQLite's files or a disk that
# refuses (the server has its own), real browsers.
ON_POSTGRES := tests/registry tests/cases tests/watch tests/test_recompute.py \
  $(addprefix tests/operate/,test_archive.py test_ledger.py \
    $(addprefix test_backup.py::test_,drill_a_city_backed_up_while_frames_keep_coming_is_the_same_city_elsewhere \
      what_came_after_the_snapshot_is_replayed_and_a_point_in_time_can_be_asked_for)) \
  $(addprefix tests/intake/,forward test_adoption.py test_commands.py test_conversation.py test_decided.py \
    test_files.py test_interrupted.py test_national_water.py test_recording.py) \
  $(addprefix tests/web/test_,account.py api.py cases_pages.py export.py forward_pages.py intake_pages.py map.py \
    point.py public.py rights.py talk_pages.py) \
  --deselect tests/web/test_export.py::test_an_export_of_any_length_takes_no_more_memory

test-postgres: $(VENV)/.dev  ## the tests of what is stored and worked on, on a real PostgreSQL
	@CEGUAN_TEST_DATABASE=postgres $(BIN)/python -m pytest -n 4 --dist loadfile $(ON_POSTGRES) $(ARGS)

browser: $(VENV)/.dev  ## only the tests in a real browser
	@tools/system-packages
	@$(BIN)/python -m pytest tests/browser $(ARGS)

lint: $(VENV)/.dev  ## ruff, import order of the rooms
	@$(BIN)/ruff check ceguan tests bench fuzz tools
	@$(BIN)/ruff format --check ceguan tests bench fuzz tools
	@PYTHONPATH=. $(BIN)/lint-imports

types: $(VENV)/.dev  ## mypy
	@$(BIN)/mypy

bench: $(VENV)/.dev  ## one JSON line per figure
	@for file in bench/*.py; do $(BIN)/python $$file || exit 1; done

fuzz: $(VENV)/.dev  ## whatever bytes come, nothing breaks (MINUTES=10 of CPU, or SECONDS=30)
	@$(BIN)/python fuzz/run.py $(or $(SECONDS),$(shell expr 60 \* $(or $(MINUTES),10)))

soak: $(VENV)/.dev  ## the gateway under load and misfortune for MINUTES=10, docs/soak.md; KILLS=200: every process killed, docs/kills.md
	@$(BIN)/python tools/$(if $(KILLS),kills.py --kills $(KILLS) --report docs/kills.md,soak.py --minutes $(or $(MINUTES),10) --report docs/soak.md)

docs: $(VENV)/.dev  ## print the pages that come from tables
	@$(BIN)/python tools/print_docs.py

lock:            ## write the lock files anew from requirements*.in
	@for name in requirements requirements-big requirements-dev; do \
	  $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate -q $$name.in -o $$name.lock || exit 1; done

clean:           ## remove .venv and caches; the data folder stays
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build *.egg-info
