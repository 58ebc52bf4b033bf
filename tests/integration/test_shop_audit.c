/* The demo's driver, and the auditor: it agrees after a run, and finds each lie that is written
 * into a database. */
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "tests/support/shop.h"
#include "weft/buf.h"

static shop_mesh mesh;
static int passed, failed;

static void check(bool good, const char *what, const char *wanted, const char *got) {
    if (good) {
        passed++;
        return;
    }
    failed++;
    fprintf(stderr, "FAIL %s: wanted %s, got:\n%s\n", what, wanted, got);
}

/* Runs a program; its exit code, and its output in `out`. */
static int run(const char *const *argv, const char *const *env, weft_buf *out) {
    char log[256];
    proc p;
    (void)snprintf(log, sizeof log, "%s/run.log", mesh.dir);
    (void)remove(log);
    weft_buf_clear(out);
    if (!proc_start(&p, "run", argv, env, log)) return -1;
    const int status = proc_wait(&p, 60);
    if (status == -1) (void)proc_end(&p, SIGKILL);
    if (weft_buf_read_file(out, log)) return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int audit(const char *dir, const char *flag, weft_buf *out) {
    const char *argv[] = {proc_program("weft-shop-audit"), "--dir", dir, flag, NULL};
    return run(argv, NULL, out);
}

static void test_demo(weft_buf *out) {
    char upstream[SHOP_SERVICES][256];
    const char *env[SHOP_SERVICES + 1] = {NULL};
    static const char *const upper[] = {"USER", "PRODUCT", "ORDER", "PAYMENT", "INVENTORY"};
    for (int i = 0; i < SHOP_SERVICES; i++) {
        (void)snprintf(upstream[i], sizeof upstream[i], "WEFT_UPSTREAM_%s=unix:%s/%s.sock",
                       upper[i], mesh.dir, shop_names[i]);
        env[i] = upstream[i];
    }
    const char *demo[] = {proc_program("weft-shop-demo"), "--orders", "20", "--run", "one", NULL};
    check(run(demo, env, out) == 0 && strstr(weft_buf_str(out), "it all adds up"), "weft-shop-demo",
          "it all adds up", weft_buf_str(out));
    check(strstr(weft_buf_str(out), "17 confirmed, 2 failed, 1 cancelled, 0 not decided") != NULL,
          "weft-shop-demo", "one winner, one who cannot pay", weft_buf_str(out));
    const char *help[] = {proc_program("weft-shop-demo"), "--help", NULL};
    check(run(help, NULL, out) == 0 && strstr(weft_buf_str(out), "--orders"), "--help", "flags",
          weft_buf_str(out));
    const char *wrong[] = {proc_program("weft-shop-demo"), "--orders", "-3", NULL};
    check(run(wrong, NULL, out) == 2 && strstr(weft_buf_str(out), "orders"), "--orders -3",
          "exit code 2 and the flag", weft_buf_str(out));
}

/* A lie, and the sentence that finds it. */
static const struct lie {
    int service;
    const char *sql, *sentence;
} lies[] = {
    {SHOP_PAYMENT, "UPDATE wallet SET balance = balance + 1", "its entries sum to"},
    {SHOP_PAYMENT,
     "UPDATE wallet_entry SET amount = amount - 1 WHERE kind = 2 AND entry = "
     "(SELECT max(entry) FROM wallet_entry WHERE kind = 2)",
     "the entries so far sum to"},
    {SHOP_PAYMENT, "UPDATE payment SET refunded = 1 WHERE refunded = 0", "is captured for it"},
    {SHOP_PAYMENT, "UPDATE payment SET refunded = 1 WHERE refunded = 0", "its wallet entries are"},
    {SHOP_PAYMENT, "UPDATE payment SET refunded = refunded - 1 WHERE refunded = amount",
     "stays charged for it"},
    {SHOP_PAYMENT, "UPDATE payment SET user_id = 'u-else'", "has 0.00 EUR captured"},
    {SHOP_PAYMENT, "DELETE FROM payment", "but nothing is captured for it"},
    {SHOP_PAYMENT, "UPDATE payment SET order_id = order_id || 'x'", "which does not exist"},
    {SHOP_INVENTORY, "UPDATE stock SET on_hand = on_hand + 1", "on hand;"},
    {SHOP_INVENTORY, "UPDATE stock SET reserved = 1 WHERE on_hand > 0",
     "open reservations sum to 0"},
    {SHOP_INVENTORY, "DELETE FROM stock_ledger WHERE kind = 3", "0 committed"},
    {SHOP_INVENTORY, "UPDATE reservation SET state = 1 WHERE state = 2",
     "is open, but the order is"},
    {SHOP_INVENTORY, "UPDATE reservation SET state = 3 WHERE state = 2",
     "its reservation released"},
    {SHOP_INVENTORY, "UPDATE reservation SET state = 2 WHERE state = 4",
     "but its reservation is committed"},
    {SHOP_INVENTORY, "UPDATE reservation_line SET quantity = quantity + 1", "has other lines"},
    {SHOP_INVENTORY, "DELETE FROM reservation", "its reservation does not exist"},
    {SHOP_ORDER, "UPDATE orders SET total = total + 1", "its lines sum to"},
    {SHOP_ORDER, "UPDATE orders SET state = 3 WHERE state = 2", "is failed, but"},
    {SHOP_ORDER, "UPDATE orders SET state = 2 WHERE state = 3", "is confirmed, but"},
    {SHOP_ORDER, "UPDATE orders SET state = 2 WHERE state = 5", "its reservation returned"},
    {SHOP_ORDER, "UPDATE order_line SET unit_price = unit_price + 1", "which it never cost"},
    {SHOP_ORDER, "UPDATE saga SET state = 1", "has steps left to do"},
    {SHOP_ORDER, "UPDATE saga SET state = 2, parked = 1", "is parked"},
    {SHOP_ORDER, "UPDATE orders SET state = 1", "20 orders are in progress"},
    {SHOP_USER, "DELETE FROM user", "who does not exist"},
    {SHOP_PRODUCT, "DELETE FROM price", "which it never cost"},
};

/* Undone by putting the file's bytes back. */
static void test_lie(const struct lie *lie, weft_buf *out) {
    char path[256];
    sqlite3 *db = NULL;
    weft_buf before;
    weft_buf_init(&before, 0);
    (void)snprintf(path, sizeof path, "%s/%s.db", mesh.dir, shop_names[lie->service]);
    bool good = weft_buf_read_file(&before, path) == 0;
    good = good && sqlite3_open(path, &db) == SQLITE_OK;
    good = good && sqlite3_exec(db, lie->sql, NULL, NULL, NULL) == SQLITE_OK &&
           sqlite3_changes(db) > 0;
    check(good, lie->sql, "a change", db ? sqlite3_errmsg(db) : path);
    sqlite3_close(db);
    const int code = audit(mesh.dir, "--settled", out);
    check(code == 1 && strstr(weft_buf_str(out), lie->sentence), lie->sql, lie->sentence,
          weft_buf_str(out));
    FILE *file = fopen(path, "wb");
    good = file && fwrite(before.data, 1, before.len, file) == before.len;
    if (file) good = fclose(file) == 0 && good;
    check(good, path, "the file back", "an error");
    weft_buf_free(&before);
}

static void test_answers(weft_buf *out) {
    check(audit(mesh.dir, "--settled", out) == 0 && strstr(weft_buf_str(out), "the books agree"),
          "weft-shop-audit", "the books agree", weft_buf_str(out));
    check(audit(mesh.dir, "--output=json", out) == 0 &&
              strstr(weft_buf_str(out),
                     "{\"agrees\":true,\"orders\":{\"pending\":0,\"confirmed\":17"),
          "--output=json", "agrees", weft_buf_str(out));
    check(audit("/nonexistent", "--settled", out) == 2 && strstr(weft_buf_str(out), "/nonexistent"),
          "no databases", "exit code 2", weft_buf_str(out));
    check(audit(mesh.dir, "--output=xml", out) == 2 && strstr(weft_buf_str(out), "table"), "xml",
          "exit code 2", weft_buf_str(out));
}

int main(void) {
    weft_buf out;
    weft_buf_init(&out, 0);
    if (shop_mesh_open(&mesh)) {
        test_demo(&out);
        check(shop_mesh_stop(&mesh), "shop", "every service drains and exits 0", "see above");
        test_answers(&out);
        for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) test_lie(&lies[i], &out);
        check(audit(mesh.dir, "--settled", &out) == 0, "at the end", "the books agree",
              weft_buf_str(&out));
    } else {
        check(false, "shop", "five services", "fewer");
    }
    shop_mesh_close(&mesh, failed > 0);
    weft_buf_free(&out);
    printf("%d passed, %d failed\n", passed, failed);
    return failed ? 1 : 0;
}
