# Commands for people who use or change rampd. `make` without a target lists them.

PYTHON ?= python3
BIN := .venv/bin
# More flags for `make run`, such as ARGS='--listen 127.0.0.1:6000'.
ARGS ?=
# The port that `make run` listens on if ARGS does not name an address.
PORT := 50051
# The same for HTTP.
HTTP_PORT := 8080
# More flags for pytest, such as PYTEST='-k embedded'.
PYTEST ?=
# How long `make chaos` breaks things.
SECONDS := 20
# The number of processes that run tests. It may be more than the cores, because many tests only wait.
TESTERS ?= 4
# With it, each process would compile all its modules again.
unexport PYTHONDONTWRITEBYTECODE

# Generated code refuses libraries that are older than its generator. So an old generator serves the most users. The
# generator needs an old protobuf, so it has its own environment. The lower bounds in pyproject.toml follow the generator.
# A test compares them.
GENERATOR := grpcio-tools==1.71.2
GENERATED := client
PROTOS := $(sort $(wildcard proto/rampd/v1/*.proto))
# The API that users have. A change of proto/ that would break their programs is refused.
BASELINE := proto/baseline.binpb

# The bare echoes of `make bench-peers`. That in Rust is left out where there is no cargo.
ECHO := tests/bench/other_servers/echo
ECHOES := build/peers/echo-go $(if $(shell command -v cargo),build/peers/echo-tonic)

# $(call installing,what,folder): pip says nothing while it works.
installing = @echo "Installing $(1) in $(2). This takes a minute or more."

.DEFAULT_GOAL := help
.PHONY: help run test check format lint gen docs baseline record-schema bench bench-peers bench-rollout stats soak chaos mutants nightly hooks clean python free linux h2load go redis-server

# $(call need,program,package): stops a target whose program is missing, before anything is installed or started.
need = @command -v $(1) >/dev/null || \
    { echo "make $(MAKECMDGOALS) needs $(1). On Debian and Ubuntu: sudo apt-get install $(2)"; exit 1; }

##@ Every day

help: ## Lists these targets. `make` without a target does the same.
	@awk -F ':.*## ' '/^##@/ { print (n++ ? "\n" : "") substr($$0, 5) ":" } \
	    /^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# Flags and ports where ARGS and the environment name no address.
OWN_LISTEN := $(if $(findstring --listen,$(ARGS))$(RAMPD_LISTEN),,--listen)
OWN_HTTP := $(if $(findstring --http,$(ARGS))$(RAMPD_HTTP),,--http)
OTHER_DATA := $(if $(findstring --data-dir,$(ARGS)),, If the other server uses this folder too, add --data-dir .rampd2 to ARGS.)

run: $(if $(OWN_LISTEN)$(OWN_HTTP),free) .venv/.server ## Starts a server on 127.0.0.1:50051, and 8080 for HTTP, with its data in .rampd, or in your Redis with RAMPD_REDIS_URL.
	@exec $(BIN)/rampd-server --insecure-admin --no-wait-for-store --data-dir .rampd $(OWN_HTTP:%=% 127.0.0.1:$(HTTP_PORT)) $(ARGS)

test: .venv/.dev ## Runs the tests. PYTEST='tests/unit -k freeze' runs some of them.
	$(BIN)/pytest -n $(TESTERS) --dist worksteal $(PYTEST)

format: .venv/.dev ## Formats the code with ruff, and repairs what ruff can repair.
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

lint: .venv/.dev ## Checks the style and the types, with ruff and mypy, and proto/ with buf.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/buf lint
	$(BIN)/buf breaking --against $(BASELINE)

gen: .venv-gen/.made ## Generates client/rampd/v1 from proto/. Commit both folders.
	.venv-gen/bin/python -m grpc_tools.protoc -I proto \
	    --python_out='$(GENERATED)' --pyi_out='$(GENERATED)' --grpc_python_out='$(GENERATED)' $(PROTOS)
	.venv-gen/bin/python -m grpc_tools.protoc -I proto \
	    --include_source_info --descriptor_set_out='$(GENERATED)/rampd/v1/descriptors.binpb' $(PROTOS)

docs: .venv/.dev ## Writes docs/cli.md, the man page docs/rampd.1 and docs/policy.schema.json from the code of `rampd`.
	$(BIN)/python -m tests.cli_document

check: lint test ## Runs the same as CI: lint and all tests. One test compares the generated code with proto/.

##@ Now and then

baseline: .venv/.dev ## Records proto/ as the API that users have. Part of each release: later changes must not break it.
	$(BIN)/buf build --exclude-source-info --output $(BASELINE)

record-schema: .venv/.dev ## Records the form of the data in Redis, after a change that raises SCHEMA. A test compares it with the code.
	$(BIN)/python -m tests.contract.test_schema

bench: linux h2load .venv/.bench ## Measures rampd, and prints the tables of docs/performance.md. Needs Linux, two cores and h2load.
	$(BIN)/python -m tests.bench

bench-peers: linux go h2load .venv/.dev $(ECHOES) ## Compares Resolve with flagd, GO Feature Flag, Flipt and bare echoes. Needs Linux, two cores, go and h2load.
	$(BIN)/python -m tests.bench --only other_servers

bench-rollout: .venv/.dev ## Simulates the jobs that a bad release harms, with rampd and with other rules, and draws them. Takes 15 minutes.
	$(BIN)/python -m tests.bench.rollout

stats: .venv/.dev ## Simulates trials, and fails if the guards break their promises. Takes 15 minutes.
	$(BIN)/python -m tests.stats

soak: linux redis-server .venv/.dev ## Puts load on a server and a client for 10 minutes, and fails if they leak. Needs Linux and redis-server.
	$(BIN)/python -m tests.soak $(ARGS)

chaos: linux redis-server .venv/.dev ## Lets clients call servers while things break, and checks every answer: make chaos SECONDS=60 SEED=1. ARGS=--planted tries bugs.
	$(BIN)/python -m tests.chaos --seconds $(SECONDS) $(if $(SEED),--seed $(SEED)) $(ARGS)

mutants: .venv/.dev ## Puts a fault into one line at a time, and fails if no test notices. Takes 20 minutes. ARGS='--only freeze' tries some.
	$(BIN)/python -m tests.mutants $(ARGS)

nightly: .venv/.dev ## Runs all tests, the long ones too, and then the mutants.
	RAMPD_NIGHTLY=1 $(BIN)/pytest -n $(TESTERS) --dist worksteal $(PYTEST)
	$(BIN)/python -m tests.mutants --at-once $(TESTERS)

hooks: .venv/.dev ## Makes git run the checks of .pre-commit-config.yaml before each commit. Type it once.
	@test -x $(BIN)/pre-commit || $(BIN)/pip install --quiet --disable-pip-version-check pre-commit
	$(BIN)/pre-commit install

clean: ## Removes the environments, and the files that tools made. The data in .rampd stays.
	rm -rf .venv .venv-gen build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

# Each stamp says that the environment has the packages that pyproject.toml asks for. .dev includes all of .server.
.venv/.dev: pyproject.toml | python
	$(call installing,rampd and what its developers need,.venv)
	@test -x $(BIN)/pip || $(PYTHON) -m venv --clear .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch .venv/.server $@

# Adds to .dev the libraries that rampd is compared with.
.venv/.bench: pyproject.toml | python .venv/.dev
	$(call installing,the libraries that rampd is compared with,.venv)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[bench]'
	@touch $@

.venv/.server: pyproject.toml | python
	$(call installing,rampd,.venv)
	@test -x $(BIN)/pip || $(PYTHON) -m venv --clear .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[server,cli]'
	@touch $@

build/peers/echo-go: $(addprefix $(ECHO)-go/,main.go go.mod go.sum)
	go build -C $(ECHO)-go -o $(CURDIR)/$@

build/peers/echo-tonic: $(addprefix $(ECHO)-tonic/,src/main.rs Cargo.toml Cargo.lock)
	cargo build --quiet --locked --release --manifest-path $(ECHO)-tonic/Cargo.toml --target-dir build/peers/tonic
	cp build/peers/tonic/release/echo-tonic $@

.venv-gen/.made: Makefile | python
	$(call installing,the generator,.venv-gen)
	$(PYTHON) -m venv --clear .venv-gen
	.venv-gen/bin/pip install --quiet --disable-pip-version-check --only-binary :all: $(GENERATOR)
	@touch $@

linux:
	@test "$$(uname)" = Linux || { echo "make $(MAKECMDGOALS) needs Linux: it reads /proc and gives each process its own core."; exit 1; }

h2load:
	$(call need,h2load,nghttp2-client)

go:
	$(call need,go,golang-go)

redis-server:
	$(call need,redis-server,redis-server)

# This check comes before the installation, so that a user who has to choose another port learns it at once.
free: | python
	@taken= args="$$ARGS"; for each in $(OWN_LISTEN:%=%,$(PORT)) $(OWN_HTTP:%=%,$(HTTP_PORT)); do flag=$${each%,*} port=$${each#*,}; \
	    $(PYTHON) -c 'import socket, sys; s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); \
	    s.bind(("127.0.0.1", int(sys.argv[1])))' $$port 2>/dev/null || \
	    { verb=$${taken:+are} taken="$${taken:+$$taken and port }$$port" args="$${args:+$$args }$$flag 127.0.0.1:0"; }; done; \
	    test -z "$$taken" || \
	    { echo "Port $$taken $${verb:-is} taken, perhaps by another rampd-server. To use free ports: make run ARGS='$$args'.$(OTHER_DATA)"; exit 1; }

python:
	@command -v $(PYTHON) >/dev/null || \
	    { echo "rampd needs Python 3.11 or later, and there is no $(PYTHON): make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "rampd needs Python 3.11 or later, and $(PYTHON) is $$($(PYTHON) --version): make PYTHON=/path/to/python3"; exit 1; }
