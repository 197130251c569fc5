# Every command of the project. CI calls these and nothing else.
SHELL := bash
.DEFAULT_GOAL := help
PYTHON ?=
VENV := .venv
BIN := $(VENV)/bin
MEMBERS := $(wildcard libs/* services/* simulators/*) cli
STAMP := $(VENV)/.installed
ARGS ?=

.PHONY: help
help: ## List these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): requirements.lock $(wildcard $(addsuffix /pyproject.toml,$(MEMBERS)))
	@PYTHON="$(PYTHON)" bash tools/install.sh $(MEMBERS)
	@touch $(STAMP)

.PHONY: install
install: $(STAMP) ## Install what is missing into .venv, from the lock

.PHONY: up
up: $(STAMP) ## Run the whole product on this machine; ARGS="--port 9000 --logs" passes flags
	@exec $(BIN)/tollgate up $(ARGS)

.PHONY: down
down: $(STAMP) ## Stop what `make up` started
	@$(BIN)/tollgate down $(ARGS)

.PHONY: test
test: $(STAMP) ## Every test, real servers included
	@$(BIN)/python -m tools.test $(ARGS)

.PHONY: lint
lint: $(STAMP) ## Lint, types, import rules
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@$(BIN)/python -m tools.typecheck
	@$(BIN)/lint-imports

.PHONY: check
check: lint ## `lint`, style that runs, stubs current
	@$(BIN)/python -m pytest -q tests/tidy

.PHONY: fmt
fmt: $(STAMP) ## Format the code
	@$(BIN)/ruff check --fix-only . ; $(BIN)/ruff format .

.PHONY: proto
proto: $(STAMP) ## Generate libs/contracts from proto/, and keep what is new from being broken later
	@$(BIN)/python -m tools.gen_proto
	@$(BIN)/python -m tools.proto_image

.PHONY: examples
examples: $(STAMP) ## Write the binary form of the examples under topics/
	@$(BIN)/python -m tools.topic_examples

.PHONY: commands
commands: $(STAMP) ## Write docs/reference/commands.md from the help of the commands
	@$(BIN)/python -m tools.gen_commands

.PHONY: settings
settings: $(STAMP) ## Write docs/reference/settings.md from the services' settings classes
	@$(BIN)/python -m tools.gen_settings

.PHONY: clients
clients: $(STAMP) ## Write docs/guides/clients.md and clients.zh.md from the clients that `tollgate client` knows
	@$(BIN)/python -m tools.gen_clients

.PHONY: errors
errors: $(STAMP) ## Write docs/reference/errors.md and errors.zh.md from edge's table of errors
	@$(BIN)/python -m tools.gen_errors

.PHONY: metrics
metrics: $(STAMP) ## Write docs/reference/metrics.md from the metrics that the services declare
	@$(BIN)/python -m tools.gen_metrics

.PHONY: failover
failover: $(STAMP) ## Write docs/reference/failover.md from the tables of the router's tests
	@$(BIN)/python -m services.router.tests.failover_page

.PHONY: usage-views
usage-views: $(STAMP) ## Write docs/reference/usage-views.md from billing's views
	@$(BIN)/python -m tools.gen_usage_views

.PHONY: schema
schema: $(STAMP) ## Write docs/reference/tollgate.schema.json and providers.md from what can be declared and what ships
	@$(BIN)/python -m tools.gen_schema
	@$(BIN)/python -m tools.gen_providers

.PHONY: support
support: $(STAMP) ## Run what proves the support matrix, and write it into docs/reference/dialects.md; ARGS=FILE runs one file of tests
	@$(BIN)/python -m tools.gen_support $(ARGS)

.PHONY: commits
commits: $(STAMP) ## Check the style of commit messages; ARGS="main..HEAD" names them
	@$(BIN)/python -m tools.commit_style $(ARGS)

.PHONY: lock
lock: ## Write requirements.lock from the members' requirements
	@$(BIN)/python tools/lock.py --upgrade

.PHONY: lock-clients
lock-clients: ## Write the locks of what tests run beside the product, with their newest versions; ARGS=FOLDER for one
	@$(BIN)/python tools/lock_clients.py $(ARGS)

.PHONY: bench
bench: $(STAMP) ## Processor time per request, against the numbers in docs/benchmarks.md
	@$(BIN)/python -m benchmarks $(ARGS)

.PHONY: chaos
chaos: $(STAMP) ## Break a running product again and again, and audit its books; ARGS="--rounds N --seed S", or "--profile cluster" with real servers
	@$(BIN)/python -m tests.chaos $(ARGS)

.PHONY: chaos-faults
chaos-faults: $(STAMP) ## Random faults of providers, and the books audited; ARGS="--minutes N --seed S"
	@$(BIN)/python -m tests.chaos.faults $(ARGS)

.PHONY: chaos-model
chaos-model: $(STAMP) ## The way of usage events as a model, thousands of runs without servers; ARGS="--examples N --seed S"
	@$(BIN)/python -m tests.model $(ARGS)

.PHONY: fuzz
fuzz: $(STAMP) ## Random bad input for whatever reads bytes from outside; ARGS="--examples N --seed S --target NAME", or "--engine atheris --minutes M"
	@$(BIN)/python -m tests.fuzz $(ARGS)

.PHONY: openapi
openapi: $(STAMP) ## Requests drawn from the published description of the API, and the replies judged; ARGS="--examples N --seed S"
	@$(BIN)/python -m tests.openapi $(ARGS)

.PHONY: bench-translation
bench-translation: $(STAMP) ## What translation costs a chunk, a small exchange and a picture, against what is aimed at
	@$(BIN)/python -m benchmarks.translation $(ARGS)

.PHONY: bench-peers
bench-peers: $(STAMP) ## Other gateways beside ours on the same workloads; ARGS="--get all" installs what can be had
	@$(BIN)/python -m benchmarks.peers $(ARGS)

.PHONY: bench-beside
bench-beside: $(STAMP) ## This tree beside another checkout, rounds in turns; ARGS="DIR --workload small --rounds N"
	@$(BIN)/python -m benchmarks.beside $(ARGS)

.PHONY: bench-page
bench-page: $(STAMP) ## Write docs/benchmarks.md and its plots from benchmarks/results
	@$(BIN)/python -m benchmarks.page

.PHONY: bench-usage
bench-usage: $(STAMP) ## What the usage store costs: booking, disk, questions; ARGS="--events N"
	@$(BIN)/python -m benchmarks.usage $(ARGS)

.PHONY: clean
clean: ## Remove what was installed and built; keeps the state under .tollgate
	@rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
