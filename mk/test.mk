# Tests. Every suite is an executable that exits 0 or 1 and says how many cases passed and failed;
# tests/support/run runs them and adds up.

# ---- units only tests link
TEST_HELPERS := $(filter-out %/main.c,$(call ctree,tests/support)) \
    $(if $(wildcard tests/unit),$(shell find tests/unit -name '*.c' ! -name 'test_*.c'))
UNIT_testgen := $(call gen_objs,$(filter $(STAGE2),$(TEST_PROTOS)))
UNIT_testsupport := $(call objs,$(TEST_HELPERS))
$(UNIT_testsupport): | $(GEN0_H) $(GEN2_H) $(DEPS_TEST)

$(foreach u,$(UNITS),$(eval $(call unit_rule,$u)))
$(eval $(call program_rule,protoc-gen-weft,$(call objs,tools/codegen/main.c),codegen pb base gen0))
$(eval $(call program_rule,weft,$(call objs,tools/weft/main.c),tool codegen $(CORE_PROGRAM_UNITS),$(USE_CORE)))
$(eval $(call program_rule,weft-shop,$(call objs,$(filter %/main.c,$(SHOP_SRC))),shop $(CORE_PROGRAM_UNITS),$(USE_CORE)))

# ---- unit tests: tests/unit/<room>/test_*.c, one cmocka program each.
# A room is linked with what it may use, so a broken room above does not stop its tests.
TEST_UNITS_base := testsupport base
TEST_UNITS_pb := testsupport testgen gen gen0 pb base
TEST_UNITS_store := testsupport store base
TEST_UNITS_codegen := testsupport codegen testgen gen gen0 pb base
TEST_UNITS_sidecar_telemetry := testsupport sidecar_telemetry base
TEST_UNITS_sidecar_export := testsupport sidecar_export sidecar_telemetry base
TEST_UNITS_sidecar_config := testsupport sidecar_config envoy gen gen0 pb base
TEST_UNITS_sidecar_route := testsupport sidecar_route sidecar_config envoy gen gen0 pb base
TEST_UNITS_sidecar_cluster := testsupport sidecar_cluster sidecar_telemetry sidecar_config envoy gen gen0 pb base
TEST_UNITS_all := testsupport testgen shop tool codegen $(SIDECAR_UNITS) $(ALL_UNITS)

UNIT_TEST_SRC := $(sort $(wildcard tests/unit/*/test_*.c))
INT_TEST_C := $(sort $(wildcard tests/integration/test_*.c))
room_of = $(word 3,$(subst /, ,$1))
test_units = $(or $(TEST_UNITS_$(call room_of,$1)),$(TEST_UNITS_all))
define test_rule
$(call program_rule,$(1:%.c=%),$(call objs,$1),$2,$3,-lcmocka)
$(call objs,$1): | $(GEN0_H) $4 $(DEPS_TEST)
endef
$(foreach t,$(filter tests/unit/base/%,$(UNIT_TEST_SRC)),$(eval $(call test_rule,$t,$(TEST_UNITS_base))))
$(foreach t,$(filter-out tests/unit/base/%,$(UNIT_TEST_SRC)),$(eval $(call test_rule,$t,$(call test_units,$t),$(if $(TEST_UNITS_$(call room_of,$t)),,$(USE_CORE)),$(GEN2_H))))
$(foreach t,$(INT_TEST_C),$(eval $(call test_rule,$t,$(TEST_UNITS_all),$(USE_CORE),$(GEN2_H))))
UNIT_TESTS := $(patsubst %.c,$(BUILD)/bin/%,$(UNIT_TEST_SRC))

# T picks suites: T=base a room, T=base/test_arena one program, T=test_order an integration test.
T ?=
picked = $(if $T,$(foreach s,$1,$(if $(findstring /$T/,$(basename $s)/),$s)),$1)
# A make that a suite runs finds the same build.
RUN = $(if $(SAN),GEN='$(GEN)' PLUGIN='$(PLUGIN)') BUILD='$(abspath $(BUILD))' SAN='$(SAN)' CC='$(CC)' WEFT_VERSION='$(VERSION)' \
    tests/support/run --logs $(BUILD)/test-logs

INT_SUITES := $(wildcard tests/integration/test_*.sh tests/integration/test_*.py) \
    $(patsubst %.c,$(BUILD)/bin/%,$(INT_TEST_C))
GOLDEN_SUITES := $(wildcard tests/golden/run.sh)
TEST_PROGRAMS = $(UNIT_TESTS) $(patsubst %.c,$(BUILD)/bin/%,$(INT_TEST_C))

.PHONY: test unit golden integration
test: $(ALL) $(TEST_PROGRAMS) | $(DEPS_TEST) ## Run unit, golden and integration tests (5 minutes at most)
	@$(RUN) $(UNIT_TESTS) $(GOLDEN_SUITES) $(INT_SUITES)

unit: $(call picked,$(UNIT_TESTS)) | $(DEPS_TEST) ## Run unit tests; T=base or T=base/test_arena picks
	@$(RUN) $(call picked,$(UNIT_TESTS))

golden: $(ALL) | $(DEPS_TEST) ## Run the golden tests of the code generator
	@$(RUN) $(GOLDEN_SUITES)

integration: $(ALL) $(patsubst %.c,$(BUILD)/bin/%,$(INT_TEST_C)) | $(DEPS_TEST) ## Run integration tests; T=test_order picks
	@$(RUN) $(call picked,$(INT_SUITES))

# ---- benchmarks: tests/bench/NAME_bench.c, a program each that prints a table
BENCH_SRC := $(sort $(wildcard tests/bench/*_bench.c))
BENCHES := $(patsubst %.c,$(BUILD)/bin/%,$(BENCH_SRC))
$(foreach t,$(BENCH_SRC),$(eval $(call program_rule,$(t:%.c=%),$(call objs,$t),$(TEST_UNITS_sidecar_cluster) sidecar_route)))
$(call objs,$(BENCH_SRC)): | $(GEN0_H) $(GEN2_H)

.PHONY: bench
bench: $(BENCHES) ## Measure parts of the sidecar by themselves; T=route picks
	@$(foreach b,$(if $T,$(filter %/$T_bench,$(BENCHES)),$(BENCHES)),echo '$(notdir $b)'; $b;)

# Dependencies of every object on headers.
-include $(if $(wildcard $(BUILD)/obj),$(shell find $(BUILD)/obj -name '*.d'))
