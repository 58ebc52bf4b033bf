/* What test_shop_rpcs asks of the shop: tables of requests in JSON. "$name" stands for a value
 * that an earlier reply had. */
#ifndef TESTS_SUPPORT_SHOP_CASES_H
#define TESTS_SUPPORT_SHOP_CASES_H

#include <stddef.h>

/* A call that changes something. It is made; then again with the same key; then `other` is asked
 * for with that key; then without a key, and with a malformed one. */
struct shop_change {
    const char *method;  /* "user.CreateUser" */
    const char *request; /* without idempotency_key */
    const char *other;   /* another request */
    const char *want;    /* part of the reply's JSON */
    const char *capture; /* "u1=user.user_id", or NULL */
};
/* A call that only reads, and succeeds. */
struct shop_look {
    const char *method, *request, *want;
};
/* A call that fails and changes nothing. */
struct shop_refusal {
    const char *method, *request;
    int code;
    const char *message; /* part of it */
};

extern const struct shop_change shop_changes[];
extern const struct shop_look shop_looks[];
extern const struct shop_refusal shop_refusals[];
extern const size_t shop_change_count, shop_look_count, shop_refusal_count;

#endif
