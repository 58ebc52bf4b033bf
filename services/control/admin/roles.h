/* Who may do what at the admin API. Immutable after the start; any thread. */
#ifndef SERVICES_CONTROL_ADMIN_ROLES_H
#define SERVICES_CONTROL_ADMIN_ROLES_H

#include "weft/error.h"

#include <stddef.h>

/* Each includes those before it. */
typedef enum role { ROLE_NONE, ROLE_VIEWER, ROLE_OPERATOR, ROLE_ADMIN } role;

#define ROLES_MAX 256u

typedef struct role_grant {
    role is;
    const char *identity; /* SPIFFE ID, exactly; borrowed */
} role_grant;

typedef struct roles {
    role_grant grants[ROLES_MAX];
    size_t count;
} roles;

const char *role_name(role is); /* "viewer"; never NULL */

/* "operator=spiffe://mesh.local/ns/ops/sa/alice". The text must outlive `all`. WEFT_EPARSE with a static sentence
 * in *why; WEFT_ELIMIT. */
int roles_add(roles *all, const char *text, const char **why) WEFT_MUST_USE;

/* The highest granted; ROLE_NONE for NULL. */
role roles_of(const roles *all, const char *identity);

#endif
