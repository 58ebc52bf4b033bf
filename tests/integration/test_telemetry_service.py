#!/usr/bin/python3
"""weft-telemetry as its users meet it: OTLP from Python's grpcio, `weft trace` and `weft logs`, kill -9, size."""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import grpc

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BIN = os.path.join(os.environ.get("BUILD", "build"), "bin")
TRACES = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
LOGS = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
MS = 1000000
sys.dont_write_bytecode = True


def generate(folder):
    """Python's messages from our contracts."""
    names = ["common/v1/common", "resource/v1/resource", "trace/v1/trace", "logs/v1/logs",
             "collector/trace/v1/trace_service", "collector/logs/v1/logs_service"]
    subprocess.run(["protoc", "-I" + os.path.join(ROOT, "proto"), "-I/usr/include", "--python_out=" + folder,
                    "protobuf-c/protobuf-c.proto"] + ["opentelemetry/proto/%s.proto" % n for n in names], check=True)
    sys.path.insert(0, folder)


class Service:
    """A running weft-telemetry; `kill` and `start` again on the same state."""

    def __init__(self, folder, *flags):
        self.folder, self.flags, self.process = folder, flags, None
        self.address = "unix:%s/telemetry.sock" % folder
        self.start()

    def start(self):
        read, write = os.pipe()
        env = dict(os.environ, WEFT_READY_FD=str(write), WEFT_LOG="warn")
        self.process = subprocess.Popen([os.path.join(BIN, "weft-telemetry"), "--state", self.folder, "--listen",
                                         self.address, *self.flags], env=env, pass_fds=[write])
        os.close(write)
        with os.fdopen(read) as ready:
            assert ready.readline().startswith("unix:"), "weft-telemetry did not become ready"
        self.channel = grpc.insecure_channel(self.address)

    def stop(self, number=signal.SIGTERM):
        self.channel.close()
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(20)

    def call(self, method, request, reply):
        return self.channel.unary_unary(method, request_serializer=type(request).SerializeToString,
                                        response_deserializer=reply.FromString)(request, timeout=20)

    def weft(self, *args, code=0):
        done = subprocess.run([os.path.join(BIN, "weft"), *args], text=True, stdout=subprocess.PIPE, timeout=30,
                              stderr=subprocess.PIPE, env=dict(os.environ, WEFT_TELEMETRY=self.address, LC_ALL="C.UTF-8"))
        assert done.returncode == code, (args, done.returncode, done.stdout, done.stderr)
        return done.stdout if code == 0 else done.stderr


