"""Sidecars for integration tests: certificates, bootstrap files, processes, ports.

Certificates are made with the openssl program, as anyone outside the project would."""
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
import time

BUILD = os.environ.get("BUILD", "build")
DOMAIN = "mesh.test"


def spiffe(service):
    return f"spiffe://{DOMAIN}/ns/shop/sa/{service}"


class Certs:
    """A root and the leaves below it, in a folder."""

    def __init__(self, folder, name="ca"):
        self.folder = folder
        self.name = name
        self.ca = self.path(name + ".pem")
        self._run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                  "-keyout", self.path(name + ".key"), "-out", self.ca, "-days", "30",
                  "-subj", "/CN=" + name, "-addext", f"subjectAltName=URI:spiffe://{DOMAIN}",
                  "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    def path(self, name):
        return os.path.join(self.folder, name)

    def _run(self, *args):
        subprocess.run(["openssl", *args], check=True, capture_output=True)

    def leaf(self, service, dates=None, uri=None):
        """Paths of (certificate, key). dates: (notBefore, notAfter) as YYYYMMDDHHMMSSZ."""
        base = self.path(f"{self.name}-{service}")
        self._run("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                  "-keyout", base + ".key", "-out", base + ".csr", "-subj", "/")
        with open(base + ".ext", "w") as f:
            f.write("basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n"
                    "extendedKeyUsage=serverAuth,clientAuth\n"
                    f"subjectAltName=critical,URI:{uri or spiffe(service)}\n")
        if not dates:
            self._run("x509", "-req", "-in", base + ".csr", "-CA", self.ca, "-CAkey",
                      self.path(self.name + ".key"), "-CAcreateserial", "-days", "10",
                      "-extfile", base + ".ext", "-out", base + ".pem")
        else:
            db = base + ".db"
            os.makedirs(db, exist_ok=True)
            open(db + "/index", "w").close()
            with open(db + "/conf", "w") as f:
                f.write(f"[ca]\ndefault_ca=d\n[d]\ndatabase={db}/index\nnew_certs_dir={db}\n"
                        "rand_serial=yes\ndefault_md=sha256\npolicy=p\nunique_subject=no\n[p]\n"
                        "commonName=optional\n")
            self._run("ca", "-batch", "-config", db + "/conf", "-cert", self.ca, "-keyfile",
                      self.path(self.name + ".key"), "-in", base + ".csr", "-out", base + ".pem",
                      "-startdate", dates[0], "-enddate", dates[1], "-extfile", base + ".ext",
                      "-subj", "/CN=x", "-notext")
        return base + ".pem", base + ".key"


TAKEN = []  # sockets that hold a name for each port given out, until this process ends


def free_port():
    """A port that nobody listens at. Not one of those that the system gives to connections (32768 on), which any
    process may be given before it is listened at; nor one that another suite, at the same time, was told of."""
    while True:
        port = random.randrange(10000, 32768)
        name = socket.socket(socket.AF_UNIX)
        try:
            name.bind(f"\0weft-test-port-{port}")
            with socket.socket() as s:
                s.bind(("127.0.0.1", port))
        except OSError:
            name.close()
            continue
        TAKEN.append(name)
        return port


def tls_common(leaf, ca, matchers):
    text = "common_tls_context: {"
    if leaf:
        text += (f"tls_certificates: [{{certificate_chain: {{filename: {leaf[0]}}}, "
                 f"private_key: {{filename: {leaf[1]}}}}}], ")
    sans = "".join(f"{{san_type: URI, matcher: {{exact: '{m}'}}}}, " for m in matchers)
    text += f"validation_context: {{trusted_ca: {{filename: {ca}}}"
    if sans:
        text += f", match_typed_subject_alt_names: [{sans[:-2]}]"
    return text + "}}"


def address(where):
    if where.startswith("unix:"):
        return f"{{pipe: {{path: {where[5:]}}}}}"
    host, port = where.rsplit(":", 1)
    return f"{{socket_address: {{address: {host}, port_value: {port}}}}}"


def listener(name, where, routes, inbound=False, tls=None, more=""):
    """tls: (leaf, ca) or (leaf, ca, [SPIFFE IDs of clients]). routes: YAML of a list of routes."""
    text = f"""
  - name: {name}
    address: {address(where)}
    traffic_direction: {'INBOUND' if inbound else 'OUTBOUND'}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: {name}
          codec_type: HTTP2
          {more}
          route_config:
            name: {name}
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes: {routes}
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
"""
    if tls:
        text += f"""      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          require_client_certificate: true
          {tls_common(tls[0], tls[1], tls[2] if len(tls) > 2 else [])}
"""
    return text


def cluster(name, where, tls=None, more="", kind="STATIC", policy="ROUND_ROBIN"):
    """tls: (leaf, ca, [SPIFFE IDs])."""
    ends = ", ".join(f"{{endpoint: {{address: {address(w)}}}}}" for w in where)
    text = f"""
  - name: {name}
    type: {kind}
    connect_timeout: 2s
    lb_policy: {policy}
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{http2_protocol_options: {{}}}}
    {more}
    load_assignment:
      cluster_name: {name}
      endpoints: [{{lb_endpoints: [{ends}]}}]
"""
    if tls:
        text += f"""    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        {tls_common(tls[0], tls[1], tls[2])}
"""
    return text


def to(name, more="timeout: 0s"):
    return f'[{{match: {{prefix: "/"}}, route: {{cluster: {name}, {more}}}}}]'


class Sidecar:
    def __init__(self, rig, name, listeners, clusters, *flags, admin=None):
        self.file = rig.path(name + ".yaml")
        self.log = rig.path(name + ".log")
        self.spans = rig.path(name + ".spans")
        with open(self.file, "w") as f:
            f.write(f"node: {{id: {name}-1, cluster: {name}}}\n")
            if admin:
                f.write(f"admin: {{address: {address(admin)}}}\n")
            f.write("static_resources:\n  listeners:" + "".join(listeners) +
                    "  clusters:" + "".join(clusters))
        ready, told = os.pipe()
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                [os.path.join(BUILD, "bin/weft-sidecar"), "-c", self.file, "--spans", self.spans,
                 *flags], stderr=log, pass_fds=[told],
                env={**os.environ, "WEFT_READY_FD": str(told)})
        os.close(told)
        with os.fdopen(ready) as pipe:
            line = pipe.readline()
        rig.all.append(self)
        if not line:
            raise AssertionError(f"{name} did not start: {self.text()}")

    def text(self):
        with open(self.log) as f:
            return f.read()

    def end(self, number=signal.SIGTERM, seconds=20):
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(seconds)


