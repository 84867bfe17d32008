# Tocsin: `make` lists what there is. Needs make and Python 3.11 or later; everything else is installed under build/.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3,$(shell command -v $(name))))
DATA ?=
SEED ?= 7
ARGS ?=
SET ?=
OUT ?=
UNTIL ?=
SECONDS_EACH = $(if $(filter file,$(origin SECONDS)),60,$(or $(SECONDS),60))
WORKERS ?= 2
TOCSIN_DATA ?= $(abspath ../shared/data)
export TOCSIN_DATA

run := build/venv/bin
dev := build/venv-dev/bin
lock = $(dev)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate \
	--python-version 3.11 --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade)

.PHONY: help demo audit image test test-fast test-faults test-image fuzz check lock backtest bundle ship schemas clean \
	bench-ticks bench-gateway bench-latency bench-pump bench-engines bench-replay bench-rules bench-typologies bench-drift replay-digest chart check-chart \
	test-kubernetes-short test-kubernetes venv venv-dev

help: ## what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /\1\t/' | awk -F '\t' '{printf "  make %-22s %s\n", $$1, $$2}'

demo: $(run)/.ready ## a market day through the daemon, alerts as they ring; DATA=folder plays real streams, SEED=n another day
	@$(run)/tocsin demo --seed $(SEED) $(if $(DATA),--data "$(DATA)") $(ARGS)

test: $(dev)/.ready ## all tests but the long faults, on two processes; WORKERS=0 takes this one, as --pdb needs
	@$(dev)/pytest -n $(WORKERS) -m "not long" --durations 25 --durations-min 8 $(ARGS)

test-fast: $(dev)/.ready ## tests that need neither a broker nor more than a few seconds
	@$(dev)/pytest -n $(WORKERS) -m "not integration and not faults and not slow and not long" $(ARGS)

test-faults: $(dev)/.ready ## every fault: kills, freezes, the broker's death, rebalances
	@$(dev)/pytest -m "faults or long" --timeout 1800 $(ARGS)

fuzz: $(dev)/.ready build/fuzz/lib ## decoders of bytes by Atheris, SECONDS each (60); ARGS="rules onnx" some of them
	@PYTHONPATH=build/fuzz/lib nice -n 10 $(dev)/python -m tests.fuzz.run --seconds $(SECONDS_EACH) $(ARGS)

build/fuzz/lib: requirements/fuzz.txt $(dev)/.ready
	@rm -rf $@; $(dev)/uv pip install -q --no-deps --require-hashes --target $@ -r $<

check: $(dev)/.ready ## ruff, mypy --strict, import-linter, published schemas
	$(dev)/ruff check
	$(dev)/ruff format --check
	$(dev)/mypy --strict
	$(dev)/lint-imports --no-logo
	$(dev)/tocsin topics schemas --check
	@$(dev)/python -m tests.typologies_page | diff -q - docs/typologies.md || (echo "run make schemas"; exit 1)

chart: $(dev)/.ready ## write the chart's schema of settings, its README and the golden renders; needs helm and helm-docs
	$(dev)/python -m tests.helm.chart

check-chart: $(dev)/.ready ## lint, kubeconform, kube-score, golden renders and refusals of the chart; needs these on the PATH
	@TOCSIN_REQUIRE_HELM=1 $(dev)/pytest tests/helm $(ARGS)

test-kubernetes-short: $(dev)/.ready ## install the chart, restart and kill workers; KUBECONFIG, TOCSIN_TEST_BOOTSTRAP, TOCSIN_TEST_IMAGE
	@TOCSIN_REQUIRE_KUBERNETES=1 $(dev)/pytest tests/kubernetes -m "not long" $(ARGS)

test-kubernetes: $(dev)/.ready ## the whole table of faults, written to docs/reliability.md; TOCSIN_TEST_BROKER_{KILL,START,CUT,MEND} too
	@TOCSIN_REQUIRE_KUBERNETES=1 TOCSIN_TEST_PAGE=1 $(dev)/pytest tests/kubernetes --ignore tests/kubernetes/test_page.py $(ARGS)

