/* Texts of the admin's pages. */
#include <stdio.h>
#include <string.h>

#include "sidecar/admin/internal.h"
#include "sidecar/export/export.h"

void json_text(weft_buf *out, bool comma, const char *key, const char *text) {
    weft_buf_printf(out, "%s\"%s\":\"", comma ? "," : "", key);
    weft_buf_add_json(out, text, strlen(text));
    weft_buf_addc(out, '"');
}

/* ---- /clusters */

static const char *const class_names[CONFIG_CLASSES] = {"critical", "normal", "batch"};
static const char *const what_names[4] = {"connections", "pending", "requests", "retries"};

static void class_values(const sum_class *c, uint32_t now[4], uint32_t limit[4]) {
    now[0] = c->connections, now[1] = c->pending, now[2] = c->requests, now[3] = c->retries;
    limit[0] = c->limits.max_connections, limit[1] = c->limits.max_pending;
    limit[2] = c->limits.max_requests, limit[3] = c->limits.max_retries;
}

static const char *health_of(const sum_endpoint *e) {
    if (e->draining) return "draining";
    return e->healthy == e->seen ? "healthy" : e->healthy ? "partly healthy" : "unhealthy";
}

void page_clusters(const admin_sum *sum, weft_buf *out) {
    for (size_t i = 0; i < sum->count; i++) {
        const sum_cluster *c = &sum->clusters[i];
        weft_buf_printf(out, "%s::policy::%s\n%s::panic::%s\n", c->name, c->policy, c->name,
                        c->panic ? "true" : "false");
        for (unsigned k = 0; k < CONFIG_CLASSES; k++) {
            uint32_t now[4], limit[4];
            class_values(&c->classes[k], now, limit);
            for (unsigned w = 0; w < 4; w++) {
                weft_buf_printf(out, "%s::%s::%s::%u", c->name, class_names[k], what_names[w],
                                now[w]);
                if (limit[w] == UINT32_MAX)
                    weft_buf_adds(out, " (by the budget)\n");
                else
                    weft_buf_printf(out, " of %u\n", limit[w]);
            }
        }
        weft_buf_printf(out, "%s::retry_budget_left::%llu\n", c->name,
                        (unsigned long long)c->budget_left);
        for (size_t k = 0; k < c->count; k++) {
            const sum_endpoint *e = &c->endpoints[k];
            weft_buf_printf(out,
                            "%s::%s::health::%s\n%s::%s::connections::%u\n"
                            "%s::%s::active_requests::%u\n%s::%s::requests::%llu\n"
                            "%s::%s::failures::%llu\n%s::%s::weight::%u\n%s::%s::priority::%u\n"
                            "%s::%s::ewma_ms::%.3f\n",
                            c->name, e->text, health_of(e), c->name, e->text, e->connections,
                            c->name, e->text, e->pending[LB_UNARY] + e->pending[LB_STREAM], c->name,
                            e->text, (unsigned long long)e->requests, c->name, e->text,
                            (unsigned long long)e->failures, c->name, e->text, e->weight, c->name,
                            e->text, e->priority, c->name, e->text, e->cost[LB_UNARY] / 1e6);
        }
    }
}

void page_clusters_json(const admin_sum *sum, weft_buf *out) {
    weft_buf_adds(out, "{\"clusters\":[");
    for (size_t i = 0; i < sum->count; i++) {
        const sum_cluster *c = &sum->clusters[i];
        weft_buf_adds(out, i ? ",\n{" : "\n{");
        json_text(out, false, "name", c->name);
        json_text(out, true, "policy", c->policy);
        weft_buf_printf(out, ",\"panic\":%s,\"retry_budget_left\":%llu,\"classes\":{",
                        c->panic ? "true" : "false", (unsigned long long)c->budget_left);
        for (unsigned k = 0; k < CONFIG_CLASSES; k++) {
            uint32_t now[4], limit[4];
            class_values(&c->classes[k], now, limit);
            weft_buf_printf(out, "%s\"%s\":{", k ? "," : "", class_names[k]);
            for (unsigned w = 0; w < 4; w++) {
                weft_buf_printf(
                    out, "%s\"%s\":{\"now\":%u,\"refused\":%llu,\"limit\":", w ? "," : "",
                    what_names[w], now[w], (unsigned long long)c->classes[k].refused[w]);
                if (limit[w] == UINT32_MAX)
                    weft_buf_adds(out, "null}");
                else
                    weft_buf_printf(out, "%u}", limit[w]);
            }
            weft_buf_addc(out, '}');
        }
        weft_buf_adds(out, "},\"endpoints\":[");
        for (size_t k = 0; k < c->count; k++) {
            const sum_endpoint *e = &c->endpoints[k];
            weft_buf_adds(out, k ? ",\n {" : "\n {");
            json_text(out, false, "address", e->text);
            json_text(out, true, "host", e->host);
            json_text(out, true, "health", health_of(e));
            weft_buf_printf(out,
                            ",\"weight\":%u,\"priority\":%u,\"connections\":%u,"
                            "\"active\":{\"unary\":%u,\"stream\":%u},\"requests\":%llu,"
                            "\"failures\":%llu,\"ewma_ms\":{\"unary\":%.3f,\"stream\":%.3f}}",
                            e->weight, e->priority, e->connections, e->pending[LB_UNARY],
                            e->pending[LB_STREAM], (unsigned long long)e->requests,
                            (unsigned long long)e->failures, e->cost[LB_UNARY] / 1e6,
                            e->cost[LB_STREAM] / 1e6);
        }
        weft_buf_adds(out, "]}");
    }
    weft_buf_adds(out, "]}\n");
}

