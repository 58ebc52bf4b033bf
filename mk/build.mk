# Rooms, libraries and programs. Sources are found by wildcard: add a file and it is built.

ROOMS := base crypto net http h2 pb rpc store pattern
room_src = $(call cfiles,lib/$1)
CORE_SRC := $(wildcard lib/rpc/core*.c)
RPC_SRC := $(filter-out $(CORE_SRC),$(call room_src,rpc))
CODEGEN_LIB := $(filter-out tools/codegen/main.c,$(CODEGEN_SRC))
TOOL_SRC := $(call ctree,tools/weft)
SHOP_SRC := $(call ctree,services/shop)
TELEMETRY_SRC := $(call ctree,services/telemetry)
CONTROL_SRC := $(call ctree,services/control)
# Rooms of the sidecar, and the data path that is composed of them in sidecar/*.c.
SIDECAR_ROOMS := config route cluster telemetry export $(if $(wildcard sidecar/admin/*.c),admin) upstream $(if $(wildcard sidecar/xds/*.c),xds) identity
SIDECAR_SRC := $(call cfiles,sidecar)

# Units: objects that belong together. Tests link the units they may use (test.mk), so that a room
# is tested without those above it.
UNIT_base := $(call objs,$(call room_src,base))
UNIT_crypto := $(call objs,$(call room_src,crypto))
UNIT_net := $(call objs,$(call room_src,net))
UNIT_http := $(call objs,$(call room_src,http))
UNIT_h2 := $(call objs,$(call room_src,h2))
UNIT_pb := $(call objs,$(call room_src,pb))
UNIT_gen0 := $(call gen_pb_objs,$(WKT))
UNIT_gen := $(call gen_weft_objs,$(STAGE2_WKT)) $(call gen_objs,$(filter $(STAGE2),$(LIB_PROTOS)))
UNIT_rpc := $(call objs,$(RPC_SRC))
UNIT_core := $(call objs,$(CORE_SRC))
UNIT_store := $(call objs,$(call room_src,store))
UNIT_pattern := $(call objs,$(call room_src,pattern))
UNIT_codegen := $(call objs,$(CODEGEN_LIB))
UNIT_tool := $(call objs,$(filter-out tools/weft/main.c,$(TOOL_SRC))) $(call gen_objs,$(filter $(STAGE2),$(TOOL_PROTOS)))
UNIT_shop := $(call objs,$(filter-out %/main.c,$(SHOP_SRC))) $(call gen_objs,$(filter $(STAGE2),$(SHOP_PROTOS)))
# OTLP and the query API: of the telemetry service, of those who send to it and who ask it.
UNIT_otlp := $(call gen_objs,$(filter $(STAGE2),$(TELEMETRY_PROTOS)))
UNIT_telemetry := $(call objs,$(filter-out %/main.c,$(TELEMETRY_SRC)))

# The control plane's own contracts: of it, of sidecars and of `weft`.
UNIT_controlgen := $(call gen_objs,$(filter $(STAGE2),$(CONTROL_PROTOS)))
UNIT_control := $(call objs,$(filter-out services/control/main.c,$(CONTROL_SRC)))
UNIT_control_model := $(call objs,$(call cfiles,services/control/model))
UNIT_control_build := $(call objs,$(call cfiles,services/control/build))

# Contracts of Envoy and of the sidecar itself: for the programs that read them, not for libweft.
UNIT_envoy := $(call gen_objs,$(filter $(STAGE2),$(SIDECAR_PROTOS)))
$(foreach r,$(SIDECAR_ROOMS),$(eval UNIT_sidecar_$r := $(call objs,$(call cfiles,sidecar/$r))))
# The part of the control plane that needs nothing but contracts: also tested by itself.
UNIT_control_xds := $(call objs,$(call cfiles,services/control/xds))
UNIT_sidecar := $(call objs,$(filter-out sidecar/main.c,$(SIDECAR_SRC)))
SIDECAR_UNITS := sidecar $(SIDECAR_ROOMS:%=sidecar_%) envoy
# What the sidecar's program is linked of: no C-core.
SIDECAR_PROGRAM_UNITS := $(SIDECAR_UNITS) otlp controlgen base crypto net http h2 pb gen0 gen rpc

UNIT_LIBS_crypto := -lssl -lcrypto
UNIT_LIBS_net := -lcares
UNIT_LIBS_pb := -lprotobuf-c -lyajl -lyaml
UNIT_LIBS_rpc := -lz
UNIT_LIBS_core := -lgrpc -lgpr
UNIT_LIBS_store := -lsqlite3

LIB_UNITS := base crypto net http h2 pb gen0 gen rpc
STORE_UNITS := store pattern
ALL_UNITS := $(LIB_UNITS) core $(STORE_UNITS)

# ---- objects
$(BUILD)/obj/%.o: %.c $(BUILD)/.flags | $(DEPS_BUILD)
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D) && $(COMPILE) -isystem $(GEN) $(WARN) $(CFLAGS) $(FLAGS_$<) -MD -MP -c -o $@ $<

# The sidecar's program is optimised as a whole (gcc's -flto): what every call passes is translated once
# more for it, into gcc's own form, which is quick, and made code when the program is linked. Libraries
# and tests are made of ordinary objects. LTO= leaves it out; so do clang and the sanitizers.
LTO ?= $(if $(SAN),,$(if $(findstring gcc,$(notdir $(firstword $(CC)))),1))
HOT_UNITS := $(if $(LTO),base crypto net http h2 sidecar sidecar_route sidecar_cluster sidecar_telemetry sidecar_upstream)
HOT_OBJS := $(foreach u,$(HOT_UNITS),$(UNIT_$u:$(BUILD)/obj/%=$(BUILD)/obj/lto/%))
HOT_LIBS := $(foreach u,$(HOT_UNITS),$(UNIT_LIBS_$u))
$(BUILD)/obj/lto/%.o: %.c $(BUILD)/.flags | $(DEPS_BUILD)
	$(call say,LTO,$<)
	$(Q)mkdir -p $(@D) && $(COMPILE) -flto -isystem $(GEN) $(WARN) $(CFLAGS) $(FLAGS_$<) -MD -MP -c -o $@ $<

# What the generator is made of must not wait for what it generates.
STAGE1_OBJS := $(UNIT_base) $(UNIT_pb) $(call objs,$(CODEGEN_SRC))
$(STAGE1_OBJS): | $(GEN0_H)
STAGE3_OBJS := $(foreach u,crypto net http h2 rpc core store pattern tool shop telemetry control $(SIDECAR_UNITS),$(UNIT_$u)) \
    $(call objs,$(filter %/main.c,$(TOOL_SRC) $(SHOP_SRC) $(TELEMETRY_SRC) $(CONTROL_SRC) $(SIDECAR_SRC)) $(call cfiles,deploy/demo))
$(STAGE3_OBJS) $(HOT_OBJS): | $(GEN0_H) $(GEN2_H)

# ---- archives of units
define unit_rule
$(BUILD)/obj/unit/$1.a: $(UNIT_$1) $(BUILD)/obj/unit/$1.list
	$(Q)mkdir -p $$(@D) && rm -f $$@ && $(AR) rcs $$@ $(UNIT_$1)
ifneq (,$(filter-out clean help deps,$(or $(MAKECMDGOALS),all)))
$$(call note,$(BUILD)/obj/unit/$1.list,$(UNIT_$1))
endif
endef
unit_archives = $(foreach u,$1,$(if $(UNIT_$u),$(BUILD)/obj/unit/$u.a))
unit_libs = $(foreach u,$1,$(if $(UNIT_$u),$(UNIT_LIBS_$u)))
UNITS := $(ALL_UNITS) $(SIDECAR_UNITS) codegen tool shop otlp telemetry control control_model control_build control_xds controlgen testgen testsupport
# link UNITS: what to give the linker for them.
link_units = -Wl,--start-group $(call unit_archives,$1) -Wl,--end-group -Wl,--as-needed $(call unit_libs,$1)
# The transport is found through a weak symbol; this pulls C-core's in.
USE_CORE := $(if $(UNIT_core),-Wl$(comma)-u$(comma)weft_transport_core)

# What the control plane's program is linked of: no C-core.
CONTROL_PROGRAM_UNITS := control controlgen envoy $(LIB_UNITS) $(STORE_UNITS)

# ---- libraries: each as .a and .so
SOMAJOR := $(firstword $(subst ., ,$(VERSION)))
LIBRARIES := $(if $(strip $(UNIT_base)),weft) $(if $(UNIT_core),weft-core) $(if $(strip $(UNIT_store)),weft-store)
OBJS_weft := $(foreach u,$(LIB_UNITS),$(UNIT_$u))
OBJS_weft-core := $(UNIT_core)
OBJS_weft-store := $(foreach u,$(STORE_UNITS),$(UNIT_$u))
SOLIBS_weft := $(call unit_libs,$(LIB_UNITS))
SOLIBS_weft-core := -L$(BUILD)/lib -lweft $(UNIT_LIBS_core)
SOLIBS_weft-store := -L$(BUILD)/lib -lweft $(UNIT_LIBS_store)

define library_rule
$(BUILD)/lib/lib$1.a: $(OBJS_$1) $(BUILD)/obj/lib$1.list
	$$(call say,AR,$$@)
	$(Q)mkdir -p $$(@D) && rm -f $$@ && $(AR) rcs $$@ $(OBJS_$1)
$(BUILD)/lib/lib$1.so.$(VERSION): $(OBJS_$1) $(BUILD)/obj/lib$1.list $(BUILD)/.link $2
	$$(call say,LD,$$@)
	$(Q)mkdir -p $$(@D)
	$(Q)$(LINK) -shared -Wl,-soname,lib$1.so.$(SOMAJOR) $(LDFLAGS) -o $$@ $(OBJS_$1) -Wl,--as-needed $(SOLIBS_$1)
	$(Q)ln -sf lib$1.so.$(VERSION) $(BUILD)/lib/lib$1.so.$(SOMAJOR)
	$(Q)ln -sf lib$1.so.$(VERSION) $(BUILD)/lib/lib$1.so
ifneq (,$(filter-out clean help deps,$(or $(MAKECMDGOALS),all)))
$$(call note,$(BUILD)/obj/lib$1.list,$(OBJS_$1))
endif
endef
$(eval $(call library_rule,weft))
$(eval $(call library_rule,weft-core,$(BUILD)/lib/libweft.so.$(VERSION)))
$(eval $(call library_rule,weft-store,$(BUILD)/lib/libweft.so.$(VERSION)))
LIB_FILES := $(LIBRARIES:%=$(BUILD)/lib/lib%.a)
ifeq (,$(SAN))
LIB_FILES += $(LIBRARIES:%=$(BUILD)/lib/lib%.so.$(VERSION))
endif

# ---- programs, linked with the static libraries
# program NAME,OBJECTS,UNITS,FLAGS,LIBRARIES
define program_rule
$(BUILD)/bin/$1: $2 $(call unit_archives,$3) $(BUILD)/.link
	$$(call say,LD,$$@)
	$(Q)mkdir -p $$(@D) && $(LINK) $(LDFLAGS) $4 -o $$@ $2 $(call link_units,$3) $5
endef
CORE_PROGRAM_UNITS := $(LIB_UNITS) core $(STORE_UNITS)
PROGRAMS := $(if $(wildcard tools/codegen/main.c),protoc-gen-weft) \
    $(if $(wildcard tools/weft/main.c),weft) $(if $(wildcard services/shop/main.c),weft-shop) \
    $(if $(wildcard services/telemetry/main.c),weft-telemetry) \
    $(if $(wildcard services/control/main.c),weft-control) \
    $(if $(wildcard sidecar/main.c),weft-sidecar)
# deploy/demo/NAME.c: the demo's own clients and auditors, a program weft-NAME each.
DEMO_SRC := $(call cfiles,deploy/demo)
DEMO_PROGRAMS := $(patsubst deploy/demo/%.c,weft-%,$(DEMO_SRC))
PROGRAM_FILES := $(patsubst %,$(BUILD)/bin/%,$(PROGRAMS) $(DEMO_PROGRAMS))
ALL = $(LIB_FILES) $(PROGRAM_FILES)
DEMO_NEEDS = $(ALL)
