# Generated code, in three stages:
#   0  protoc-gen-c compiles the well-known types the generator itself needs
#   1  protoc-gen-weft is linked (build.mk)
#   2  protoc-gen-weft compiles every other contract, and the well-known types' descriptors
# FILE.proto becomes $(GEN)/FILE.pb-c.[ch] (messages) and $(GEN)/FILE.weft.[ch] (stubs, descriptors).
# A sanitizer build takes GEN and PLUGIN from the plain build.

GEN ?= $(BUILD)/gen
PLUGIN ?= $(BUILD)/bin/protoc-gen-weft
SYSTEM_PROTO := /usr/include
GRPC_PROTO := /usr/share/grpc-proto

WKT := $(addprefix google/protobuf/,descriptor compiler/plugin any timestamp duration struct \
    wrappers field_mask empty api type source_context)
GRPC_LIB := grpc/health/v1/health grpc/reflection/v1/reflection grpc/reflection/v1alpha/reflection
GRPC_TEST := grpc/testing/empty grpc/testing/messages grpc/testing/test

# Contracts of ours, and those of tests: any tests/**/proto/ folder is an import root of its own.
# Their names below it must differ from all others (start with test/). Folders of broken contracts
# are called something else.
OUR := $(if $(wildcard proto),$(patsubst proto/%.proto,%,$(sort $(shell find proto -name '*.proto'))))
TEST_PROTO_ROOTS := $(if $(wildcard tests),$(sort $(shell find tests -type d -name proto)))
roots_protos = $(patsubst $1/%.proto,%,$(shell find $1 -name '*.proto'))
TEST_OWN := $(sort $(foreach r,$(TEST_PROTO_ROOTS),$(call roots_protos,$r)))

SHOP_PROTOS := $(filter shop/%,$(OUR))
TOOL_PROTOS := $(filter weft/up/%,$(OUR))
SIDECAR_PROTOS := $(filter envoy/% xds/% weft/sidecar/%,$(OUR))
TELEMETRY_PROTOS := $(filter opentelemetry/% weft/telemetry/%,$(OUR))
CONTROL_PROTOS := $(filter weft/control/% weft/mesh/% weft/config/%,$(OUR))
LIB_PROTOS := $(filter google/%,$(OUR)) $(GRPC_LIB)
TEST_PROTOS := $(GRPC_TEST) $(TEST_OWN)
OTHER_PROTOS := $(filter-out $(SHOP_PROTOS) $(LIB_PROTOS) $(TOOL_PROTOS) $(SIDECAR_PROTOS) $(TELEMETRY_PROTOS) $(CONTROL_PROTOS),$(OUR))

