# Compiler flags, the shapes of rules, and the stamps that make a second `make` do nothing.

ifneq (,$(filter default undefined,$(origin CC)))
CC := gcc
endif
AR ?= ar
PROTOC ?= protoc

# SAN picks a kind of build; use it with a BUILD of its own (see asan, tsan, fuzz, coverage).
SAN ?=
SAN_FLAGS_asan := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
SAN_FLAGS_tsan := -fsanitize=thread -fno-omit-frame-pointer
SAN_FLAGS_fuzz := -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined \
    -fno-omit-frame-pointer -DWEFT_FUZZING=1
SAN_FLAGS_cov := --coverage -fprofile-abs-path
OPT_ := -O2 -g
OPT_asan := -O1 -g
OPT_tsan := -O1 -g
OPT_fuzz := -O1 -g
OPT_cov := -O0 -g

WARN := -Wall -Wextra -Wshadow -Wconversion -Werror
# -isystem for generated code: protobuf-c's headers and macros are not clean under our warnings.
# The .weft.c files are compiled with -I instead, so ours are held to them.
CPPFLAGS_ALL = -D_GNU_SOURCE= -DWEFT_VERSION='"$(VERSION)"' -Ilib/include -I. $(CPPFLAGS)
# Extra flags of one object: FLAGS_<path of the source> = …
COMPILE = $(CC) -std=gnu17 $(OPT_$(SAN)) -fPIC -pthread $(SAN_FLAGS_$(SAN)) $(CPPFLAGS_ALL)
LINK = $(CC) -pthread $(OPT_$(SAN)) $(SAN_FLAGS_$(SAN)) $(CFLAGS)

ifeq (,$(V))
Q := @
say = @printf '  %-8s %s\n' '$1' '$(patsubst $(BUILD)/%,%,$2)';
else
Q :=
say =
endif

# $(call note,FILE,TEXT): FILE holds TEXT; it is written only when that changes, so that what
# depends on it is made again when flags change or a source is added or removed.
comma := ,
# Read by cat: make 4.3's own $(file <) sometimes returns more than the file holds.
note = $(if $(and $(wildcard $1),$(if $(subst x$(shell cat $1)x,,x$(strip $2)x),,same)),,$(shell mkdir -p $(dir $1))$(file >$1,$(strip $2)))

# Packages: one stamp a set, checked again only after dpkg changed something. Everything that runs
# a tool has the stamp as an order-only prerequisite.
DPKG_STATUS := $(wildcard /var/lib/dpkg/status)
DEPS_BUILD := $(BUILD)/.deps-build
DEPS_TEST := $(BUILD)/.deps-test
DEPS_CI := $(BUILD)/.deps-ci
$(DEPS_BUILD) $(DEPS_TEST) $(DEPS_CI): $(BUILD)/.deps-%: tools/deps.sh $(DPKG_STATUS)
	@tools/deps.sh $*
	@mkdir -p $(@D) && touch $@
$(DEPS_TEST): | $(DEPS_BUILD)
$(DEPS_CI): | $(DEPS_TEST)

# Recipes that only print or remove need no notes written.
ifneq (,$(filter-out clean help deps,$(or $(MAKECMDGOALS),all)))
$(call note,$(BUILD)/.flags,$(COMPILE) $(WARN) $(CFLAGS))
$(call note,$(BUILD)/.link,$(LINK) $(LDFLAGS))
endif

# objs FILES: the objects of C sources; cfiles FOLDERS: C sources directly in folders;
# ctree FOLDERS: C sources anywhere below.
objs = $(patsubst %.c,$(BUILD)/obj/%.o,$1)
cfiles = $(sort $(wildcard $(addsuffix /*.c,$1)))
ctree = $(if $(wildcard $1),$(sort $(shell find $(wildcard $1) -name '*.c')))
