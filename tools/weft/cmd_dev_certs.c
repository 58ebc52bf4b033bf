#include <stdio.h>
#include <string.h>

#include "tools/weft/cmd.h"
#include "tools/weft/dev_certs.h"
#include "tools/weft/up_plan.h"
#include "weft/clock.h"

static struct {
    const char *out, *domain, *name_space;
    int64_t ttl;
    int format;
} opt;

static void add_cert(weft_buf *text, const dev_cert *cert) {
    char until[28];
    weft_buf_printf(
        text, "{\"name\":\"%s\",\"id\":\"%s\",\"what\":\"%s\",\"notAfter\":\"%s\",\"cert\":\"",
        cert->name, cert->id, dev_cert_what_name(cert->what),
        weft_time_format(cert->not_after, until));
    weft_buf_add_json(text, cert->cert_file, strlen(cert->cert_file));
    weft_buf_adds(text, "\",\"key\":\"");
    weft_buf_add_json(text, cert->key_file, strlen(cert->key_file));
    weft_buf_adds(text, "\"}");
}

static int print_json(const dev_cert *ca, const dev_cert *leaves, size_t count) {
    weft_buf text;
    weft_buf_init(&text, 0);
    weft_buf_adds(&text, "{\"ca\":");
    add_cert(&text, ca);
    weft_buf_adds(&text, ",\"services\":[");
    for (size_t i = 0; i < count; i++) {
        if (i) weft_buf_addc(&text, ',');
        add_cert(&text, &leaves[i]);
    }
    weft_buf_adds(&text, "]}\n");
    int error = text.error;
    if (!error) fputs(weft_buf_str(&text), stdout);
    weft_buf_free(&text);
    return error ? EXIT_FAILED : EXIT_OK;
}

static void print_cert(const dev_cert *cert, int width) {
    char until[28];
    weft_time_format(cert->not_after, until);
    until[19] = '\0'; /* whole seconds */
    printf("%-*s  %-7s  until %sZ  %s\n", width, cert->cert_file, dev_cert_what_name(cert->what),
           until, cert->id);
}

static int print(const dev_cert *ca, const dev_cert *leaves, size_t count) {
    if (opt.format == CMD_JSON) return print_json(ca, leaves, count);
    size_t width = strlen(ca->cert_file);
    for (size_t i = 0; i < count; i++)
        if (strlen(leaves[i].cert_file) > width) width = strlen(leaves[i].cert_file);
    print_cert(ca, (int)width);
    for (size_t i = 0; i < count; i++) print_cert(&leaves[i], (int)width);
    return EXIT_OK;
}

static int run(const cmd_args *in) {
    if (in->rest) return cmd_usage_error(in->cmd, "it runs no command");
    if (!opt.out) return cmd_usage_error(in->cmd, "where to? say --out DIR");
    if (in->count == 0) return cmd_usage_error(in->cmd, "for which services?");
    if (!crypto_domain_valid(opt.domain))
        return cmd_usage_error(in->cmd, "\"%s\" is not a trust domain (a-z 0-9 . - _)", opt.domain);
    if (!up_name_valid(opt.name_space))
        return cmd_usage_error(in->cmd, "\"%s\" is not a namespace (a DNS label such as shop)",
                               opt.name_space);
    for (size_t i = 0; i < in->count; i++)
        if (!up_name_valid(in->args[i]) || strcmp(in->args[i], "ca") == 0)
            return cmd_usage_error(
                in->cmd, "\"%s\" is not a name of a service (a DNS label, not ca)", in->args[i]);
    dev_certs certs = {.arena = in->arena,
                       .dir = opt.out,
                       .domain = opt.domain,
                       .name_space = opt.name_space,
                       .now = weft_wall(NULL),
                       .ttl = opt.ttl};
    crypto_why why = {""};
    dev_cert *leaves = weft_arena_calloc(in->arena, in->count, sizeof *leaves);
    int rc = leaves ? dev_certs_open(&certs, &why) : WEFT_ENOMEM;
    for (size_t i = 0; i < in->count && rc == 0; i++)
        rc = dev_certs_leaf(&certs, in->args[i], &leaves[i], &why);
    if (leaves) dev_certs_close(&certs);
    if (rc == 0) return print(&certs.ca, leaves, in->count);
    cmd_error("%s", why.text[0] ? why.text : weft_strerror(rc));
    return EXIT_FAILED;
}

static const weft_flag flags[] = {
    CMD_STRING("out", 0, &opt.out, "DIR",
               "Folder of the certificates, made owner-only if missing."),
    {.name = "trust-domain",
     .type = WEFT_FLAG_STRING,
     .to.string = &opt.domain,
     .value = "DOMAIN",
     .initial = DEV_CERTS_DOMAIN,
     .help = "First part of every identity."},
    {.name = "namespace",
     .letter = 'n',
     .type = WEFT_FLAG_STRING,
     .to.string = &opt.name_space,
     .value = "NAME",
     .initial = "default",
     .help = "Namespace of the services."},
    {.name = "ttl",
     .type = WEFT_FLAG_DURATION,
     .to.duration = &opt.ttl,
     .initial = "24h",
     .min = "1s",
     .max = "87600h",
     .help = "How long a service's certificate is valid; never longer than the CA's."},
    CMD_OUTPUT(&opt.format, "How to print."),
};

const struct cmd cmd_dev_certs = {
    .name = "dev-certs",
    .usage = "--out DIR SERVICE...",
    .summary = "Make certificates for a mesh on this machine",
    .about =
        "Makes a certificate authority for development and a certificate for each service, with the "
        "identity spiffe://DOMAIN/ns/NAMESPACE/sa/SERVICE. Run again, it keeps the CA, keeps "
        "certificates with more than half of their life left, and renews the others, or those that "
        "are damaged, with new keys. Not for production: the CA's key lies beside the certificates.",
    .more =
        "Files in DIR: ca.pem and ca.key; SERVICE.pem and SERVICE.key for each. Keys are owner-only.\n"
        "\n"
        "Examples:\n"
        "  weft dev-certs --out certs --namespace shop order product\n"
        "  weft dev-certs --out certs --ttl 1h -o json order\n"
        "  openssl verify -CAfile certs/ca.pem certs/order.pem\n"
        "\n"
        "Exit codes: 0 all are there; 1 a file cannot be read or written, or is another CA's; 2 wrong\n"
        "flags or names.\n",
    .flags = flags,
    .flag_count = WEFT_COUNT(flags),
    .run = run,
};
