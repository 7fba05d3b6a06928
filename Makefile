# Names for commands: what they do is in scripts/ and in Rust.

export SOURCES PROFILES OUT SHARDS IMAGE ARCH
export ROLE SUBNET_ID KEEP_IMAGES
export TRACKS SHORTEST LONGEST REPEAT
export STACK ALLOWED_CIDR VPC_ID SUBNET_IDS PARAMETERS DRY_RUN YES
export PATH := $(CURDIR)/.venv/bin:$(PATH)
PROGRAMS := $(or $(CARGO_TARGET_DIR),target)/debug
.DEFAULT_GOAL := help

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install what is missing: Debian packages (needs root) and .venv; does nothing when all is there
	@scripts/setup

build: ## Build every program and test
	cargo build --workspace --all-targets

run: setup ## Compile a collection in the local cloud: [SOURCES=dir] [PROFILES=dir] [OUT=dir] [SHARDS=n] [IMAGE=1: on the images]; without SOURCES the sample
	@scripts/run

stop: ## End the local cloud; what it holds is kept
	@scripts/stop

clean-twin: stop ## Forget the local cloud: its state and the sample
	rm -rf .twin

env: ## Print the variables that make aws and vibes talk to the local cloud: eval "$(make -s env)"
	@$(PROGRAMS)/vibes-twin env --state .twin

test: setup ## Run everything that tests, with the time of each part
	@scripts/test

lint: setup ## Formatting, clippy, documentation, licences of crates, templates and scripts, warnings as errors
	@scripts/lint

advisories: setup ## Look our crates up in the RustSec database of known holes; needs github.com
	cargo deny --log-level error check advisories

doc: ## Make the documentation of our crates (target/doc), warnings as errors
	RUSTC_WORKSPACE_WRAPPER=$(CURDIR)/scripts/examine cargo build --workspace --all-targets --quiet

check: lint test ## What CI runs: lint, test, and a tree that is clean afterwards
	@scripts/clean-tree

chaos: setup ## Break every call, state and step of a build, run after run, and its power, and print a table: [VIBES_CHAOS_LANES=7] [VIBES_CHAOS_ONLY=text] [VIBES_POWER_CUTS=200]
	@scripts/chaos

fuzz: setup ## Try the property tests of the compiler with ever new cases: [MINUTES=10] [PROPTEST_CASES=2000]
	@scripts/fuzz

measure: setup ## Measure a full, an incremental and an up-to-date run of the sample, as Markdown; forgets the local cloud
	@scripts/measure

measure-scale: ## Measure the compiler on large collections, as Markdown: [TRACKS="2000 20000 100000"]
	@scripts/measure-scale

bench: ## Encode the same tracks by our build, by xargs with the bare encoders, and by beets, as Markdown: [TRACKS=60] [SHORTEST=20] [LONGEST=240] [REPEAT=3]
	@scripts/bench

package: setup ## Build, check, weigh and zip the functions for Lambda, for both its processors: [ARCH=arm64|x86_64]
	@scripts/package

measure-starts: setup ## Measure how the packaged functions start, beside one in Python, as Markdown
	@scripts/measure-starts

deploy: ## Deploy to the AWS account of the environment: ALLOWED_CIDR=ip/n [PROFILES=dir] [STACK=name] [VPC_ID= SUBNET_IDS=] [PARAMETERS="K=V ..."] [DRY_RUN=1]
	@scripts/deploy

destroy: ## Delete an installation, its data stays: [STACK=name] [YES=name]
	@scripts/destroy

image: setup ## Make the image of each role in target/image, by the scripts that make the real ones, and check it
	@scripts/image

ami: setup ## Make the machine image of a role in the AWS account of the environment: ROLE=volmgr|worker|server [STACK=name] [SUBNET_ID=] [KEEP_IMAGES=3]
	@scripts/ami

requirements: setup ## Pin the Python programs of requirements.in anew
	@scripts/requirements

.PHONY: help setup build run stop clean-twin env test lint advisories doc check chaos fuzz measure measure-scale bench package measure-starts deploy destroy image ami requirements