class Telemetry(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.python = tempfile.mkdtemp(prefix="weft-otlp-")
        cls.addClassCleanup(shutil.rmtree, cls.python, ignore_errors=True)
        generate(cls.python)
        from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
        from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
        cls.trace, cls.logs = trace_service_pb2, logs_service_pb2

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="weft-tel-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def service(self, *flags):
        service = Service(self.folder, *flags)
        self.addCleanup(service.stop, signal.SIGKILL)
        return service

    # ---- what is sent

    def add(self, request, service, scope=""):
        resource = request.resource_spans.add()
        for key, value in (("service.name", service), ("service.namespace", "shop")):
            resource.resource.attributes.add(key=key).value.string_value = value
        scope_spans = resource.scope_spans.add()
        scope_spans.scope.name = scope
        return scope_spans.spans

    def span(self, spans, trace, number, parent, name, kind, start, took, **attributes):
        span = spans.add(trace_id=trace, span_id=number.to_bytes(8, "big"), name=name, kind=kind)
        if parent:
            span.parent_span_id = parent.to_bytes(8, "big")
        span.start_time_unix_nano = self.now + start * MS
        span.end_time_unix_nano = self.now + (start + took) * MS
        for key, value in attributes.items():
            v = span.attributes.add(key=key.replace("_", ".")).value
            if isinstance(value, int):
                v.int_value = value
            else:
                v.string_value = value
        return span

    def one_order(self, trace):
        """Sidecars of order and user, and the app behind user; order's app tells nothing."""
        self.now = time.time_ns()
        request = self.trace.ExportTraceServiceRequest()
        name = "shop.user.v1.UserService/GetUser"
        order = self.add(request, "order", "weft-sidecar")
        self.span(order, trace, 1, 0, "shop.order.v1.OrderService/PlaceOrder", 2, 0, 50)
        self.span(order, trace, 2, 99, name, 3, 5, 30, weft_cluster="user.shop")
        self.span(order, trace, 3, 2, name, 3, 6, 28, weft_cluster="user.shop", weft_attempt=1)
        user = self.add(request, "user", "weft-sidecar")
        bad = self.span(user, trace, 4, 3, name, 2, 10, 20, weft_peer_id="spiffe://mesh.local/ns/shop/sa/order")
        bad.status.code, bad.status.message = 2, "no user \"u-9\""
        bad.attributes.add(key="rpc.grpc.status_code").value.int_value = 5
        self.span(self.add(request, "user"), trace, 5, 4, name, 2, 12, 15)
        return request

    def send(self, service, request):
        return service.call(TRACES, request, self.trace.ExportTraceServiceResponse)

    # ---- tests

    def test_trace(self):
        service = self.service()
        trace = bytes(range(16))
        answer = self.send(service, self.one_order(trace))
        self.assertFalse(answer.HasField("partial_success"))
        out = service.weft("trace", trace.hex())
        lines = out.splitlines()
        self.assertIn("5 spans  1 error", lines[1])
        rows = [line.split()[:4] for line in lines[4:9]]
        self.assertEqual(rows[0], ["order", "sidecar", "serves", "OrderService/PlaceOrder"])
        self.assertEqual(rows[1][:4], ["~", "order", "sidecar", "calls"])
        self.assertEqual(rows[2], ["order", "sidecar", "attempt", "1"])
        self.assertEqual(rows[3], ["user", "sidecar", "serves", "UserService/GetUser"])
        self.assertIn("NOT_FOUND", lines[7])
        self.assertIn('no user "u-9"', lines[8])
        self.assertEqual(lines[9].split()[:2], ["user", "app"])
        whole = json.loads(service.weft("trace", "--last", "-o", "json"))
        self.assertEqual([s.get("depth", 0) for s in whole["spans"]], [0, 1, 2, 3, 4])
        self.assertEqual(whole["summary"]["traceId"], trace.hex())
        self.assertTrue(whole["spans"][1]["parentInferred"])
        self.assertIn(trace.hex(), service.weft("trace", "--service", "user", "--errors"))
        self.assertEqual(service.weft("trace", "--min-duration", "1s"), "")
        self.assertIn("NOT_FOUND", service.weft("trace", "f" * 32, code=1))
        self.assertIn("hex digits", service.weft("trace", "x", code=2))
        edges = json.loads(subprocess.run(
            [os.path.join(BIN, "weft"), "call", service.address, "TelemetryService/ListEdges", "{}", "-o", "json"],
            stdout=subprocess.PIPE, text=True, check=True).stdout)["edges"]
        self.assertEqual([(e["caller"], e["callee"], e["calls"]) for e in edges if e.get("caller")],
                         [("order.shop", "user.shop", "1")])
        self.assertEqual(service.stop(), 0)
        self.assertIn("no weft-telemetry at", service.weft("trace", code=3))

    def test_partial_success(self):
        service = self.service()
        request = self.one_order(bytes(range(16)))
        request.resource_spans[0].scope_spans[0].spans[1].trace_id = b"short"
        answer = self.send(service, request)
        self.assertEqual(answer.partial_success.rejected_spans, 1)
        self.assertIn("trace_id", answer.partial_success.error_message)
        self.assertIn("4 spans", service.weft("trace", "--last"))

    def test_kill(self):
        """What was acknowledged is there after SIGKILL, once, also when it is sent again."""
        service = self.service()
        acknowledged = []
        for round_ in range(3):
            for i in range(20):
                trace = bytes([round_ + 1, i + 1]) * 8
                request = self.one_order(trace)
                self.send(service, request)
                acknowledged.append((trace, request))
            service.stop(signal.SIGKILL)
            service.start()
        for trace, request in acknowledged:
            self.send(service, request)
        found = json.loads(service.weft("trace", "-n", "500", "-o", "json"))["traces"]
        self.assertEqual({t["traceId"]: t["spans"] for t in found}, {t.hex(): 5 for t, _ in acknowledged})

    def test_logs(self):
        service = self.service()
        trace = bytes(range(16))
        follow = subprocess.Popen([os.path.join(BIN, "weft"), "logs", "-f"], stdout=subprocess.PIPE, text=True,
                                  env=dict(os.environ, WEFT_TELEMETRY=service.address))
        self.addCleanup(lambda: (follow.kill(), follow.wait(), follow.stdout.close()))
        request = self.logs.ExportLogsServiceRequest()
        resource = request.resource_logs.add()
        resource.resource.attributes.add(key="service.name").value.string_value = "order"
        records = resource.scope_logs.add().log_records
        for i, (text, severity, level) in enumerate((("placed", 9, "info"), ("\x1b[31mred", 17, "error"))):
            record = records.add(time_unix_nano=1700000000 * 1000 * MS + i, severity_number=severity, severity_text=level)
            record.body.string_value = text
            record.attributes.add(key="order").value.string_value = "o-%d" % i
            if i == 0:
                record.trace_id = trace
        reply = self.logs.ExportLogsServiceResponse
        for _ in range(2):
            service.call(LOGS, request, reply)
        self.assertRegex(follow.stdout.readline(), r"^22:13:20\.000 order +info +placed order=o-0 trace=%s\n$" % trace.hex())
        self.assertNotIn("\x1b", follow.stdout.readline())
        self.assertEqual(len(service.weft("logs").splitlines()), 2)
        self.assertEqual(service.weft("logs", "--trace", trace.hex()).split()[3:], ["placed", "order=o-0"])
        self.assertEqual(len(service.weft("logs", "--level", "error").splitlines()), 1)
        self.assertEqual(service.weft("logs", "--service", "user"), "")
        self.assertEqual(json.loads(service.weft("logs", "-n", "1", "-o", "json"))["attributes"][0]["key"], "order")

    def test_size(self):
        """Under a stream of traces the file stays at its size, requests go on, and the newest traces are there."""
        service = self.service("--max-size", "2MiB")
        longest = 0
        for i in range(150):
            request = self.trace.ExportTraceServiceRequest()
            self.now = time.time_ns()
            spans = self.add(request, "order")
            trace = (i + 1).to_bytes(16, "big")
            for k in range(100):
                self.span(spans, trace, k + 1, 0, "n" * 300, 1, 0, 1)
            began = time.monotonic()
            self.send(service, request)
            longest = max(longest, time.monotonic() - began)
        self.assertIn("100 spans", service.weft("trace", (150).to_bytes(16, "big").hex()))
        self.assertIn("NOT_FOUND", service.weft("trace", (1).to_bytes(16, "big").hex(), code=1))
        size = os.path.getsize(os.path.join(self.folder, "telemetry.db"))
        print("150 requests of 100 spans, longest %.1f ms, %d KiB on disk" % (longest * 1e3, size >> 10))
        self.assertLess(size, (2 << 20) + (512 << 10))

    def test_refusals(self):
        def run(*args):
            done = subprocess.run([os.path.join(BIN, "weft-telemetry"), *args], stderr=subprocess.PIPE, text=True,
                                  stdout=subprocess.PIPE, env={k: v for k, v in os.environ.items() if k != "WEFT_STATE_DIR"})
            return done.returncode, done.stdout + done.stderr
        self.assertEqual(run()[0], 2)
        self.assertEqual(run("--help")[0], 0)
        self.assertEqual(run("--server-help")[0], 0)
        self.assertEqual(run("--state", self.folder, "--max-size", "1KiB")[0], 2)
        self.assertEqual(run("--state", self.folder, "--retention", "never")[0], 2)
        self.assertEqual(run("--state", "/proc/none", "--listen", "unix:%s/x.sock" % self.folder)[0], 1)


if __name__ == "__main__":
    suite = unittest.defaultTestLoader.loadTestsFromModule(sys.modules[__name__])
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(suite)
    bad = len({str(test).split(" (")[0] for test, _ in result.failures + result.errors})
    print("%d passed, %d failed" % (result.testsRun - bad, bad))
    sys.exit(1 if bad or not result.wasSuccessful() else 0)
