# What one does with rampd. `make` alone lists it.

PYTHON ?= python3
BIN := .venv/bin
# More flags for `make run`, such as ARGS='--listen 127.0.0.1:6000'.
ARGS ?=
# Where `make run` listens without them.
PORT := 50051
# More flags for pytest, such as PYTEST='-k embedded'.
PYTEST ?=
# Processes that run tests. More than cores: many tests wait for time to pass.
TESTERS ?= 4

# Generated code refuses a runtime that is older than its generator, so an old generator serves the most users. It needs
# an old protobuf itself, hence an environment of its own. The floors in pyproject.toml follow it; a test compares them.
GENERATOR := grpcio-tools==1.71.2
GENERATED := client
PROTOS := $(sort $(wildcard proto/rampd/v1/*.proto))

.DEFAULT_GOAL := help
.PHONY: help run test check format lint gen bench bench-rollout stats soak mutants nightly hooks clean python free linux h2load redis-server

# $(call need,program,package): ends a target that can't be made, before anything is installed or started for it.
need = @command -v $(1) >/dev/null || \
    { echo "make $(MAKECMDGOALS) needs $(1). On Debian and Ubuntu: sudo apt-get install $(2)"; exit 1; }

##@ Every day

help: ## Lists these targets. So does `make` alone.
	@awk -F ':.*## ' '/^##@/ { print (n++ ? "\n" : "") substr($$0, 5) ":" } \
	    /^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: $(if $(findstring --listen,$(ARGS))$(RAMPD_LISTEN),,free) .venv/.server ## Starts a server on 127.0.0.1:50051 with its data in .rampd, or in your Redis with RAMPD_REDIS_URL.
	@exec $(BIN)/rampd-server --insecure-admin --no-wait-for-store --data-dir .rampd $(ARGS)

test: .venv/.dev ## Runs the tests. PYTEST='tests/unit -k freeze' runs some of them.
	$(BIN)/pytest -n $(TESTERS) --dist worksteal $(PYTEST)

format: .venv/.dev ## Puts the code into its form: ruff repairs what it can, and wraps the lines.
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

lint: .venv/.dev ## Checks the style and the types, with ruff and mypy.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

gen: .venv-gen/.made ## Generates client/rampd/v1 from proto/. Commit both.
	.venv-gen/bin/python -m grpc_tools.protoc -I proto \
	    --python_out='$(GENERATED)' --pyi_out='$(GENERATED)' --grpc_python_out='$(GENERATED)' $(PROTOS)
	.venv-gen/bin/python -m grpc_tools.protoc -I proto \
	    --include_source_info --descriptor_set_out='$(GENERATED)/rampd/v1/descriptors.binpb' $(PROTOS)

check: lint test ## Runs what CI runs: lint, and all tests. One of them compares generated code with proto/.

##@ Now and then

bench: linux h2load .venv/.bench ## Measures, and prints the tables of docs/performance.md. Needs Linux, two cores and h2load.
	$(BIN)/python -m tests.bench

bench-rollout: .venv/.dev ## Compares what a bad release harms with other rules, and draws it. A quarter of an hour.
	$(BIN)/python -m tests.bench.rollout

stats: .venv/.dev ## Simulates what the guards promise, and fails where they do not keep it. A quarter of an hour.
	$(BIN)/python -m tests.stats

soak: linux redis-server .venv/.dev ## Runs ten minutes of storm around a client and a server, and tells what they kept of it. Needs Linux and redis-server.
	$(BIN)/python -m tests.soak $(ARGS)

mutants: .venv/.dev ## Makes one line at a time wrong, and fails where its test does not notice. Ten minutes. ARGS='--only freeze' tries some.
	$(BIN)/python -m tests.mutants $(ARGS)

nightly: .venv/.dev ## Runs the tests, with the long ones, and the mutants.
	RAMPD_NIGHTLY=1 $(BIN)/pytest -n $(TESTERS) --dist worksteal $(PYTEST)
	$(BIN)/python -m tests.mutants

hooks: .venv/.dev ## Has git run lint and the comparisons of .pre-commit-config.yaml before each commit. Typed once.
	@test -x $(BIN)/pre-commit || $(BIN)/pip install --quiet --disable-pip-version-check pre-commit
	$(BIN)/pre-commit install

clean: ## Removes the environments and what tools left. The data in .rampd stays.
	rm -rf .venv .venv-gen build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

# The stamps say that the environment has what pyproject.toml asks for; .dev has all that .server has.
.venv/.dev: pyproject.toml | python
	@test -x $(BIN)/pip || $(PYTHON) -m venv --clear .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch .venv/.server $@

# Like .dev, and the libraries that rampd is compared with.
.venv/.bench: pyproject.toml | python .venv/.dev
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[bench]'
	@touch $@

.venv/.server: pyproject.toml | python
	@test -x $(BIN)/pip || $(PYTHON) -m venv --clear .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[server]'
	@touch $@

.venv-gen/.made: Makefile | python
	$(PYTHON) -m venv --clear .venv-gen
	.venv-gen/bin/pip install --quiet --disable-pip-version-check --only-binary :all: $(GENERATOR)
	@touch $@

linux:
	@test "$$(uname)" = Linux || { echo "make $(MAKECMDGOALS) needs Linux: it reads /proc and gives each process its core."; exit 1; }

h2load:
	$(call need,h2load,nghttp2-client)

redis-server:
	$(call need,redis-server,redis-server)

# Before anything is installed: whoever has to choose another port is told at once.
free: | python
	@$(PYTHON) -c 'import socket; s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); \
	    s.bind(("127.0.0.1", $(PORT)))' 2>/dev/null || \
	    { echo "Port $(PORT) is taken, perhaps by a rampd-server that runs already. On a free port: make run ARGS='--listen 127.0.0.1:0' (beside a server of this folder, with another --data-dir too)"; exit 1; }

python:
	@command -v $(PYTHON) >/dev/null || \
	    { echo "rampd needs Python 3.11 or later, and there is no $(PYTHON): make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "rampd needs Python 3.11 or later, and $(PYTHON) is $$($(PYTHON) --version): make PYTHON=/path/to/python3"; exit 1; }
