/* The user service: who buys. Contract: proto/shop/user/v1/user.proto */
#include <string.h>

#include "services/shop/shop.h"
#include "shop/user/v1/user.weft.h"

static const weft_migration migrations[] = {
    SHOP_MIGRATION_COMMON,
    {"users", "CREATE TABLE user ("
              "  user_id TEXT PRIMARY KEY,"
              "  email TEXT NOT NULL COLLATE NOCASE UNIQUE,"
              "  display_name TEXT NOT NULL,"
              "  state INTEGER NOT NULL CHECK (state IN (1, 2)),"
              "  suspended_for TEXT,"
              "  revision INTEGER NOT NULL,"
              "  created INTEGER NOT NULL,"
              "  updated INTEGER NOT NULL"
              ") WITHOUT ROWID;"},
};

/* ---- rows */

#define COLUMNS "user_id, email, display_name, state, revision, created, updated"

static User__User *user_of(weft_ctx *ctx, weft_stmt *row) {
    User__User *user = user_user_new(ctx);
    if (!user) return NULL;
    user->state = (User__UserState)weft_stmt_int(row, 3);
    user->etag = weft_printf(ctx, "r%lld", (long long)weft_stmt_int(row, 4));
    const bool whole = user->etag && shop_set_text(ctx, &user->user_id, weft_stmt_text(row, 0)) &&
                       shop_set_text(ctx, &user->email, weft_stmt_text(row, 1)) &&
                       shop_set_text(ctx, &user->display_name, weft_stmt_text(row, 2)) &&
                       shop_set_time(ctx, &user->create_time, weft_stmt_int(row, 5)) &&
                       shop_set_time(ctx, &user->update_time, weft_stmt_int(row, 6));
    return whole ? user : NULL;
}

static weft_status find(weft_ctx *ctx, weft_tx *tx, const char *user_id, User__User **user) {
    weft_stmt *row =
        weft_tx_query(tx, "SELECT " COLUMNS " FROM user WHERE user_id = ?", "s", user_id);
    if (!weft_stmt_row(row)) return weft_not_found(ctx, "no user \"%s\"", user_id);
    *user = user_of(ctx, row);
    return *user ? weft_ok() : shop_no_memory(ctx);
}

/* ---- reading */

static weft_status get_user(weft_ctx *ctx, const User__GetUserRequest *req,
                            User__GetUserResponse *reply) {
    SHOP_TRY(shop_check_id(ctx, "user_id", req->user_id));
    weft_tx *tx;
    SHOP_TRY(shop_begin_read(ctx, &tx));
    const weft_status st = shop_end_read(ctx, tx, find(ctx, tx, req->user_id, &reply->user));
    (void)shop_fault_method(ctx, "after");
    return st;
}

static weft_status list_users(weft_ctx *ctx, const User__ListUsersRequest *req,
                              User__ListUsersResponse *reply) {
    shop_page page;
    SHOP_TRY(shop_check_enum(ctx, "state", &user__user_state__descriptor, (int)req->state, true));
    SHOP_TRY(shop_page_open(ctx, req->page_size, req->page_token,
                            weft_printf(ctx, "users/%d", (int)req->state), &page));
    reply->users = weft_array(ctx, page.size, sizeof(*reply->users));
    if (!reply->users) return shop_no_memory(ctx);
    weft_tx *tx;
    SHOP_TRY(shop_begin_read(ctx, &tx));
    weft_stmt *row = weft_tx_query(tx,
                                   "SELECT " COLUMNS " FROM user WHERE user_id > ?1 AND "
                                   "(?2 = 0 OR state = ?2) ORDER BY user_id LIMIT ?3",
                                   "sil", page.after, (int)req->state, (int64_t)page.size + 1);
    const char *last = "";
    while (weft_stmt_row(row) && shop_page_more(ctx, &page, last, &reply->next_page_token)) {
        User__User *user = user_of(ctx, row);
        if (!user) return shop_end_read(ctx, tx, shop_no_memory(ctx));
        reply->users[reply->n_users++] = user;
        last = user->user_id;
    }
    return shop_end_read(ctx, tx, reply->next_page_token ? weft_ok() : shop_no_memory(ctx));
}

/* ---- changing */

static weft_status create_effect(weft_ctx *ctx, weft_tx *tx, const void *request, void *answer) {
    const User__CreateUserRequest *req = request;
    User__CreateUserResponse *reply = answer;
    const char *user_id = shop_new_id(ctx, "u");
    const int64_t now = shop_now(ctx);
    if (!user_id) return shop_no_memory(ctx);
    if (weft_tx_exec(tx,
                     "INSERT INTO user (user_id, email, display_name, state, revision, created, "
                     "updated) VALUES (?, ?, ?, 1, 1, ?, ?)",
                     "sssll", user_id, req->email, req->display_name, now, now) == WEFT_EEXIST)
        return weft_already_exists(ctx, "email: a user with \"%s\" exists already", req->email);
    return find(ctx, tx, user_id, &reply->user);
}

static weft_status create_user(weft_ctx *ctx, const User__CreateUserRequest *req,
                               User__CreateUserResponse *reply) {
    SHOP_TRY(shop_check_email(ctx, "email", req->email));
    SHOP_TRY(shop_check_text(ctx, "display_name", req->display_name, 1, 100));
    return shop_once(ctx, req->idempotency_key, &req->base, &reply->base, create_effect);
}

