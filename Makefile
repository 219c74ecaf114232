# Every target sets up what it needs by itself (tools/setup.sh) and is quick when nothing changed.
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test test-gpu lint bench test-parity wheel lock clean

BIN := .venv/bin
PARITY := build/parity
UV := uv==0.13.9
COMPILE = .venv-lock/bin/uv pip compile pyproject.toml - --quiet --universal --python-version 3.12 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command "make lock"

help:          ## this list
	@sed -n 's/^\([a-z-]*:\) *[^#]*## /\1 /p' Makefile | awk -F': ' '{ printf "make %-12s %s\n", $$1, $$2 }'

demo:          ## watch the built-in model write programs turn by turn, each turn run
	@tools/setup.sh core
	@$(BIN)/polyturn demo

test:          ## all tests but parity
	@tools/setup.sh test
	@$(BIN)/python -m pytest

lint:          ## ruff, import-linter (the floors of the house) and pyright
	@tools/setup.sh lint
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet . || { echo "Run .venv/bin/ruff format ."; exit 1; }
	@report=$$($(BIN)/lint-imports --no-logo) && echo "$$report" | tail -n 1 || { echo "$$report"; exit 1; }
	@PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright

bench:         ## every script in benchmarks/; the last line of each is its result as JSON
	@tools/setup.sh test
	@set -e; for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python "$$script"; done

test-parity:   ## fresh outputs of transformers against ours
	@tools/setup.sh test
	@tools/setup.sh parity
	@rm -rf $(PARITY)
	@$(BIN)/python tests/parity/write_ours.py --out $(PARITY)
	@.venv-parity/bin/python tests/parity/make_reference.py --out $(PARITY)
	@$(BIN)/python -m pytest tests/parity -m parity --reference $(PARITY)

# In whatever environment has JAX for the GPU, with optax and pytest; not in .venv, whose JAX is for CPUs.
test-gpu:      ## attention and a training step on this machine's GPU (PYTHON=... with JAX for it)
	@PYTHONPATH=src JAX_PLATFORMS=cuda,cpu XLA_PYTHON_CLIENT_PREALLOCATE=false $${PYTHON:-python3} -m pytest tests/gpu \
		-o addopts=--import-mode=importlib -rs -W default

wheel:         ## dist/polyturn-*.whl
	@tools/setup.sh core
	@$(BIN)/python -m pip --quiet --disable-pip-version-check wheel --no-index --no-deps --no-build-isolation -w dist .
	@ls dist/*.whl

# Pins that still fit are kept; delete requirements/*.lock first to take the newest versions. The build backend is
# locked too, so that installing Polyturn itself fetches nothing.
lock:          ## requirements/*.lock anew from pyproject.toml
	@python=$$(tools/find_python.sh) && "$$python" -m venv .venv-lock
	@.venv-lock/bin/python -m pip --quiet --disable-pip-version-check install $(UV)
	@printf 'hatchling\neditables\n' | $(COMPILE) --extra train --extra data --extra cluster --extra test --extra lint -o requirements/lint.lock
	@printf 'hatchling\neditables\n' | $(COMPILE) --extra train --extra data --extra cluster --extra test -c requirements/lint.lock -o requirements/test.lock
	@printf 'hatchling\neditables\n' | $(COMPILE) -c requirements/lint.lock -o requirements/core.lock
	@rm -rf .venv-lock

clean:         ## everything that make has made, environments included
	@rm -rf .venv .venv-parity .venv-graders .venv-datatrove .venv-lock .venv.installing .venv-parity.installing build dist \
		.hypothesis .import_linter_cache .pytest_cache .ruff_cache
	@find src tests benchmarks tools -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
