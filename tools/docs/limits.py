"""Limits: the numbers and their meaning as the headers and sources have them."""
import re

from fields import duration

# Where each constant stands; what is said here is said in no comment beside it.
CONSTANTS = [
    ("Configuration", "What is beyond is refused when the file is read.", [
        ("sidecar/config/load.h", "CONFIG_FILE_MAX", ""),
        ("sidecar/config/load.c", "ARENA_MAX", "bytes of memory while a file is read"),
        ("sidecar/config/load.c", "LISTENERS_MAX", "listeners"),
        ("sidecar/config/load.c", "CLUSTERS_MAX", "clusters"),
        ("sidecar/config/route.c", "ROUTES_MAX", "routes, all tables together"),
        ("sidecar/config/cluster.c", "ENDPOINTS_MAX", "endpoints of a cluster"),
        ("sidecar/config/cluster.c", "WEIGHT_MAX", "weight of an endpoint"),
        ("sidecar/config/action.c", "BODY_MAX", "bytes of a direct response"),
        ("sidecar/config/action.c", "RETRIES_MAX", "retries a route may allow"),
        ("sidecar/config/action.c", "STATUSES_MAX", "retriable status codes"),
        ("sidecar/config/regex.h", "CONFIG_REGEX_BYTES", "bytes of a regular expression"),
        ("sidecar/config/regex.h", "CONFIG_REGEX_POSITIONS", "characters of it once {m,n} are written out"),
        ("sidecar/config/regex.h", "CONFIG_REGEX_STATES", "states of its automaton, which takes each byte in one step"),
    ]),
    ("Connections", "`weft_connections_refused_total` counts those refused on arrival, `weft_tls_handshakes_total` "
                    "failed handshakes, `weft_connect_failures_total` failed dials.", [
        ("lib/net/listener.c", "CONNS_MAX", "connections of a listener, a worker"),
        ("lib/net/socket.c", "BACKLOG", "connections that wait to be accepted"),
        ("lib/net/internal.h", "NET_ACCEPT_PAUSE", "pause of accepting after running out of descriptors"),
        ("lib/include/weft/net.h", "NET_READ_MAX", "bytes read from one connection before others have their turn"),
        ("lib/net/internal.h", "NET_FLUSH_BUDGET", ""),
        ("lib/include/weft/tls.h", "TLS_HANDSHAKE_MAX", "bytes a peer may send before its handshake is through"),
        ("lib/include/weft/tls.h", "TLS_REKEY_RECORDS", "records until keys are renewed"),
        ("lib/include/weft/crypto.h", "CRYPTO_CHAIN_MAX", "certificates of a peer's chain"),
        ("lib/crypto/tls_internal.h", "TLS_CERTS_BYTES_MAX", "bytes of a peer's certificate message"),
        ("lib/include/weft/crypto.h", "CRYPTO_CERTS_MAX", "certificates of one PEM file"),
        ("lib/include/weft/crypto.h", "CRYPTO_SPIFFE_MAX", "bytes of a SPIFFE ID"),
        ("sidecar/upstream/upstream.h", "UPSTREAM_CONNS_MAX", "connections to an endpoint, a worker"),
        ("sidecar/cluster/cluster.h", "CLUSTER_BACKOFF_BASE", "first wait after a failed dial"),
        ("sidecar/cluster/cluster.h", "CLUSTER_BACKOFF_MAX", "longest wait after failed dials"),
        ("sidecar/upstream/upstream.h", "UPSTREAM_LOCAL_BACKOFF", "the same for a peer on this machine"),
        ("lib/include/weft/net_dns.h", "NET_DNS_ADDRS_MAX", "addresses kept of one DNS answer"),
    ]),
    ("Calls", "", [
        ("sidecar/call.h", "CALL_TRANSPARENT_MAX", "retries of what provably was not processed"),
        ("sidecar/upstream/upstream.h", "UPSTREAM_TRIED_MAX", "endpoints that a call remembers not to try again"),
        ("sidecar/cluster/shared.h", "CLUSTER_BUDGET_SLOTS", "seconds that a retry budget looks back"),
        ("sidecar/cluster/lb.h", "LB_PUSHBACK_MAX", "longest time a server's pushback counts as"),
    ]),
    ("Telemetry", "`weft_spans_dropped_total` and `weft_metric_series_refused_total` count what did not fit.", [
        ("sidecar/telemetry/metrics.h", "TELEMETRY_SERIES_DEFAULT", "series of calls, a worker"),
        ("sidecar/telemetry/metrics.h", "TELEMETRY_LABEL", "bytes of a label's value; the rest is cut"),
        ("sidecar/telemetry/metrics.h", "TELEMETRY_IDLE_DEFAULT", "until an untouched series is dropped"),
        ("sidecar/telemetry/span.h", "SPAN_BUFFER_DEFAULT", "bytes of spans not yet written, a worker"),
        ("sidecar/telemetry/span.h", "SPAN_TEXT_MAX", "bytes of each text of a span; the rest is cut"),
    ]),
    ("Export of spans", "What is dropped counts in `weft_spans_dropped_total`.", [
        ("sidecar/export/otlp.h", "OTLP_" + name, what) for name, what in (
            ("BATCH_MAX", "spans of a request"), ("QUEUE_BYTES", "bytes of spans that wait"),
            ("DELAY", "until a batch goes that is not full"), ("TIMEOUT", "for a collector's answer"),
            ("BACKOFF_MIN", "first wait after a failure"), ("BACKOFF_MAX", "longest wait after failures"),
            ("BATCH_AGE", "until a batch is given up"), ("FLUSH", "for what waits when a sidecar ends"))]),
    ("weft-telemetry", "What is over a limit of a request or a trace is rejected and told in `partial_success`; the rest is "
                       "cut or left out, and counted in the span or record.", [
        ("services/telemetry/telemetry.h", "TEL_" + name, what) for name, what in (
            ("SPANS_PER_REQUEST", "spans of a request"), ("LOGS_PER_REQUEST", "log records of a request"),
            ("SPANS_PER_TRACE", "spans of a trace"), ("ATTRIBUTES", "attributes of a span, event or record"),
            ("KEY_BYTES", "bytes of an attribute's key"), ("VALUE_BYTES", "bytes of a string in an attribute"),
            ("VALUE_DEPTH", "lists in each other"), ("VALUE_ITEMS", "items of a list"), ("EVENTS", "events of a span"),
            ("NAME_BYTES", "bytes of a name"), ("BODY_BYTES", "bytes of a log record's text"),
            ("DETAIL_BYTES", "bytes of all attributes and events of one span"),
            ("EDGES_PER_MINUTE", "edges counted apart, a minute"))]),
    ("Admin", "", [("sidecar/admin/admin.h", "ADMIN_" + n, "") for n in (
        "CONNS_DEFAULT", "HEADER_TIMEOUT", "BODY_TIMEOUT", "IDLE_TIMEOUT", "WRITE_TIMEOUT", "COLLECT_TIMEOUT", "RESPONSE_MAX")]),
]