static bool in_mask(const Google__Protobuf__FieldMask *mask, const char *path) {
    for (size_t i = 0; i < mask->n_paths; i++)
        if (!strcmp(mask->paths[i], path)) return true;
    return false;
}

static weft_status update_effect(weft_ctx *ctx, weft_tx *tx, const void *request, void *answer) {
    const User__UpdateUserRequest *req = request;
    User__UpdateUserResponse *reply = answer;
    const User__User *want = req->user;
    User__User *user = NULL;
    SHOP_TRY(find(ctx, tx, want->user_id, &user));
    if (want->etag[0] && strcmp(want->etag, user->etag) != 0)
        return weft_aborted(ctx, "user.etag: is \"%s\" by now, not \"%s\"; read the user again",
                            user->etag, want->etag);
    const bool email = in_mask(req->update_mask, "email");
    const bool name = in_mask(req->update_mask, "display_name");
    if (weft_tx_exec(tx,
                     "UPDATE user SET email = ?, display_name = ?, revision = revision + 1, "
                     "updated = ? WHERE user_id = ?",
                     "ssls", email ? want->email : user->email,
                     name ? want->display_name : user->display_name, shop_now(ctx),
                     want->user_id) == WEFT_EEXIST)
        return weft_already_exists(ctx, "user.email: a user with \"%s\" exists already",
                                   want->email);
    return find(ctx, tx, want->user_id, &reply->user);
}

static weft_status update_user(weft_ctx *ctx, const User__UpdateUserRequest *req,
                               User__UpdateUserResponse *reply) {
    if (!req->user) return weft_invalid(ctx, "user", "is required");
    SHOP_TRY(shop_check_id(ctx, "user.user_id", req->user->user_id));
    if (!req->update_mask || req->update_mask->n_paths == 0)
        return weft_invalid(ctx, "update_mask", "must name email or display_name or both");
    for (size_t i = 0; i < req->update_mask->n_paths; i++) {
        const char *path = req->update_mask->paths[i];
        if (!strcmp(path, "email"))
            SHOP_TRY(shop_check_email(ctx, "user.email", req->user->email));
        else if (!strcmp(path, "display_name"))
            SHOP_TRY(shop_check_text(ctx, "user.display_name", req->user->display_name, 1, 100));
        else
            return weft_invalid(ctx, "update_mask",
                                "must name email or display_name, not \"%.40s\"", path);
    }
    return shop_once(ctx, req->idempotency_key, &req->base, &reply->base, update_effect);
}

static weft_status set_state(weft_ctx *ctx, weft_tx *tx, const char *user_id, User__UserState state,
                             const char *reason, User__User **user) {
    SHOP_TRY(find(ctx, tx, user_id, user));
    if ((*user)->state == state)
        return weft_failed_precondition(ctx, "user \"%s\" is %s already", user_id,
                                        state == USER__USER_STATE__USER_STATE_ACTIVE ? "active"
                                                                                     : "suspended");
    (void)weft_tx_exec(tx,
                       "UPDATE user SET state = ?, suspended_for = ?, revision = revision + 1, "
                       "updated = ? WHERE user_id = ?",
                       "isls", (int)state, reason, shop_now(ctx), user_id);
    return find(ctx, tx, user_id, user);
}

static weft_status suspend_effect(weft_ctx *ctx, weft_tx *tx, const void *request, void *answer) {
    const User__SuspendUserRequest *req = request;
    User__SuspendUserResponse *reply = answer;
    return set_state(ctx, tx, req->user_id, USER__USER_STATE__USER_STATE_SUSPENDED, req->reason,
                     &reply->user);
}

static weft_status suspend_user(weft_ctx *ctx, const User__SuspendUserRequest *req,
                                User__SuspendUserResponse *reply) {
    SHOP_TRY(shop_check_id(ctx, "user_id", req->user_id));
    SHOP_TRY(shop_check_text(ctx, "reason", req->reason, 1, 200));
    return shop_once(ctx, req->idempotency_key, &req->base, &reply->base, suspend_effect);
}

static weft_status reinstate_effect(weft_ctx *ctx, weft_tx *tx, const void *request, void *answer) {
    const User__ReinstateUserRequest *req = request;
    User__ReinstateUserResponse *reply = answer;
    return set_state(ctx, tx, req->user_id, USER__USER_STATE__USER_STATE_ACTIVE, NULL,
                     &reply->user);
}

static weft_status reinstate_user(weft_ctx *ctx, const User__ReinstateUserRequest *req,
                                  User__ReinstateUserResponse *reply) {
    SHOP_TRY(shop_check_id(ctx, "user_id", req->user_id));
    return shop_once(ctx, req->idempotency_key, &req->base, &reply->base, reinstate_effect);
}

static int serve(shop *self, weft_server *server) {
    static const user_service handlers = {
        .create_user = create_user,
        .get_user = get_user,
        .list_users = list_users,
        .update_user = update_user,
        .suspend_user = suspend_user,
        .reinstate_user = reinstate_user,
    };
    return user_service_add(server, &handlers, self);
}

const shop_info shop_user = {
    .name = "user",
    .about = "customers",
    .migrations = migrations,
    .migration_count = sizeof migrations / sizeof migrations[0],
    .serve = serve,
};