/* ---- families of /metrics */

void page_cluster_metrics(const admin_sum *sum, weft_buf *out) {
    if (!sum->count) return;
    (void)export_family(out, "weft_cluster_active", "gauge", "What bulkheads count now.");
    for (size_t i = 0; i < sum->count; i++) {
        const sum_cluster *c = &sum->clusters[i];
        for (unsigned k = 0; k < CONFIG_CLASSES; k++) {
            uint32_t now[4], limit[4];
            class_values(&c->classes[k], now, limit);
            for (unsigned w = 0; w < 4; w++) {
                const char *labels[] = {"cluster", c->name,       "class", class_names[k],
                                        "what",    what_names[w], NULL};
                (void)export_sample(out, "weft_cluster_active", labels, now[w]);
            }
        }
    }
    (void)export_family(out, "weft_cluster_refused_total", "counter", "What bulkheads refused.");
    for (size_t i = 0; i < sum->count; i++) {
        const sum_cluster *c = &sum->clusters[i];
        for (unsigned k = 0; k < CONFIG_CLASSES; k++)
            for (unsigned w = 0; w < 4; w++) {
                const char *labels[] = {"cluster", c->name,       "class", class_names[k],
                                        "what",    what_names[w], NULL};
                (void)export_sample(out, "weft_cluster_refused_total", labels,
                                    (double)c->classes[k].refused[w]);
            }
    }
    (void)export_family(out, "weft_cluster_endpoints", "gauge", "Endpoints by health.");
    for (size_t i = 0; i < sum->count; i++) {
        const sum_cluster *c = &sum->clusters[i];
        size_t healthy = 0;
        for (size_t k = 0; k < c->count; k++) healthy += c->endpoints[k].healthy > 0;
        const char *up[] = {"cluster", c->name, "health", "healthy", NULL};
        const char *down[] = {"cluster", c->name, "health", "unhealthy", NULL};
        (void)export_sample(out, "weft_cluster_endpoints", up, (double)healthy);
        (void)export_sample(out, "weft_cluster_endpoints", down, (double)(c->count - healthy));
    }
}

/* ---- /config_dump */

static void dump_address(weft_buf *out, const weft_addr *addr) {
    char text[WEFT_ADDR_TEXT];
    json_text(out, true, "address", weft_addr_format(addr, text));
}

static void dump_tls(weft_buf *out, const config_tls *tls) {
    if (!tls) {
        weft_buf_adds(out, ",\"tls\":null");
        return;
    }
    weft_buf_printf(out, ",\"tls\":{\"require_peer\":%s", tls->require_peer ? "true" : "false");
    if (tls->cert_file) json_text(out, true, "cert_file", tls->cert_file);
    if (tls->key_file) json_text(out, true, "key_file", tls->key_file);
    if (tls->ca_file) json_text(out, true, "ca_file", tls->ca_file);
    if (tls->domain) json_text(out, true, "trust_domain", tls->domain);
    if (tls->server_name) json_text(out, true, "server_name", tls->server_name);
    weft_buf_adds(out, ",\"ids\":[");
    for (size_t i = 0; i < tls->id_count; i++) {
        weft_buf_adds(out, i ? ",\"" : "\"");
        weft_buf_add_json(out, tls->ids[i], strlen(tls->ids[i]));
        weft_buf_addc(out, '"');
    }
    weft_buf_adds(out, "]}");
}