# Which counter tells that a limit of HTTP/2 was reached: label of weft_h2_limits_total, or a metric's name.
COUNTED = {
    "max_streams": "weft_h2_refused_streams_total", "header_list_max": "header_list", "header_fields_max": "header_fields",
    "header_block_max": "header_block", "continuation_max": "continuation", "stream_queue_max": "stream_queue",
    "output_max": "output", "settings_max": "settings", "ping_max": "ping", "priority_max": "priority",
    "window_update_max": "window_update", "empty_data_max": "empty_data", "unknown_max": "unknown", "reset_young": "reset",
    "reset_min": "reset", "reset_percent": "reset", "made_reset_max": "made_reset", "settings_timeout": "=settings",
    "header_timeout": "=header", "ping_interval": "=ping", "ping_timeout": "=ping", "idle_timeout": "=idle",
}
TIMES = {"WEFT_NS_PER_S": 10 ** 9, "WEFT_NS_PER_MS": 10 ** 6, "S": 10 ** 9, "MS": 10 ** 6}


def read(root, path):
    with open(root + "/" + path, encoding="utf-8") as source:
        return source.read()


def constant(text, where):
    """Value of a constant expression of ours, and whether it is a time."""
    plain = re.sub(r"\(\w+\)(?=\d)|U?INT64_C|\b(?=u\b)", "", text)
    plain = re.sub(r"(\d)u\b", r"\1", plain)
    if not re.fullmatch(r"[\w\s()*<+-]+", plain):
        raise SystemExit("docs: %s: cannot read %r" % (where, text))
    return int(eval(plain, {"__builtins__": {}}, dict(TIMES))), "_NS_PER_" in text  # numbers of our own source


