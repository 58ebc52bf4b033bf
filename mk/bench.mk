# Programs that measure, and the comparison with peers (tests/bench/run, docs/benchmarks.md).

DEPS_BENCH := $(BUILD)/.deps-bench
$(DEPS_BENCH): $(BUILD)/.deps-%: tools/deps.sh $(DPKG_STATUS)
	@tools/deps.sh $*
	@mkdir -p $(@D) && touch $@
$(DEPS_BENCH): | $(DEPS_TEST)

BENCH_SRC := $(wildcard tests/bench/bench_*.c)
BENCH_PROGRAMS := $(patsubst %.c,$(BUILD)/bin/%,$(BENCH_SRC))
$(foreach t,$(BENCH_SRC),$(eval $(call program_rule,$(t:%.c=%),$(call objs,$t tests/bench/bench.c),h2 http net crypto base,,-lm)))
$(call objs,$(BENCH_SRC) tests/bench/bench.c): | $(GEN0_H) $(DEPS_BUILD)

# ROUNDS=3: quick. ONLY="tcp weft" picks candidates.
ROUNDS ?= 9
ONLY ?=
BENCH_NEEDS := $(BENCH_PROGRAMS) $(filter %/weft-sidecar,$(PROGRAM_FILES))
.PHONY: bench-programs bench-sidecar bench-budgets
bench-programs: $(BENCH_PROGRAMS)

bench-sidecar: $(BENCH_NEEDS) | $(DEPS_BENCH) ## Measure the sidecar beside its peers and write docs/benchmarks.md; ROUNDS=3 is quick
	@tests/bench/run --build '$(BUILD)' --rounds $(ROUNDS) $(if $(ONLY),--only '$(ONLY)')

bench-budgets: $(BENCH_NEEDS) | $(DEPS_BENCH) ## Measure only what of the sidecar has a budget (a minute); fails beyond
	@tests/bench/sidecar_instructions --build '$(BUILD)'
	@tests/bench/run --build '$(BUILD)' --rounds $(ROUNDS) --budgets

# ---- the transports of lib/rpc
BENCH_RPC := tests/bench/rpc_pair
$(eval $(call program_rule,$(BENCH_RPC),$(call objs,$(BENCH_RPC).c),testgen $(CORE_PROGRAM_UNITS),$(USE_CORE)))
$(call objs,$(BENCH_RPC).c): | $(GEN0_H) $(GEN2_H) $(DEPS_BUILD)

.PHONY: bench-rpc
bench-rpc: $(BUILD)/bin/$(BENCH_RPC) ## Measure the CPU of a unary call over each transport
	@$<