class Rig:
    """A folder and everything started in it."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="weft-")
        os.chmod(self.folder, 0o700)
        self.all = []      # sidecars
        self.started = []  # other processes

    def path(self, name):
        return os.path.join(self.folder, name)

    def close(self):
        for process in [one.process for one in self.all] + self.started:
            if process.poll() is None:
                process.kill()
                process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def ask(admin, path):
    """GET of an admin at the unix socket `admin`: (status, text)."""
    connection = http.client.HTTPConnection("localhost", timeout=20)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(20)
    connection.sock.connect(admin)
    connection.request("GET", path)
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return response.status, text


def ask_json(admin, path):
    return json.loads(ask(admin, path)[1])


def metrics(admin):
    """/metrics as {"name{labels}": number}."""
    status, text = ask(admin, "/metrics")
    assert status == 200, text
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if line and line[0] != "#"]
    return {name: float(value) for name, value in lines}


def wait_for(check, seconds=10, what="a condition"):
    """Polls a condition of another process."""
    end = time.monotonic() + seconds
    while not check():
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come true in {seconds} s")
        time.sleep(0.01)


def run(tests):
    """A suite's main: all of its tests, or those named as arguments, with one rig and its certificates."""
    wanted = sys.argv[1:]
    picked = [t for t in tests if not wanted or t.__name__ in wanted]
    failed = 0
    rig = Rig()
    try:
        certs = Certs(rig.folder)
        for test in picked:
            try:
                test(rig, certs)
                print("ok", test.__name__, flush=True)
            except Exception:
                traceback.print_exc()
                print("FAILED", test.__name__, flush=True)
                failed += 1
                if os.environ.get("KEEP"):
                    for one in rig.all:
                        print("---", one.log, one.text())
    finally:
        rig.close()
    print(f"{len(picked) - failed} passed, {failed} failed")
    sys.stdout.flush()
    os._exit(1 if failed else 0)  # without waiting for the threads of calls that were cut off
