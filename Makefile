# Weft: the one entry. `make help` lists what there is; how it works is in mk/*.mk.
#
#   BUILD=dir   where everything made goes (default build): several trees can build side by side
#   CC=clang    the compiler     CFLAGS= LDFLAGS=  added to ours     V=1  show the commands
#   JOBS=n      parallel jobs (default: all processors), as does -jn
#   LTO=        without the whole-program optimisation of weft-sidecar (gcc only has it)

MAKEFLAGS += --no-builtin-rules --no-builtin-variables
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.SECONDARY:
.SUFFIXES:
.DEFAULT_GOAL := all

BUILD ?= build
# One spelling of a folder of ours: the names of targets are written into dependency files.
override BUILD := $(patsubst $(CURDIR)/%,%,$(BUILD:%/=%))
ifeq (0,$(MAKELEVEL))
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
MAKEFLAGS += -j$(JOBS)
endif
# Cleaning and building in one command must happen in the order given.
ifneq (,$(filter clean,$(MAKECMDGOALS)))
.NOTPARALLEL:
endif

VERSION := $(file <VERSION)

include mk/base.mk
include mk/gen.mk
include mk/build.mk
include mk/test.mk
include mk/bench.mk
include mk/check.mk
include mk/docs.mk
include mk/install.mk

.PHONY: all deps clean help demo

all: $(ALL) ## Build the libraries, the programs and the generated code

deps: ## Install the Debian packages that building and testing need
	@tools/deps.sh --verbose build test

demo: $(DEMO_NEEDS) ## Place orders in the shop and audit the books (DEMO=stay keeps it running)
	@BUILD='$(abspath $(BUILD))' DEMO='$(DEMO)' deploy/demo/run

clean: ## Remove everything that was made
	rm -rf '$(BUILD)'

help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' \
	    Makefile mk/*.mk
