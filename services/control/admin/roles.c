/* Who may do what: see roles.h. */
#include "services/control/admin/roles.h"

#include <string.h>

#include "weft/crypto.h"

static const char *const names[] = {"none", "viewer", "operator", "admin"};

const char *role_name(role is) { return names[is]; }

int roles_add(roles *all, const char *text, const char **why) {
    crypto_spiffe id;
    role is = ROLE_NONE;
    const size_t length = strcspn(text, "=");
    for (int r = ROLE_VIEWER; r <= ROLE_ADMIN; r++)
        if (strlen(names[r]) == length && !memcmp(names[r], text, length)) is = (role)r;
    if (is == ROLE_NONE || text[length] != '=') {
        *why = "write viewer=ID, operator=ID or admin=ID";
        return WEFT_EPARSE;
    }
    const char *identity = text + length + 1;
    if (crypto_spiffe_parse(identity, strlen(identity), &id, why) < 0) return WEFT_EPARSE;
    if (!id.path_size) {
        *why = "the identity of a trust domain is nobody's";
        return WEFT_EPARSE;
    }
    if (all->count >= ROLES_MAX) {
        *why = "more than 256 roles";
        return WEFT_ELIMIT;
    }
    all->grants[all->count++] = (role_grant){.is = is, .identity = identity};
    return 0;
}

role roles_of(const roles *all, const char *identity) {
    role best = ROLE_NONE;
    if (!identity) return ROLE_NONE;
    for (size_t i = 0; i < all->count; i++)
        if (all->grants[i].is > best && !strcmp(all->grants[i].identity, identity))
            best = all->grants[i].is;
    return best;
}
