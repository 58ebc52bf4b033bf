"""A bootstrap file that has every message of the supported subset in it at least once, to ask the loader about each field."""

TYPE = "type.googleapis.com/"
HCM = TYPE + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = TYPE + "envoy.extensions.filters.http.router.v3.Router"
TLS = TYPE + "envoy.extensions.transport_sockets.tls.v3."
OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
POLICY = TYPE + "envoy.extensions.load_balancing_policies."
RETRY = {"retry_on": "unavailable,retriable-status-codes", "num_retries": 2, "per_try_timeout": "1s",
         "retriable_status_codes": [503], "retry_back_off": {"base_interval": "0.1s", "max_interval": "1s"}}


def common(matchers):
    return {"tls_params": {"tls_minimum_protocol_version": "TLSv1_3"}, "alpn_protocols": ["h2"],
            "tls_certificates": [{"certificate_chain": {"filename": "order.pem"}, "private_key": {"filename": "order.key"}}],
            "validation_context": {"trusted_ca": {"filename": "ca.pem"}, "match_typed_subject_alt_names": matchers}}


def policy(name, **more):
    return {"typed_extension_config": {"name": name, "typed_config": dict({"@type": name}, **more)}}


def cluster(name, address, **more):
    return dict({"name": name, "load_assignment": {"cluster_name": name, "endpoints": [
        {"locality": {"region": "eu", "zone": "a", "sub_zone": "1"}, "priority": 0, "lb_endpoints": [
            {"endpoint": {"address": address, "hostname": "p"}, "health_status": "HEALTHY", "load_balancing_weight": 1}]}]}},
                **more)


BASE = {
    "node": {"id": "order-1", "cluster": "order.shop", "locality": {"region": "eu", "zone": "a", "sub_zone": "1"}},
    "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
    "static_resources": {
        "listeners": [{
            "name": "inbound", "traffic_direction": "INBOUND", "address": {"pipe": {"path": "@weft-docs"}},
            "filter_chains": [{
                "transport_socket_connect_timeout": "5s",
                "transport_socket": {"name": "tls", "typed_config": {
                    "@type": TLS + "DownstreamTlsContext", "require_client_certificate": True,
                    "common_tls_context": common([{"san_type": "URI", "matcher": {"prefix": "spiffe://mesh.local/"}}])}},
                "filters": [{"name": "http", "typed_config": {
                    "@type": HCM, "stat_prefix": "in", "codec_type": "HTTP2",
                    "common_http_protocol_options": {"idle_timeout": "60s"},
                    "http2_protocol_options": {"connection_keepalive": {"interval": "30s", "timeout": "5s"}},
                    "http_filters": [{"name": "router", "typed_config": {"@type": ROUTER}}],
                    "route_config": {"name": "in", "virtual_hosts": [{
                        "name": "all", "domains": ["*"], "retry_policy": RETRY,
                        "routes": [
                            {"match": {"prefix": "/a", "grpc": {}, "headers": [
                                {"name": "x", "range_match": {"start": 1, "end": 9}},
                                {"name": "y", "string_match": {"exact": "a"}},
                                {"name": "z", "safe_regex_match": {"google_re2": {}, "regex": "a"}}]},
                             "route": {"cluster": "product", "retry_policy": RETRY,
                                       "max_stream_duration": {"max_stream_duration": "9s"}}},
                            {"match": {"safe_regex": {"google_re2": {}, "regex": "/b"}},
                             "route": {"weighted_clusters": {"clusters": [{"name": "product", "weight": 1}]}}},
                            {"match": {"prefix": "/c"}, "direct_response": {"status": 200, "body": {"inline_string": "x"}}},
                        ]}]}}}]}]}],
        "clusters": [
            cluster("product", {"socket_address": {"address": "127.0.0.1", "port_value": 1}},
                    connect_timeout="1s", type="STRICT_DNS",
                    circuit_breakers={"thresholds": [{"priority": "DEFAULT", "retry_budget": {"budget_percent": {"value": 20}}}]},
                    load_balancing_policy={"policies": [
                        policy(TYPE + "weft.sidecar.v1.PeakEwma", decay="1s"),
                        policy(POLICY + "round_robin.v3.RoundRobin"), policy(POLICY + "random.v3.Random"),
                        policy(POLICY + "least_request.v3.LeastRequest"), policy(POLICY + "ring_hash.v3.RingHash")]},
                    transport_socket={"name": "tls", "typed_config": {
                        "@type": TLS + "UpstreamTlsContext", "sni": "product", "common_tls_context": common(
                            [{"san_type": "URI", "matcher": {"exact": "spiffe://mesh.local/ns/shop/sa/product"}}])}},
                    metadata={"typed_filter_metadata": {"weft.service": {
                        "@type": TYPE + "weft.sidecar.v1.Service", "grpc_services": ["a.B"], "no_side_effects": ["/a.B/C"]}}},
                    typed_extension_protocol_options={OPTIONS: {
                        "@type": TYPE + OPTIONS, "common_http_protocol_options": {"idle_timeout": "60s"},
                        "explicit_http_config": {"http2_protocol_options": {}}}}),
            cluster("app", {"pipe": {"path": "@weft-docs-app"}}, lb_policy="LEAST_REQUEST", http2_protocol_options={},
                    least_request_lb_config={"choice_count": 2}),
        ]},
}

# Values for fields that the sample of their type does not fit.
SAMPLES = {
    "retry_on": "unavailable", "domains": ["x"], "path": "/x", "path_separated_prefix": "/x", "status": 200,
    "base_interval": "0.01s", "max_interval": "1s", "alpn_protocols": ["h2"], "idempotent": ["/a.B/D"],
    "retriable_status_codes": [503], "address": "127.0.0.1", "port_value": 7, "cluster": "product", "cluster_name": "product",
    "priority": 0, "mode": 384, "initial_stream_window_size": 65535, "initial_connection_window_size": 1 << 20, "total_weight": 1,
    "timeout": "60s", "per_try_timeout": "0.1s", "validate_clusters": True, "choice_count": 2, "filename": "ca.pem",
    "max_retries": 3, "max_connection_duration": "60s", "match_subject_alt_names": [{"exact": "spiffe://mesh.local/ns/a/sa/b"}],
}