CODEGEN_SRC := $(call ctree,tools/codegen)
CODEGEN_HDR := $(wildcard tools/codegen/*.h)
ifneq (,$(filter tools/codegen/main.c,$(CODEGEN_SRC)))
STAGE2 := $(LIB_PROTOS) $(SHOP_PROTOS) $(TOOL_PROTOS) $(SIDECAR_PROTOS) $(TELEMETRY_PROTOS) $(CONTROL_PROTOS) $(OTHER_PROTOS) $(TEST_PROTOS)
STAGE2_WKT := $(WKT)
endif

GEN0_C := $(WKT:%=$(GEN)/%.pb-c.c)
GEN0_H := $(WKT:%=$(GEN)/%.pb-c.h)
GEN2_H := $(STAGE2:%=$(GEN)/%.pb-c.h) $(STAGE2:%=$(GEN)/%.weft.h) $(STAGE2_WKT:%=$(GEN)/%.weft.h)
gen_pb_objs = $(1:%=$(BUILD)/obj/gen/%.pb-c.o)
gen_weft_objs = $(1:%=$(BUILD)/obj/gen/%.weft.o)
gen_objs = $(call gen_pb_objs,$1) $(call gen_weft_objs,$1)

# Where a contract is found: ours, a test's own root, the system's.
proto_root = $(firstword $(foreach r,proto $(TEST_PROTO_ROOTS) $(GRPC_PROTO) $(SYSTEM_PROTO),$(if $(wildcard $r/$1.proto),$r)))
PROTO_PATH = $(addprefix -I,$(wildcard proto) $(2) $(SYSTEM_PROTO) $(GRPC_PROTO))

# protoc's dependency file, plus an empty rule for each import so that a removed one is no error.
tidy_deps = awk '{ gsub(/\\/, ""); all = all " " $$0 } \
    END { print all; sub(/.*:/, "", all); n = split(all, dep, " "); \
          for (i = 1; i <= n; i++) print dep[i] ":" }'

# stage0 NAME
define stage0_rule
$(GEN)/$1.pb-c.c $(GEN)/$1.pb-c.h &: | $(DEPS_BUILD)
	$$(call say,PROTO,$1.proto)
	$(Q)mkdir -p $(GEN) && $(PROTOC) -I$(SYSTEM_PROTO) --c_out=$(GEN) $1.proto
endef
# A package upgrade is seen through the file itself where it exists at this time.
define stage0_deps
$(GEN)/$1.pb-c.c $(GEN)/$1.pb-c.h: $(wildcard $(SYSTEM_PROTO)/$1.proto)
endef

# stage2 NAME,OUTPUT SUFFIXES,OPTION,ROOT OF A TEST
# The plugin is order-only and its own sources are prerequisites: what it prints depends on them,
# and a change elsewhere in lib/base or lib/pb need not regenerate and recompile everything.
define stage2_rule
$(addprefix $(GEN)/$1,$2) &: $(wildcard $(call proto_root,$1)/$1.proto) $(CODEGEN_SRC) $(CODEGEN_HDR) | $(PLUGIN) $(DEPS_BUILD)
	$$(call say,WEFT,$1.proto)
	$(Q)mkdir -p $(dir $(GEN)/$1)
	$(Q)ASAN_OPTIONS=detect_leaks=0 $(PROTOC) $(call PROTO_PATH,,$4) --plugin=protoc-gen-weft=$(PLUGIN) \
	    --weft_out=$(GEN) $(addprefix --weft_opt=,$3) --dependency_out=$(GEN)/$1.d.tmp $1.proto
	$(Q)touch $(addprefix $(GEN)/$1,$2)
	$(Q)$$(tidy_deps) $(GEN)/$1.d.tmp > $(GEN)/$1.d && rm $(GEN)/$1.d.tmp
-include $(GEN)/$1.d
endef

$(foreach p,$(WKT),$(eval $(call stage0_rule,$p))$(eval $(call stage0_deps,$p)))
$(foreach p,$(STAGE2_WKT),$(eval $(call stage2_rule,$p,.weft.h .weft.c)))
$(foreach p,$(filter-out $(TEST_OWN),$(STAGE2)),$(eval $(call stage2_rule,$p,.pb-c.h .pb-c.c .weft.h .weft.c,messages)))
$(foreach r,$(TEST_PROTO_ROOTS),$(foreach p,$(filter $(STAGE2),$(call roots_protos,$r)),$(eval $(call stage2_rule,$p,.pb-c.h .pb-c.c .weft.h .weft.c,messages,$r))))

# Generated messages are protobuf-c's: compiled as they are. Stubs are ours: full warnings.
$(BUILD)/obj/gen/%.pb-c.o: $(GEN)/%.pb-c.c $(BUILD)/.flags | $(DEPS_BUILD)
	$(call say,CC,$(GEN)/$*.pb-c.c)
	$(Q)mkdir -p $(@D) && $(COMPILE) -isystem $(GEN) -w $(CFLAGS) -MD -MP -c -o $@ $<
$(BUILD)/obj/gen/%.weft.o: $(GEN)/%.weft.c $(BUILD)/.flags | $(DEPS_BUILD)
	$(call say,CC,$(GEN)/$*.weft.c)
	$(Q)mkdir -p $(@D) && $(COMPILE) -I$(GEN) $(WARN) -Wno-missing-braces $(CFLAGS) -MD -MP -c -o $@ $<
$(call gen_pb_objs,$(WKT)): | $(GEN0_H)
$(call gen_objs,$(STAGE2)) $(call gen_weft_objs,$(STAGE2_WKT)): | $(GEN0_H) $(GEN2_H)

# Generated code is made before the goals are looked at, as a makefile that must be remade: on an empty
# build make walks from every object through every generated header to the generator's objects, again
# after each job, and that takes it minutes. With the headers there it takes no time. Not under -n and
# -q: make remakes makefiles in earnest even then.
short := $(filter-out -% %=%,$(firstword $(MAKEFLAGS)))
dry := $(findstring n,$(short))$(findstring q,$(short))
ifneq (,$(if $(dry),,$(filter-out clean help deps format,$(or $(MAKECMDGOALS),all))))
$(GEN)/ready.mk: $(GEN0_H) $(GEN2_H)
	$(Q)mkdir -p $(@D) && touch $@
-include $(GEN)/ready.mk
endif

.PHONY: gen
gen: $(GEN0_H) $(GEN2_H) ## Generate code from all contracts
