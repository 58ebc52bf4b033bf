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
$(eval $(call program_rule,weft,$(call objs,tools/weft/main.c),tool codegen otlp $(CORE_PROGRAM_UNITS),$(USE_CORE)))
$(eval $(call program_rule,weft-sidecar,$(call objs,sidecar/main.c) $(HOT_OBJS),$(filter-out $(HOT_UNITS),$(SIDECAR_PROGRAM_UNITS)),$(if $(HOT_OBJS),-flto -flto-partition=one),$(HOT_LIBS)))
$(eval $(call program_rule,weft-telemetry,$(call objs,$(filter services/telemetry/main.c,$(TELEMETRY_SRC))),telemetry otlp $(LIB_UNITS) $(STORE_UNITS)))
$(eval $(call program_rule,weft-control,$(call objs,services/control/main.c),$(CONTROL_PROGRAM_UNITS)))
$(eval $(call program_rule,weft-shop,$(call objs,$(filter %/main.c,$(SHOP_SRC))),shop $(CORE_PROGRAM_UNITS),$(USE_CORE)))
$(foreach p,$(DEMO_PROGRAMS),$(eval $(call program_rule,$p,$(call objs,deploy/demo/$(p:weft-%=%).c),shop $(CORE_PROGRAM_UNITS),$(USE_CORE))))

# ---- unit tests: tests/unit/<room>/test_*.c, one cmocka program each.
# A room is linked with what it may use, so a broken room above does not stop its tests.
TEST_UNITS_base := testsupport base
TEST_UNITS_http := testsupport http base
TEST_UNITS_h2 := testsupport h2 http base
TEST_LIBS_h2 := -lnghttp2
TEST_UNITS_crypto := testsupport crypto base
TEST_UNITS_net := testsupport net crypto base
TEST_UNITS_wire := testsupport h2 http net crypto base
TEST_UNITS_pb := testsupport testgen gen gen0 pb base
TEST_UNITS_store := testsupport store base
TEST_UNITS_telemetry := testsupport telemetry otlp rpc gen gen0 store pb net crypto http h2 base
TEST_UNITS_codegen := testsupport codegen testgen gen gen0 pb base
TEST_UNITS_sidecar := testsupport sidecar http base
TEST_UNITS_sidecar_telemetry := testsupport sidecar_telemetry base
TEST_UNITS_sidecar_export := testsupport sidecar_export sidecar_telemetry otlp rpc gen gen0 pb net crypto http h2 base
TEST_UNITS_sidecar_config := testsupport sidecar_config envoy gen gen0 pb base
TEST_UNITS_control_xds := testsupport control_xds sidecar_config envoy gen gen0 pb base
TEST_UNITS_sidecar_xds := testsupport control_xds $(SIDECAR_PROGRAM_UNITS)
TEST_UNITS_sidecar_route := testsupport sidecar_route sidecar_config envoy gen gen0 pb base
TEST_UNITS_sidecar_cluster := testsupport sidecar_cluster sidecar_telemetry sidecar_config envoy gen gen0 pb base
TEST_UNITS_sidecar_admin := testsupport sidecar_admin sidecar_export sidecar_cluster sidecar_telemetry sidecar_config envoy gen gen0 pb net crypto http base
# Its contract is kept by the call above it, so the whole data path is there.
TEST_UNITS_sidecar_upstream := testsupport $(SIDECAR_PROGRAM_UNITS)
TEST_UNITS_control_model := testsupport control_model controlgen gen gen0 pb store base
TEST_UNITS_control_build := testsupport control_build control_model controlgen sidecar_config envoy gen gen0 pb store base
TEST_UNITS_rpc := testsupport testgen $(ALL_UNITS)
TEST_UNITS_all := testsupport testgen shop control controlgen telemetry otlp tool codegen $(SIDECAR_UNITS) $(ALL_UNITS)

