/* Instances as messages. */
#ifndef SERVICES_CONTROL_REGISTRY_WIRE_H
#define SERVICES_CONTROL_REGISTRY_WIRE_H

#include "services/control/registry/registry.h"
#include "weft/buf.h"
#include "weft/control/v1/registry.pb-c.h"

registry_view_health wire_health(WeftControl__Health health);
WeftControl__Health wire_health_of(registry_view_health health);

/* What a message claims; arrays in `arena`, strings the message's. WEFT_ENOMEM. */
int wire_claim(const WeftControl__Register *message, weft_arena *arena,
               registry_view_instance *out) WEFT_MUST_USE;

/* A view as bytes of a Saved message, and back (strings in `arena`). WEFT_EPARSE, WEFT_ENOMEM. */
int wire_save(const registry_view *view, weft_arena *arena, const uint8_t **data,
              size_t *size) WEFT_MUST_USE;
int wire_load(const void *data, size_t size, weft_arena *arena, registry_view *out) WEFT_MUST_USE;

#endif
