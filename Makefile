# make demo   trains 144 networks and writes their report
# make test   lint, types, tests
# Each sets up what it needs in .venv, once.

PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3.14 python3,$(shell command -v $(name) 2>/dev/null)))
BIN := .venv/bin
SOURCES := $(shell find src conf -type f -not -path '*/__pycache__/*' 2>/dev/null)

.PHONY: demo test lint types clean help
.DELETE_ON_ERROR:

help:
	@sed -n 's/^# //p' Makefile

demo: demo/report/index.html
	@echo "The report: demo/report/index.html"
	@echo "The runs:   $(BIN)/gradlab show demo"
	@echo "Your own:   $(BIN)/gradlab run -m model.depth=5,20,50 model.activation=tanh,silu"
	@echo "And why:    $(BIN)/gradlab explain model.activation=sigmoid model.depth=10"

demo/report/index.html: .venv/.ready $(SOURCES)
	@rm -rf demo
	$(BIN)/gradlab run -m +experiment=depth_activation hydra.sweep.dir=demo
	$(BIN)/gradlab report demo

test: lint types
	$(BIN)/pytest -n 2 --dist loadgroup

lint: .venv/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/.ready
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright

.venv/.ready: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "gradlab needs Python 3.11 or later; none was found"; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "gradlab needs Python 3.11 or later; $(PYTHON) is older: make PYTHON=..."; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

clean:
	rm -rf .venv demo outputs multirun build dist .pytest_cache .ruff_cache .hypothesis