static void dump_routes(weft_buf *out, const config_table *table) {
    static const char *const kinds[] = {"path", "prefix", "path_separated_prefix", "regex"};
    weft_buf_adds(out, ",\"routes\":{");
    json_text(out, false, "name", table->name);
    weft_buf_adds(out, ",\"virtual_hosts\":[");
    for (uint32_t i = 0; i < table->vhost_count; i++) {
        const config_vhost *v = &table->vhosts[i];
        weft_buf_adds(out, i ? ",{" : "{");
        json_text(out, false, "name", v->name);
        weft_buf_adds(out, ",\"domains\":[");
        for (uint32_t k = 0; k < v->domain_count; k++) {
            weft_buf_adds(out, k ? ",\"" : "\"");
            weft_buf_add_json(out, v->domains[k].text, v->domains[k].len);
            weft_buf_addc(out, '"');
        }
        weft_buf_adds(out, "],\"routes\":[");
        for (uint32_t k = 0; k < v->route_count; k++) {
            const config_route *r = &v->routes[k];
            weft_buf_adds(out, k ? ",\n  {" : "\n  {");
            json_text(out, false, "name", r->name);
            json_text(out, true, "match", kinds[r->path_kind]);
            if (r->path.text) json_text(out, true, "value", r->path.text);
            weft_buf_printf(out, ",\"headers\":%u", r->header_count);
            if (r->action == CONFIG_REPLY) {
                weft_buf_printf(out, ",\"reply\":%u}", r->reply_status);
                continue;
            }
            weft_buf_printf(out, ",\"timeout_ms\":%lld,\"retries\":%u,\"clusters\":[",
                            (long long)(r->timeout / WEFT_NS_PER_MS), r->retry->max_retries);
            for (uint32_t s = 0; s < r->share_count; s++) {
                weft_buf_adds(out, s ? ",{" : "{");
                json_text(out, false, "name", r->shares[s].cluster->name);
                weft_buf_printf(out, ",\"weight\":%u}", r->shares[s].weight);
            }
            weft_buf_adds(out, "]}");
        }
        weft_buf_adds(out, "]}");
    }
    weft_buf_adds(out, "]}");
}

static void dump_cluster(weft_buf *out, const config_cluster *c) {
    json_text(out, false, "name", c->name);
    json_text(out, true, "discovery", c->discovery == CONFIG_DNS ? "strict_dns" : "static");
    json_text(out, true, "policy", lb_policy_of(c->balance.policy)->name);
    weft_buf_printf(out, ",\"connect_timeout_ms\":%lld",
                    (long long)(c->connect_timeout / WEFT_NS_PER_MS));
    dump_tls(out, c->tls);
    weft_buf_adds(out, ",\"thresholds\":{");
    for (unsigned k = 0; k < CONFIG_CLASSES; k++) {
        const config_thresholds *t = &c->thresholds[k];
        weft_buf_printf(out,
                        "%s\"%s\":{\"max_connections\":%u,\"max_pending\":%u,\"max_requests\":%u,"
                        "\"max_retries\":%lld,\"budget_percent\":%g,\"budget_floor\":%u}",
                        k ? "," : "", class_names[k], t->max_connections, t->max_pending,
                        t->max_requests,
                        t->max_retries == UINT32_MAX ? -1LL : (long long)t->max_retries,
                        t->budget_percent, t->budget_floor);
    }
    weft_buf_adds(out, "},\"endpoints\":[");
    for (uint32_t i = 0; i < c->endpoint_count; i++) {
        const config_endpoint *e = &c->endpoints[i];
        weft_buf_adds(out, i ? ",{" : "{");
        json_text(out, false, "host", e->host);
        dump_address(out, &e->address);
        weft_buf_printf(out, ",\"weight\":%u,\"priority\":%u}", e->weight, e->priority);
    }
    weft_buf_addc(out, ']');
}

void page_config(const config_snapshot *s, weft_buf *out) {
    weft_buf_addc(out, '{');
    json_text(out, false, "version", s->version);
    weft_buf_adds(out, ",\"node\":{");
    json_text(out, false, "id", s->node.id);
    json_text(out, true, "cluster", s->node.cluster);
    json_text(out, true, "zone", s->node.zone);
    weft_buf_adds(out, "},\"listeners\":[");
    for (uint32_t i = 0; i < s->listener_count; i++) {
        const config_listener *l = &s->listeners[i];
        weft_buf_adds(out, i ? ",\n{" : "\n{");
        json_text(out, false, "name", l->name);
        json_text(out, true, "direction", l->direction == CONFIG_INBOUND ? "inbound" : "outbound");
        dump_address(out, &l->address);
        dump_tls(out, l->tls);
        weft_buf_printf(out, ",\"max_streams\":%u", l->h2.max_streams);
        if (l->routes) dump_routes(out, l->routes);
        weft_buf_addc(out, '}');
    }
    weft_buf_adds(out, "],\"clusters\":[");
    for (uint32_t i = 0; i < s->cluster_count; i++) {
        weft_buf_adds(out, i ? ",\n{" : "\n{");
        dump_cluster(out, &s->clusters[i]);
        weft_buf_addc(out, '}');
    }
    weft_buf_adds(out, "]}\n");
}

/* ---- /certs */

void admin_certs_add(admin_certs *certs, const admin_cert *cert) {
    weft_buf *out = certs->out;
    char time[28];
    const struct {
        const char *key, *text;
    } texts[] = {{"kind", cert->kind},       {"file", cert->file},     {"spiffe", cert->spiffe},
                 {"subject", cert->subject}, {"issuer", cert->issuer}, {"serial", cert->serial}};
    weft_buf_adds(out, certs->count++ ? ",\n{" : "\n{");
    json_text(out, false, "used_by", cert->used_by ? cert->used_by : "");
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (texts[i].text && *texts[i].text) json_text(out, true, texts[i].key, texts[i].text);
    json_text(out, true, "not_before", weft_time_format(cert->not_before, time));
    json_text(out, true, "not_after", weft_time_format(cert->not_after, time));
    weft_buf_addc(out, '}');
}
