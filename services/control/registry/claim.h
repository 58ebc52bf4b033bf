/* One instance as it was claimed: checked, compared, copied. Pure functions. */
#ifndef SERVICES_CONTROL_REGISTRY_CLAIM_H
#define SERVICES_CONTROL_REGISTRY_CLAIM_H

#include "services/control/registry/registry.h"

/* 0, or WEFT_EINVAL with a static sentence in *why. */
int claim_check(const registry_view_instance *claim, const char **why) WEFT_MUST_USE;

/* A deep copy in `arena`. WEFT_ENOMEM; *out is then untouched. */
int claim_copy(const registry_view_instance *claim, weft_arena *arena,
               registry_view_instance *out) WEFT_MUST_USE;

/* Whether callers would see no difference. */
bool claim_equal(const registry_view_instance *a, const registry_view_instance *b);

#endif