lock: $(dev)/.ready ## resolve requirements/*.txt anew; UPGRADE=1 takes newer versions
	$(lock) pyproject.toml --group dev --group build --extra train --extra mpnet --extra bench --extra otel --extra flac \
		--extra openvino --extra rtx --extra ray --extra s3 --override requirements/dev.override -o requirements/dev.txt
	$(lock) pyproject.toml --extra s3 -c requirements/dev.txt -o requirements/runtime.txt
	$(lock) pyproject.toml --extra cuda --extra s3 -c requirements/dev.txt --override requirements/cuda.override -o requirements/cuda.txt
	$(lock) pyproject.toml --extra s3 --extra ray --extra train -c requirements/dev.txt --override requirements/dev.override \
		-o requirements/jobs.txt
	$(lock) --group build -c requirements/dev.txt -o requirements/build.txt
	$(lock) --group fuzz -o requirements/fuzz.txt

audit: $(dev)/.ready ## licences of what ships, a bill of materials, and advisories: ARGS="--osv all.zip"
	@$(dev)/python scripts/audit.py $(ARGS)

image: ## the container image tocsin:latest (CPU), built by docker
	docker build -t tocsin:latest --target cpu .

test-image: $(dev)/.ready ## run and look into the image that `make image` built
	@TOCSIN_TEST_IMAGE=$${TOCSIN_TEST_IMAGE:-tocsin:latest} $(dev)/pytest tests/image $(ARGS)

backtest: $(dev)/.ready ## train, replay and judge a real set: SET=pump_trades, stocknet or maec; DATA, OUT=folders
	@TOCSIN=$(dev)/tocsin scripts/backtest.sh "$(SET)" "$(or $(DATA),$(TOCSIN_DATA))" "$(or $(OUT),build/backtests/$(SET))" \
		$(UNTIL)

bundle: $(dev)/.ready ## train the default model bundle from scratch into bundles/default
	$(dev)/python -m engines.training.build --data "$(TOCSIN_DATA)" --out bundles/default $(ARGS)

ship: $(dev)/.ready ## write the digest of bundles/default into the code, which trusts it by that; `make bundle` does so by itself
	$(dev)/python -m engines.training.ship

schemas: $(dev)/.ready ## write the published JSON Schemas, the AsyncAPI document and the page of typologies
	$(dev)/tocsin topics schemas
	$(dev)/python -m tests.typologies_page > docs/typologies.md

bench-ticks: $(dev)/.ready ## CPU per tick beside aiokafka, Quix Streams and bytewax
	$(dev)/python -m benchmarks.ticks $(ARGS)

bench-gateway: $(dev)/.ready ## single ticks a second through the gateway
	$(dev)/python -m benchmarks.gateway $(ARGS)

bench-latency: $(dev)/.ready ## from tick or news item to alert
	$(dev)/python -m benchmarks.latency $(ARGS)

bench-pump: $(dev)/.ready ## pump and dump on real trades
	$(dev)/python -m benchmarks.pump $(ARGS)

bench-engines: $(dev)/.ready ## encoders by precision beside torch, fusion, the full event, the daemon's start
	$(dev)/python -m benchmarks.engines $(ARGS)

bench-replay: $(dev)/.ready ## ticks a second of a replay, without models and with them, and over Ray
	$(dev)/python -m benchmarks.replay $(ARGS)

bench-typologies: $(dev)/.ready ## misconduct found on simulated days, CPU and memory of the typologies of orders
	$(dev)/python -m benchmarks.typologies $(ARGS)

bench-rules: $(dev)/.ready ## scenarios of the rule language judged a second of CPU
	$(dev)/python -m benchmarks.rules $(ARGS)

bench-drift: $(dev)/.ready ## drift detectors on splices of real streams, members that learn as they go, thresholds that follow
	$(dev)/python -m benchmarks.progressive --data "$(TOCSIN_DATA)"
	$(dev)/python -m benchmarks.drift --data "$(TOCSIN_DATA)" $(ARGS)
	$(dev)/python -m benchmarks.adaptation --data "$(TOCSIN_DATA)"

replay-digest: $(dev)/.ready ## replay the golden recording; the last line is the digest of its alerts
	@$(dev)/python -m tests.golden.replay_digest

venv: $(run)/.ready ## the runtime's environment, build/venv
venv-dev: $(dev)/.ready ## the developer's environment, build/venv-dev

clean: ## forget what was built; locks, data and bundles stay
	rm -rf build dist .tocsin .hypothesis .ruff_cache .import_linter_cache

$(run)/.ready: requirements/runtime.txt requirements/build.txt
	@PYTHON="$(PYTHON)" scripts/venv.sh build/venv requirements/runtime.txt

$(dev)/.ready: requirements/dev.txt requirements/build.txt
	@PYTHON="$(PYTHON)" scripts/venv.sh build/venv-dev requirements/dev.txt
