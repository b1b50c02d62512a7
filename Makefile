# `make demo` and `make test` do all the set-up themselves.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# the steps of a target share the environment and the machine's cores
.NOTPARALLEL:

CORES ?= $(shell getconf _NPROCESSORS_ONLN)
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: help setup setup-tests setup-slurm demo test test-unit test-real test-faults test-chemistries test-cellxgene test-crate test-determinism test-many test-chaos test-cluster test-conda lint format bench bench-reads bench-clusters bench-doublets bench-conclusions bench-statistics bench-report bench-planning page-vendor lock sbom clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' Makefile

setup: ## make .venv with the locked packages, find or install STAR
	@envs/setup.sh

setup-tests:
	@envs/setup.sh --tests

setup-slurm: ## install what submitting jobs to SLURM needs (docs/cluster.md)
	@envs/setup.sh --slurm

# the last file that the simulator writes
demo/truth/parameters.json: $(wildcard tests/demo/simulate*.py)
	@echo "simulating reads into demo/"
	@python tests/demo/simulate.py demo --size demo

demo: setup ## run the workflow on simulated reads and compare with what was planted
	@$(MAKE) --no-print-directory demo/truth/parameters.json
	@snakemake --cores $(CORES) --directory demo
	@python tests/demo/planted_found.py demo

test: lint ## run all checks: format, lint, unit, dry-run and end-to-end tests
	@pytest tests -rs --numprocesses 2 --dist loadfile --no-loadscope-reorder

test-unit: setup-tests ## run the quick tests of the scripts alone
	@pytest tests/unit

test-real: setup-tests ## run the tests on real reads: make test-real REAL_DATA=folder
	@test -d "$(REAL_DATA)" || { echo "name the folder of the data: make test-real REAL_DATA=folder" >&2; exit 2; }
	@REAL_DATA="$(REAL_DATA)" pytest tests/real -rs

test-faults: setup-tests ## run a table of faulty inputs (minutes), write docs/faults.md
	@FAULTS_TABLE="$(CURDIR)/docs/faults.md" pytest tests/faults -rs

test-chemistries: setup-tests ## run simulated reads of every chemistry (minutes), write docs/chemistries.md
	@CHEMISTRIES_TABLE="$(CURDIR)/docs/chemistries.md" pytest tests/chemistries -rs

test-cellxgene: setup-tests ## judge exports by CELLxGENE's validator, from PyPI (minutes, 1 GB)
	@CELLXGENE_VENV="$(or $(CELLXGENE_VENV),$(CURDIR)/.venv/cellxgene)" pytest tests/cellxgene -rs

test-crate: setup-tests ## judge the RO-Crate of a run by its validator, from PyPI
	@CRATE_VENV="$(or $(CRATE_VENV),$(CURDIR)/.venv/crate)" pytest tests/crate -rs

test-determinism: setup-tests ## compare runs that differ in cores, folder, time zone, locale, hash seed (minutes)
	@DETERMINISM=1 pytest tests/determinism -rs

test-many: setup-tests ## run the workflow on sixty small samples (minutes)
	@MANY_SAMPLES=1 pytest tests/e2e/test_odd_counts.py -rs

test-cluster: setup-tests ## submit the line to a SLURM started for it, with mishaps (an hour; root)
	@CLUSTER=1 pytest tests/cluster -rs

test-chaos: setup-tests ## kill runs at 35 moments, drawn from seeds, and fill disks (half an hour)
	@CHAOS=1 pytest tests/chaos -rs --capture no

test-conda: setup-tests ## run every rule in its environment of envs/, STAR from a local channel (minutes, 2 GB)
	@CONDA=1 pytest tests/conda -rs

lint: setup-tests ## check the format and the style of all code
	@snakefmt --check Snakefile rules
	@ruff check
	@ruff format --check
	@hadolint envs/container/Dockerfile
	@shfmt --diff --indent 2 --case-indent envs/setup.sh tests/cluster/stand_in_star.sh scripts/_shared/page/vendor.sh .ci/run