UNIT_TEST_SRC := $(sort $(wildcard tests/unit/*/test_*.c))
INT_TEST_C := $(sort $(wildcard tests/integration/test_*.c))
room_of = $(word 3,$(subst /, ,$1))
test_units = $(or $(TEST_UNITS_$(call room_of,$1)),$(TEST_UNITS_all))
define test_rule
$(call program_rule,$(1:%.c=%),$(call objs,$1),$2,$3,-lcmocka $(TEST_LIBS_$(call room_of,$1)))
$(call objs,$1): | $(GEN0_H) $4 $(DEPS_TEST)
endef
$(foreach t,$(filter tests/unit/base/%,$(UNIT_TEST_SRC)),$(eval $(call test_rule,$t,$(TEST_UNITS_base))))
$(foreach t,$(filter-out tests/unit/base/%,$(UNIT_TEST_SRC)),$(eval $(call test_rule,$t,$(call test_units,$t),$(if $(filter core,$(call test_units,$t)),$(USE_CORE)),$(GEN2_H))))
$(foreach t,$(INT_TEST_C),$(eval $(call test_rule,$t,$(TEST_UNITS_all),$(USE_CORE),$(GEN2_H))))
# The suite of lib/rpc once more in programs without C-core, which then use the native transport.
RPC_NATIVE_SRC := $(filter tests/unit/rpc/%,$(UNIT_TEST_SRC))
RPC_NATIVE := $(patsubst tests/unit/rpc/%.c,$(BUILD)/bin/tests/unit/rpc_native/%,$(RPC_NATIVE_SRC))
$(foreach t,$(RPC_NATIVE_SRC),$(eval $(call program_rule,tests/unit/rpc_native/$(basename $(notdir $t)),$(call objs,$t),$(filter-out core,$(TEST_UNITS_rpc)),,-lcmocka)))
# The sidecars' peers in integration tests: tests/integration/sidecar_*.c, a program each.
INT_PEER_HELPERS := tests/integration/sidecar_plan.c tests/bench/bench.c
INT_PEER_C := $(filter-out $(INT_PEER_HELPERS),$(sort $(wildcard tests/integration/sidecar_*.c)))
INT_PEERS := $(patsubst %.c,$(BUILD)/bin/%,$(INT_PEER_C))
$(foreach t,$(INT_PEER_C),$(eval $(call program_rule,$(t:%.c=%),$(call objs,$t $(INT_PEER_HELPERS)),h2 http net crypto base)))
$(call objs,$(INT_PEER_C) $(INT_PEER_HELPERS)): | $(GEN0_H) $(DEPS_BUILD)
# Services that suites start: tests/integration/NAME/*.c, a program each.
INT_SERVICE_C := $(sort $(wildcard tests/integration/*/*.c))
INT_SERVICES := $(patsubst %.c,$(BUILD)/bin/%,$(INT_SERVICE_C))
$(foreach t,$(INT_SERVICE_C),$(eval $(call program_rule,$(t:%.c=%),$(call objs,$t),testgen $(CORE_PROGRAM_UNITS),$(USE_CORE))))
$(call objs,$(INT_SERVICE_C)): | $(GEN0_H) $(GEN2_H) $(DEPS_BUILD)
UNIT_TESTS := $(patsubst %.c,$(BUILD)/bin/%,$(UNIT_TEST_SRC)) $(RPC_NATIVE)

# ---- conformance: tests/conformance/test_*.c, cmocka programs too, named by what they hold us to
CONF_SRC := $(sort $(wildcard tests/conformance/test_*.c))
CONF_HELPERS := $(filter-out $(CONF_SRC),$(wildcard tests/conformance/*.c))
$(foreach t,$(CONF_SRC),$(eval $(call program_rule,$(t:%.c=%),$(call objs,$t $(CONF_HELPERS)),$(TEST_UNITS_h2),,-lcmocka -lnghttp2)))
$(call objs,$(CONF_SRC) $(CONF_HELPERS)): | $(GEN0_H) $(DEPS_TEST)
CONF_TESTS := $(patsubst %.c,$(BUILD)/bin/%,$(CONF_SRC))

# ---- programs that measure: tests/bench/h2_*.c need the engine only
BENCH_H2 := $(wildcard tests/bench/h2_*.c)
$(foreach t,$(BENCH_H2),$(eval $(call program_rule,$(t:%.c=%),$(call objs,$t),h2 http base)))
$(call objs,$(BENCH_H2)): | $(GEN0_H) $(DEPS_BUILD)

# T picks suites: T=base a room, T=base/test_arena one program, T=test_order an integration test.
T ?=
picked = $(if $T,$(foreach s,$1,$(if $(findstring /$T/,$(basename $s)/),$s)),$1)
# A make that a suite runs finds the same build.
RUN = $(if $(SAN),GEN='$(GEN)' PLUGIN='$(PLUGIN)') BUILD='$(abspath $(BUILD))' SAN='$(SAN)' CC='$(CC)' WEFT_VERSION='$(VERSION)' \
    tests/support/run --logs $(BUILD)/test-logs

# The linter's own tests need what lint needs: they are a part of `make lint`, not of `make test`.
LINT_SUITES := tests/integration/test_lint.sh
INT_SUITES := $(filter-out $(LINT_SUITES),$(wildcard tests/integration/test_*.sh tests/integration/test_*.py)) \
    $(patsubst %.c,$(BUILD)/bin/%,$(INT_TEST_C))
GOLDEN_SUITES := $(wildcard tests/golden/run.sh)
TEST_PROGRAMS = $(UNIT_TESTS) $(patsubst %.c,$(BUILD)/bin/%,$(INT_TEST_C)) $(INT_PEERS) $(INT_SERVICES)

.PHONY: test unit golden integration conformance bench-h2
test: $(ALL) $(TEST_PROGRAMS) | $(DEPS_TEST) ## Run unit, golden and integration tests (5 minutes at most)
	@$(RUN) $(UNIT_TESTS) $(GOLDEN_SUITES) $(INT_SUITES)

unit: $(call picked,$(UNIT_TESTS)) | $(DEPS_TEST) ## Run unit tests; T=base or T=base/test_arena picks
	@$(RUN) $(call picked,$(UNIT_TESTS))

golden: $(ALL) | $(DEPS_TEST) ## Run the golden tests of the code generator
	@$(RUN) $(GOLDEN_SUITES)

conformance: $(CONF_TESTS) | $(DEPS_TEST) ## Hold HTTP/2 and HPACK to their RFCs and to libnghttp2; T=test_h2 picks
	@$(RUN) $(call picked,$(CONF_TESTS))

bench-h2: $(patsubst %.c,$(BUILD)/bin/%,$(BENCH_H2)) ## Measure the HTTP/2 engine alone
	@for b in $^; do $$b; tests/bench/instructions $$b 16; tests/bench/instructions $$b 16 hop; done

integration: $(ALL) $(patsubst %.c,$(BUILD)/bin/%,$(INT_TEST_C) $(RPC_NATIVE_SRC)) $(INT_PEERS) $(INT_SERVICES) | $(DEPS_TEST) ## Run integration tests; T=test_order picks
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
