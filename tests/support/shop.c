#include "tests/support/shop.h"

#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

const char *const shop_names[SHOP_SERVICES] = {"user", "product", "order", "payment", "inventory"};
static const char *const shop_upper[SHOP_SERVICES] = {"USER", "PRODUCT", "ORDER", "PAYMENT",
                                                      "INVENTORY"};

#define TEXT 256

bool shop_mesh_start(shop_mesh *mesh, int service, const char *crash, const char *fail) {
    char db[TEXT], listen[TEXT], log[TEXT], path[TEXT], upstream[SHOP_SERVICES][TEXT];
    char crash_env[TEXT], fail_env[TEXT];
    const char *env[SHOP_SERVICES + 4];
    size_t n = 0;
    (void)snprintf(db, sizeof db, "%s/%s.db", mesh->dir, shop_names[service]);
    (void)snprintf(path, sizeof path, "%s/%s.sock", mesh->dir, shop_names[service]);
    (void)snprintf(listen, sizeof listen, "unix:%s/%s.sock", mesh->dir, shop_names[service]);
    (void)snprintf(log, sizeof log, "%s/%s.log", mesh->dir, shop_names[service]);
    for (int i = 0; i < SHOP_SERVICES; i++) {
        (void)snprintf(upstream[i], TEXT, "WEFT_UPSTREAM_%s=unix:%s/%s.sock", shop_upper[i],
                       mesh->dir, shop_names[i]);
        env[n++] = upstream[i];
    }
    (void)snprintf(crash_env, sizeof crash_env, "WEFT_SHOP_CRASH=%s", crash ? crash : "");
    (void)snprintf(fail_env, sizeof fail_env, "WEFT_SHOP_FAIL=%s", fail ? fail : "");
    env[n++] = crash_env;
    env[n++] = fail_env;
    env[n++] = "WEFT_LOG=debug";
    env[n] = NULL;
    const char *argv[] = {
        proc_program("weft-shop"),         shop_names[service], "--db", db,  "--lease",
        mesh->lease ? mesh->lease : "10s", "--listen",          listen, NULL};
    proc *p = &mesh->services[service];
    if (!proc_start(p, shop_names[service], argv, env, log)) return false;
    if (proc_wait_ready(p, path, 20)) return true;
    proc_show_log(p);
    return false;
}

bool shop_mesh_open(shop_mesh *mesh) {
    for (int i = 0; i < SHOP_SERVICES; i++) mesh->services[i].ready = -1;
    proc_make_dir(mesh->dir, sizeof mesh->dir);
    for (int i = 0; i < SHOP_SERVICES; i++) {
        char target[TEXT];
        (void)snprintf(target, sizeof target, "unix:%s/%s.sock", mesh->dir, shop_names[i]);
        mesh->to[i] = weft_dial(target);
    }
    static const int start_order[] = {SHOP_USER, SHOP_PRODUCT, SHOP_PAYMENT, SHOP_INVENTORY,
                                      SHOP_ORDER};
    for (int i = 0; i < SHOP_SERVICES; i++)
        if (!shop_mesh_start(mesh, start_order[i], NULL, NULL)) return false;
    return true;
}

bool shop_mesh_stop(shop_mesh *mesh) {
    static const int stop_order[] = {SHOP_ORDER, SHOP_INVENTORY, SHOP_PAYMENT, SHOP_PRODUCT,
                                     SHOP_USER};
    bool good = true;
    for (int i = 0; i < SHOP_SERVICES; i++) {
        proc *p = &mesh->services[stop_order[i]];
        const bool running = p->pid > 0;
        const int status = proc_end(p, SIGTERM);
        if (!running || (WIFEXITED(status) && WEXITSTATUS(status) == 0)) continue;
        fprintf(stderr, "%s did not drain (status 0x%x)\n", p->name, status);
        good = false;
    }
    return good;
}

void shop_mesh_close(shop_mesh *mesh, bool failed) {
    (void)shop_mesh_stop(mesh);
    for (int i = 0; i < SHOP_SERVICES; i++) {
        weft_channel_free(mesh->to[i]);
        if (failed) proc_show_log(&mesh->services[i]);
    }
    proc_remove_dir(mesh->dir);
}

/* ---- dumps */

static void dump_table(sqlite3 *db, const char *table, FILE *out) {
    char sql[TEXT];
    sqlite3_stmt *rows = NULL;
    (void)snprintf(sql, sizeof sql, "SELECT * FROM \"%s\"", table);
    fprintf(out, "# %s\n", table);
    if (sqlite3_prepare_v2(db, sql, -1, &rows, NULL) != SQLITE_OK) return;
    while (sqlite3_step(rows) == SQLITE_ROW) {
        for (int i = 0; i < sqlite3_column_count(rows); i++) {
            const unsigned char *bytes = sqlite3_column_blob(rows, i);
            const int len = sqlite3_column_bytes(rows, i);
            fputc('|', out);
            for (int k = 0; k < len; k++)
                if (bytes[k] >= ' ' && bytes[k] < 127)
                    fputc(bytes[k], out);
                else
                    fprintf(out, "\\%02x", bytes[k]);
        }
        fputc('\n', out);
    }
    sqlite3_finalize(rows);
}

char *shop_mesh_dump(const shop_mesh *mesh, int service, bool with_keys) {
    char path[TEXT], *text = NULL;
    size_t size = 0;
    sqlite3 *db = NULL;
    sqlite3_stmt *tables = NULL;
    (void)snprintf(path, sizeof path, "%s/%s.db", mesh->dir, shop_names[service]);
    FILE *out = open_memstream(&text, &size);
    if (!out) return NULL;
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK &&
        sqlite3_busy_timeout(db, 5000) == SQLITE_OK &&
        sqlite3_exec(db, "BEGIN", NULL, NULL, NULL) == SQLITE_OK &&
        sqlite3_prepare_v2(db, "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name",
                           -1, &tables, NULL) == SQLITE_OK) {
        while (sqlite3_step(tables) == SQLITE_ROW) {
            const char *name = (const char *)sqlite3_column_text(tables, 0);
            if (!strncmp(name, "weft_", 5) || !strncmp(name, "sqlite_", 7)) continue;
            if (!with_keys && !strcmp(name, "once")) continue;
            dump_table(db, name, out);
        }
    } else {
        fprintf(out, "%s: %s\n", path, sqlite3_errmsg(db));
    }
    sqlite3_finalize(tables);
    sqlite3_close(db);
    fclose(out);
    return text;
}
