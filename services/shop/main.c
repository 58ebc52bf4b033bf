/* weft-shop: the services of the shop, one a subcommand, each with its own database. */
#include <stdio.h>
#include <string.h>

#include "services/shop/shop.h"
#include "weft/log.h"
#include "weft/mem.h"
#include "weft/num.h"

static const shop_info *const services[] = {&shop_user, &shop_product, &shop_order, &shop_payment,
                                            &shop_inventory};
#define SERVICES (sizeof services / sizeof services[0])

static int usage(FILE *out) {
    fputs("usage: weft-shop SERVICE [--db FILE] [--lease DURATION] [server flags]\n"
          "       weft-shop SERVICE --help   the server flags\n"
          "       weft-shop fault-points     where tests can make a service die\n\n"
          "The services of the reference shop:\n",
          out);
    for (size_t i = 0; i < SERVICES; i++)
        fprintf(out, "  %-10s %s\n", services[i]->name, services[i]->about);
    fputs("\n  --db FILE         the service's database; made and filled when new (SERVICE.db)\n"
          "  --lease DURATION  order: how long a dead instance keeps its orders (10s)\n\n"
          "example: weft-shop product --db products.db --listen unix:/run/shop/product.sock\n",
          out);
    return out == stdout ? 0 : 2;
}

static const shop_info *find(const char *name) {
    for (size_t i = 0; i < SERVICES; i++)
        if (!strcmp(services[i]->name, name)) return services[i];
    return NULL;
}

static int wrong(const char *format, const char *what) {
    fputs("weft-shop: ", stderr);
    fprintf(stderr, format, what);
    fputs("\n", stderr);
    return 2;
}

typedef struct arguments {
    const char *db;
    int64_t lease_ns;
    int argc; /* what is left for the server */
    char **argv;
} arguments;

/* The value of `name` if argv[*i] is that flag, in either form. */
static const char *value_of(const char *name, int argc, char **argv, int *i) {
    const size_t len = strlen(name);
    if (strncmp(argv[*i], name, len) != 0) return NULL;
    if (argv[*i][len] == '=') return argv[*i] + len + 1;
    if (argv[*i][len] == '\0') return *i + 1 < argc ? argv[++*i] : "";
    return NULL;
}

/* Takes our flags out; 0, or the exit code. */
static int parse(int argc, char **argv, arguments *out) {
    out->argc = 1;
    out->argv = argv + 1;
    for (int i = 2; i < argc; i++) {
        const char *value;
        if ((value = value_of("--db", argc, argv, &i))) {
            if (!value[0]) return wrong("%s needs a file name", "--db");
            out->db = value;
        } else if ((value = value_of("--lease", argc, argv, &i))) {
            if (weft_parse_duration(value, &out->lease_ns) ||
                out->lease_ns < WEFT_NS_PER_MS * 100 || out->lease_ns > WEFT_NS_PER_S * 3600)
                return wrong("--lease: \"%s\" is not a duration from 100ms to 1h", value);
        } else {
            out->argv[out->argc++] = argv[i];
        }
    }
    out->argv[out->argc] = NULL;
    return 0;
}

/* --help and --version need no database. */
static bool only_asks(const arguments *args) {
    static const char *const questions[] = {"--help", "-h", "--version", "-V"};
    for (int i = 1; i < args->argc; i++)
        for (size_t k = 0; k < sizeof questions / sizeof questions[0]; k++)
            if (!strcmp(args->argv[i], questions[k])) return true;
    return false;
}

static int run(const shop_info *info, const arguments *args) {
    if (only_asks(args)) return weft_server_main(weft_server_new(), args->argc, args->argv);
    shop self = {.info = info, .clock = weft_clock_system(), .lease_ns = args->lease_ns};
    char *why = NULL;
    const int error = shop_open(&self, args->db, &why);
    if (error) {
        fprintf(stderr, "weft-shop: %s\n", why ? why : weft_strerror(error));
        weft_free(why);
        return 1;
    }
    weft_server *server = weft_server_new();
    int code = 1;
    if (!server || info->serve(&self, server) || (info->start && info->start(&self)))
        fprintf(stderr, "weft-shop: %s: cannot start: out of memory\n", info->name);
    else
        code = weft_server_main(server, args->argc, args->argv);
    if (info->stop) info->stop(&self);
    weft_db_close(self.db);
    return code;
}

int main(int argc, char **argv) {
    if (argc < 2) return usage(stderr);
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help"))
        return usage(stdout);
    if (!strcmp(argv[1], "fault-points")) {
        for (size_t i = 0; shop_fault_name(i); i++) puts(shop_fault_name(i));
        return 0;
    }
    const shop_info *info = find(argv[1]);
    if (!info)
        return wrong("no service \"%s\"; there are user, product, order, payment and inventory",
                     argv[1]);
    const char *bad;
    if (!shop_fault_init(&bad))
        return wrong(
            "WEFT_SHOP_CRASH or WEFT_SHOP_FAIL: no fault point \"%s\"; see weft-shop fault-points",
            bad);
    char db[32];
    (void)snprintf(db, sizeof db, "%s.db", info->name);
    arguments args = {.db = db, .lease_ns = 10 * WEFT_NS_PER_S};
    const int code = parse(argc, argv, &args);
    weft_log_set_service(info->name);
    return code ? code : run(info, &args);
}