def amount(n):
    for size, unit in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if n >= size and n % size == 0:
            return "%d %s" % (n // size, unit)
    return "{:,}".format(n)


def define(root, path, name):
    found = re.search(r"^#define %s +(.*?)(?: */\* (.*?) \*/)?$" % name, read(root, path), re.M)
    if not found:
        raise SystemExit("docs: %s does not define %s" % (path, name))
    value, is_time = constant(found.group(1), path)
    is_time = is_time or "BACKOFF" in name or "PUSHBACK" in name or "IDLE_DEFAULT" in name
    return value, is_time, found.group(2) or ""


def rows_of(root, constants):
    rows = []
    for path, name, text in constants:
        value, is_time, comment = define(root, path, name)
        said = text or comment
        if not said:
            raise SystemExit("docs: nothing is said about " + name)
        shown = duration(value) if is_time else amount(value) if said.startswith("bytes") else "{:,}".format(value)
        rows.append("| %s | %s | `%s` |" % (said, shown, name))
    return rows


# ---- HTTP/2

def assigned(text, start):
    """.name = value of the initialiser that begins after `start`."""
    body = text[text.index(start):]
    return dict(re.findall(r"\.(\w+) = ([^,]+),", body[:body.index("};")]))


def h2_rows(root):
    header = read(root, "lib/include/weft/h2.h")
    struct = header[header.index("typedef struct h2_limits {"):header.index("} h2_limits;")]
    env, wire, config = read(root, "lib/h2/env.c"), read(root, "sidecar/upstream/wire.c"), read(root, "sidecar/config/http.c")
    values = assigned(env, "void h2_limits_peer")
    table = re.search(r"#define HPACK_TABLE_DEFAULT (\S+)", read(root, "lib/h2/hpack.h") + read(root, "lib/h2/h2_int.h")).group(1)
    from_file = dict(re.findall(r"limits->(\w+) = (?:inbound \? )?config->(\w+)", wire))
    from_file["buffered_max"] = "connection_window"
    from_file.pop("conn_window", None)  # only made smaller: see below
    defaults = assigned(config, "const config_h2 build_h2_default")
    named = dict(re.findall(r"out->(?:h2\.)?(\w+) =\s+(?:1024 \* )?build_\w+\(\s*b, \"(\w+)\"", config))
    rows = []
    fields = re.findall(r"^    (?:uint32_t|int64_t)\s+(\w+);\s*/\*(.*?)\*/|^    /\* (?!.*;)([A-Z][^*]*?) \*/$", struct, re.S | re.M)
    for name, comment, heading in fields:
        if heading:
            rows.append("| *%s* | | | |" % " ".join(heading.split()))
            continue
        value = values.get(name, "0")
        by = ""
        if name in from_file:
            option = from_file[name]
            value = defaults.get(option, "0")
            if option not in named and option != "connection_window":
                raise SystemExit("docs: which field sets " + option)
            by = " `%s`" % named.get(option, "initial_connection_window_size")
        if name == "conn_window":
            by = " `initial_connection_window_size`, if that is smaller"
        number, is_time = constant(value.replace("HPACK_TABLE_DEFAULT", table).replace(" S", " WEFT_NS_PER_S"), "lib/h2/env.c")
        comment = " ".join(comment.split())
        shown = ("none" if number == 0 else duration(number)) if is_time or "ns:" in comment or name.endswith(("_timeout", "_interval")) \
            else amount(number) if number >= 4096 else "{:,}".format(number)
        counter = COUNTED.get(name, "")
        if counter.startswith("="):
            counter = '`weft_h2_timeouts_total{what="%s"}`' % counter[1:]
        elif counter.startswith("weft_"):
            counter = "`%s`" % counter
        elif counter:
            counter = '`…{limit="%s"}`' % counter
        rows.append("| `%s`: %s | %s | %s | %s |" % (name, comment, shown, by.strip(), counter))
    metrics = read(root, "sidecar/telemetry/metrics.h")
    for label in COUNTED.values():
        if label.strip("=") not in metrics:
            raise SystemExit("docs: no counter " + label)
    return rows


def retry_conditions(root):
    text = read(root, "sidecar/config/action.c")
    body = text[text.index("} conditions[] = {"):]
    rows = re.findall(r'\{"([\w-]+)", ([\w |]+), ([^}]+)\}', body[:body.index("};")])
    header = read(root, "sidecar/config/config.h")
    said = dict(re.findall(r"(CONFIG_RETRY_\w+) = \d+,?\s*/\* (.*?) \*/", header))
    out = ["Conditions, with commas between them:\n", "| condition | retried is |", "|---|---|"]
    for name, conditions, codes in rows:
        parts = [said.get(c, c) for c in conditions.split(" | ") if c != "0"]
        parts += ["gRPC " + c for c in re.findall(r"WEFT_(\w+)", codes)]
        out.append("| `%s` | %s |" % (name, "; ".join(parts).replace("|", "\\|")))
    return "\n".join(out)


def series_limits(root):
    value, _, _ = define(root, "sidecar/telemetry/metrics.h", "TELEMETRY_SERIES_DEFAULT")
    idle, _, _ = define(root, "sidecar/telemetry/metrics.h", "TELEMETRY_IDLE_DEFAULT")
    return "{:,}".format(value), duration(idle)


def page(root):
    out = ["""# Limits of the sidecar

What is held, by default. Limits of a cluster (`circuit_breakers`) and of a route are in [the bootstrap file](bootstrap.md),
counters in [metrics](metrics.md).

## HTTP/2

Of every connection, in and out. The third column is the field of the bootstrap file that sets a limit; the others are fixed. `…` is
`weft_h2_limits_total`. Flood limits count within %s and grow with useful work done in that time, so that busy honest peers do not
meet them.

| limit | value | set by | counter |
|---|---|---|---|""" % duration(constant(re.search(r"#define H2_FLOOD_WINDOW (\S+)", read(root, "lib/include/weft/h2.h")).group(1), "h2.h")[0])]
    out += h2_rows(root)
    for title, text, constants in CONSTANTS:
        out.append("\n## %s\n" % title)
        if text:
            out.append(text + "\n")
        out += ["| limit | value | in the source |", "|---|---|---|"] + rows_of(root, constants)
    out += ["\n## HTTP/1.1 of the admin\n", "Beyond one, the answer is the status, and the connection is closed.\n",
            "| limit | value | status |", "|---|---|---|"]
    limits = re.findall(r'X\((\w+), (\d+), (\d+), "(.*?)"\)', read(root, "lib/include/weft/http1.h"))
    body, _, _ = define(root, "sidecar/admin/admin.h", "ADMIN_REQUEST_MAX")
    out += ["| %s | %s | %s |" % (text, amount(body if name == "body" else int(value)), status) for name, value, status, text in limits]
    return "\n".join(out) + "\n"
