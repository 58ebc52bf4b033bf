# make install DESTDIR=… PREFIX=/usr/local

PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
BINDIR ?= $(PREFIX)/bin
# Generated headers that users include live apart, so that they can be system headers to a compiler.
GENDIR := $(INCLUDEDIR)/weft-gen
INSTALLED_PROTOS := $(if $(STAGE2),$(filter $(STAGE2),$(LIB_PROTOS)))
INSTALLED_HDR := $(WKT:%=%.pb-c.h) $(STAGE2_WKT:%=%.weft.h) $(INSTALLED_PROTOS:%=%.pb-c.h) $(INSTALLED_PROTOS:%=%.weft.h)
D := $(DESTDIR)

define pc_weft
prefix=$(PREFIX)
libdir=$(LIBDIR)
includedir=$(INCLUDEDIR)

Name: weft
Description: gRPC for C: generated stubs, messages, runtime
Version: $(VERSION)
Requires: libprotobuf-c
Libs: -L$${libdir} -lweft
Libs.private: -lssl -lcrypto -lcares -lz -lyajl -lyaml -pthread
Cflags: -I$${includedir} -isystem $${includedir}/weft-gen
endef

# The runtime finds its transport through a weak symbol: -u fetches it from the archive, and
# --no-as-needed keeps the shared library.
define pc_weft-core
prefix=$(PREFIX)
libdir=$(LIBDIR)

Name: weft-core
Description: Weft over gRPC C-core
Version: $(VERSION)
Requires: weft
Libs: -L$${libdir} -Wl,-u,weft_transport_core -Wl,--push-state,--no-as-needed -lweft-core -Wl,--pop-state
Libs.private: -lgrpc -lgpr
endef

define pc_weft-store
prefix=$(PREFIX)
libdir=$(LIBDIR)

Name: weft-store
Description: sqlite store of Weft: migrations, transactions, leases
Version: $(VERSION)
Requires: weft
Libs: -L$${libdir} -lweft-store
Libs.private: -lsqlite3
endef

.PHONY: install
install: all ## Install libraries, headers, programs, pkg-config files (DESTDIR= PREFIX=/usr/local)
	$(call say,INSTALL,$D$(PREFIX))
	$(Q)install -d '$D$(LIBDIR)/pkgconfig' '$D$(INCLUDEDIR)/weft' '$D$(BINDIR)' '$D$(PREFIX)/share/weft/proto'
	$(Q)install -m 644 lib/include/weft/*.h '$D$(INCLUDEDIR)/weft/'
	$(Q)for header in $(INSTALLED_HDR); do install -D -m 644 $(GEN)/$$header '$D$(GENDIR)/'$$header; done
	$(Q)for proto in $(patsubst %,%.proto,$(filter $(OUR),$(INSTALLED_PROTOS))); do \
	    install -D -m 644 proto/$$proto '$D$(PREFIX)/share/weft/proto/'$$proto; done
	$(Q)for library in $(LIBRARIES); do \
	    install -m 644 $(BUILD)/lib/lib$$library.a '$D$(LIBDIR)/'; \
	    install -m 755 $(BUILD)/lib/lib$$library.so.$(VERSION) '$D$(LIBDIR)/'; \
	    ln -sf lib$$library.so.$(VERSION) '$D$(LIBDIR)/'lib$$library.so.$(SOMAJOR); \
	    ln -sf lib$$library.so.$(SOMAJOR) '$D$(LIBDIR)/'lib$$library.so; done
	$(Q)for program in $(filter protoc-gen-weft weft weft-sidecar,$(PROGRAMS)); do \
	    install -m 755 $(BUILD)/bin/$$program '$D$(BINDIR)/'; done
	$(Q)$(foreach l,$(LIBRARIES),printf '%s\n' $(call quote_lines,$(pc_$l)) > '$D$(LIBDIR)/pkgconfig/$l.pc';)

define newline


endef
# Each line a word of the shell, in single quotes; an empty line is ''.
quote_lines = '$(subst $(newline),' ',$1)'
