# Everything that judges the code beyond its tests: lint, sanitizers, fuzzers, coverage, ci, soak.

C_FILES = $(wildcard $(shell git ls-files -co --exclude-standard -- '*.c' '*.h' 2>/dev/null))

.PHONY: lint lint-test format asan tsan coverage fuzz fuzz-build fuzz-replay twice clang fresh ci soak

lint: $(GEN0_H) $(GEN2_H) | $(DEPS_CI) $(DEPS_TEST) ## Check format, includes, sizes, banned calls and run cppcheck
	@tools/lint/lint --build '$(BUILD)'

lint-test: | $(DEPS_CI) $(DEPS_TEST) ## Prove that every rule of lint fires
	@$(RUN) $(LINT_SUITES)

format: | $(DEPS_CI) ## Format all C code
	@printf '%s\n' $(C_FILES) | xargs -r clang-format -i

# ---- builds of another kind: the same targets in a BUILD of their own, the generator shared.
# $(call variant,NAME,CC): make with that SAN
variant = $(MAKE) --no-print-directory BUILD='$(BUILD)/$1' SAN='$1' CC='$2' GEN='$(GEN)' \
    PLUGIN='$(PLUGIN)' T='$T'
GENERATED := $(GEN0_H) $(GEN2_H)

# Suites of real processes that are worth their time under a sanitizer. They find the programs
# through BUILD, so they run the sanitized ones.
SAN_SUITES ?= $(filter-out $(addprefix tests/integration/test_,twice.sh install.sh first_service.py docs_reference.sh docs_balancer.py),$(INT_SUITES))

.PHONY: san-test
# One thread has no races: the engine's conformance is worth its time under ASan only.
SAN_CONF := $(if $(filter asan,$(SAN)),$(CONF_TESTS))
san-test: $(PROGRAM_FILES) $(TEST_PROGRAMS) $(SAN_CONF) | $(DEPS_TEST)
	@$(RUN) --timeout 480 $(call picked,$(UNIT_TESTS) $(SAN_CONF) $(GOLDEN_SUITES) $(SAN_SUITES))

asan: $(GENERATED) | $(DEPS_TEST) ## Run unit and integration tests under ASan and UBSan; T= picks
	+@$(call variant,asan,gcc) san-test

tsan: $(GENERATED) | $(DEPS_TEST) ## Run unit and integration tests under TSan; T= picks
	+@$(call variant,tsan,gcc) san-test

coverage: $(GENERATED) | $(DEPS_TEST) ## Show the lines per room that unit and integration tests cover; T= picks
	@find '$(BUILD)/cov' -name '*.gcda' -delete 2>/dev/null || true
	+@$(call variant,cov,gcc) san-test
	@tools/lint/coverage '$(BUILD)/cov/obj'

# ---- fuzzers: tests/fuzz/fuzz_NAME.c with corpus tests/fuzz/corpus/NAME/
FUZZ_SRC := $(sort $(wildcard tests/fuzz/fuzz_*.c))
FUZZ_HELPERS := $(filter-out $(FUZZ_SRC),$(wildcard tests/fuzz/*.c))
FUZZERS := $(patsubst %.c,$(BUILD)/bin/%,$(FUZZ_SRC))
ifeq ($(SAN),fuzz)
$(foreach t,$(FUZZ_SRC),$(eval $(call program_rule,$(t:%.c=%),$(call objs,$t $(FUZZ_HELPERS)),$(TEST_UNITS_all),-fsanitize=fuzzer,-lcmocka)))
$(call objs,$(FUZZ_SRC) $(FUZZ_HELPERS)): | $(GEN0_H) $(GEN2_H)
.PHONY: fuzzers
fuzzers: $(FUZZERS)
endif
SECONDS ?= 60

fuzz-build: $(GENERATED) | $(DEPS_CI) ## Build the fuzzers (clang, libFuzzer, ASan, UBSan)
	+@$(call variant,fuzz,clang) fuzzers

fuzz-replay: fuzz-build ## Replay all corpora through the fuzzers (60 s at most)
	@tests/support/fuzz replay '$(BUILD)/fuzz/bin/tests/fuzz' '$(BUILD)/test-logs'

fuzz: fuzz-build ## Fuzz every fuzzer for SECONDS=60 each; T=json picks
	@tests/support/fuzz run '$(BUILD)/fuzz/bin/tests/fuzz' '$(BUILD)/test-logs' $(SECONDS) $T

# ---- ci and soak
clang: $(GENERATED) | $(DEPS_CI) ## Build everything and the tests with clang, and run the unit tests
	+@$(MAKE) --no-print-directory BUILD='$(BUILD)/clang' CC=clang GEN='$(GEN)' PLUGIN='$(PLUGIN)' all unit

twice: all ## Prove that a second make does nothing and a touched contract rebuilds what depends on it
	@$(RUN) tests/integration/test_twice.sh

fresh: | $(DEPS_CI) ## Demo and test a clean clone in a chroot of Debian's base system (root)
	@BUILD='$(abspath $(BUILD))' tools/fresh.sh

# make test ends 10,000 calls that way.
COUNT ?= 100000
.PHONY: soak-calls
soak-calls: $(ALL) $(INT_PEERS) | $(DEPS_TEST) ## End 100,000 calls in every way through two sidecars and find nothing left; COUNT=, SEED=
	@COUNT=$(COUNT) $(RUN) tests/integration/test_sidecar_soak.py

# One after another: each line is a make of its own that uses all processors.
CI_STEPS := test conformance lint lint-test clang asan tsan soak-calls fuzz-replay bench-budgets fresh
ci: ## Everything of test, and lint, clang, sanitizers, corpora, a fresh machine (15 minutes)
	@tools/ci.sh '$(BUILD)' $(CI_STEPS)

SOAK_STEPS := test
soak: ## The long runs, before a capability is called complete
	@tools/ci.sh '$(BUILD)' $(SOAK_STEPS) soak-fuzz
.PHONY: soak-fuzz
soak-fuzz:
	+@$(MAKE) --no-print-directory fuzz SECONDS=600