format: setup-tests ## bring all code into its format
	@snakefmt Snakefile rules
	@ruff check --fix
	@ruff format
	@shfmt --write --indent 2 --case-indent envs/setup.sh tests/cluster/stand_in_star.sh scripts/_shared/page/vendor.sh .ci/run

bench: demo ## run the demo, print what each rule cost, and ratios to plain references
	@python tests/benchmarks/stages.py demo
	@find demo/benchmarks -name '*.tsv' -exec awk -F '\t' ' \
	  FNR == 1 { for (i = 1; i <= NF; i++) column[$$i] = i; next } \
	  { rule = $$column["rule_name"]; jobs[rule]++; \
	    wall[rule] += $$column["s"]; cpu[rule] += $$column["cpu_time"]; \
	    if ($$column["max_rss"] + 0 > rss[rule]) rss[rule] = $$column["max_rss"] + 0 } \
	  END { row = "%-18s %5s %8s %8s %11s\n"; \
	    printf row, "rule", "jobs", "wall_s", "cpu_s", "max_rss_mb"; \
	    for (rule in jobs) printf row, rule, jobs[rule], wall[rule], cpu[rule], int(rss[rule]) \
	  }' {} + | { IFS= read -r header; echo "$$header"; sort -k 4,4nr; }

bench-reads: setup ## time reads and count on 5 M simulated reads beside STAR alone (half an hour)
	@[ -e bench/truth/parameters.json ] || python tests/demo/simulate.py bench --size bench
	@python tests/benchmarks/reads.py bench --cores $(CORES)

bench-clusters: setup ## time counts to clusters beside scanpy's tutorial: make bench-clusters CELLS=100000
	@python tests/benchmarks/clusters.py bench/clusters --cells $(or $(CELLS),100000) --cores $(CORES)

bench-doublets: setup ## how well doublets are found beside plain Scrublet (minutes)
	@OMP_NUM_THREADS=1 python tests/benchmarks/doublets.py

bench-conclusions: setup ## time labels, markers and tests on 500,000 simulated cells: make bench-conclusions CELLS=500000
	@python tests/benchmarks/conclusions.py bench/conclusions --cells $(or $(CELLS),500000) --cores $(CORES)

bench-statistics: setup ## false findings and power of the tests beside naive ones, on simulated cohorts (minutes)
	@python tests/benchmarks/expression_truth.py --first 100 --seeds 20
	@python tests/benchmarks/expression_truth.py --first 100 --seeds 3 --cells
	@python tests/benchmarks/composition_truth.py

bench-planning: setup ## what a run costs before its jobs, and a job before its work, up to 1,000 samples (minutes)
	@python tests/benchmarks/planning.py

bench-report: setup ## what the page's cell explorer costs: make bench-report CELLS=1000000
	@OPENBLAS_NUM_THREADS=1 python tests/benchmarks/report.py bench/report --cells $(or $(CELLS),1000000)

page-vendor: ## bundle the chart library of the page anew, from its lock (needs npm)
	@scripts/_shared/page/vendor.sh

lock: ## write the locks anew from the .in files: make lock [UPGRADE=1]
	@envs/setup.sh --lock $(if $(UPGRADE),--upgrade)

sbom: ## list the locked packages as CycloneDX JSON: reads2cells.cdx.json (docs/releases.md)
	@[ -x .venv/sbom/bin/cyclonedx-py ] || { python3 -m venv .venv/sbom && .venv/sbom/bin/python -m pip install \
	  --quiet --disable-pip-version-check --require-hashes -r envs/sbom.txt; }
	@.venv/sbom/bin/cyclonedx-py requirements --output-reproducible --spec-version 1.6 \
	  --output-format JSON --validate --output-file reads2cells.cdx.json envs/requirements.txt
	@echo "reads2cells.cdx.json lists the packages of envs/requirements.txt with their hashes"

clean: ## remove .venv, simulated reads and what the tools keep
	@rm -rf .venv demo bench .snakemake .ruff_cache .pytest_cache tests/.pytest_cache
	@find scripts tests -name __pycache__ -prune -exec rm -rf {} +
