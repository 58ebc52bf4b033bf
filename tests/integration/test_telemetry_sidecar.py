#!/usr/bin/python3
"""Spans of two sidecars in weft-telemetry over OTLP: one trace over both, a collector that is away and comes back,
one that hangs."""
import json
import os
import socket
import subprocess
import sys
import time
import unittest
from concurrent import futures

import grpc

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import sidecar_rig as rig_of  # noqa: E402

BIN = os.path.join(rig_of.BUILD, "bin")
METHOD = "/test.Echo/Unary"


class Sidecars(unittest.TestCase):
    def setUp(self):
        self.rig = rig_of.Rig()
        self.addCleanup(self.rig.close)
        self.certs = rig_of.Certs(self.rig.folder)
        self.address = "unix:" + self.rig.path("telemetry.sock")
        self.state = self.rig.path("state")
        self.app = "unix:" + self.rig.path("app.sock")
        server = grpc.server(futures.ThreadPoolExecutor(4))
        handlers = {"Unary": grpc.unary_unary_rpc_method_handler(lambda request, _: request)}
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test.Echo", handlers)])
        server.add_insecure_port(self.app)
        server.start()
        self.addCleanup(server.stop, None)

    def telemetry(self):
        ready, told = os.pipe()
        process = subprocess.Popen([os.path.join(BIN, "weft-telemetry"), "--state", self.state, "--listen", self.address],
                                   pass_fds=[told], env=dict(os.environ, WEFT_READY_FD=str(told), WEFT_LOG="warn"))
        os.close(told)
        self.rig.started.append(process)
        with os.fdopen(ready) as pipe:
            self.assertTrue(pipe.readline())
        return process

    def pair(self):
        """client → A (cart) ⇒ mTLS ⇒ B (echo) → app; where A listens."""
        out, wire = "unix:" + self.rig.path("a"), "127.0.0.1:%d" % rig_of.free_port()
        cart, echo = self.certs.leaf("cart"), self.certs.leaf("echo")
        flags = ("--otlp", self.address)
        self.b = rig_of.Sidecar(self.rig, "b", [rig_of.listener("in", wire, rig_of.to("app"), True, (echo, self.certs.ca))],
                                [rig_of.cluster("app", [self.app])], *flags)
        self.a = rig_of.Sidecar(self.rig, "a", [rig_of.listener("out", out, rig_of.to("echo.shop"))],
                                [rig_of.cluster("echo.shop", [wire], (cart, self.certs.ca, [rig_of.spiffe("echo")]))], *flags)
        self.channel = grpc.insecure_channel(out)
        self.addCleanup(self.channel.close)
        return self.channel.unary_unary(METHOD)

    def call(self, unary, number):
        """One call in a trace of its own; the trace's id."""
        trace = "%032x" % number
        self.assertEqual(unary(b"x", timeout=10, metadata=(("traceparent", "00-%s-00f067aa0ba902b7-01" % trace),)), b"x")
        return trace

    def weft(self, *args):
        done = subprocess.run([os.path.join(BIN, "weft"), *args], stdout=subprocess.PIPE, text=True, timeout=60,
                              env=dict(os.environ, WEFT_TELEMETRY=self.address, LC_ALL="C"), stderr=subprocess.PIPE)
        return done.stdout

    def spans(self, trace, count):
        """The trace once it has that many spans: sidecars send apart from each other."""
        found = []

        def there():
            text = self.weft("trace", trace, "-o", "json")
            found[:] = json.loads(text)["spans"] if text else []
            return len(found) >= count
        rig_of.wait_for(there, 30, "%d spans of %s" % (count, trace))
        return found

    def test_trace(self):
        collector = self.telemetry()
        unary = self.pair()
        trace = self.call(unary, 1)
        spans = self.spans(trace, 3)
        self.assertEqual([(s["service"], s["kind"], s.get("depth", 0)) for s in spans],
                         [("cart.shop", "SPAN_KIND_CLIENT", 0), ("cart.shop", "SPAN_KIND_CLIENT", 1),
                          ("echo.shop", "SPAN_KIND_SERVER", 2)])
        self.assertEqual({s["name"] for s in spans}, {METHOD[1:]})
        self.assertEqual({s["origin"] for s in spans}, {"ORIGIN_SIDECAR"})
        self.assertTrue(spans[0]["parentMissing"])  # the client's own span, which it does not send
        self.assertEqual(spans[2]["peer"], "cart.shop")
        text = self.weft("trace", trace)
        self.assertIn("attempt 1 at 127.0.0.1:", text)
        self.assertIn("OK", text)
        edges = json.loads(subprocess.run([os.path.join(BIN, "weft"), "call", self.address, "TelemetryService/ListEdges", "{}",
                                           "-o", "json"], stdout=subprocess.PIPE, text=True, check=True).stdout)["edges"]
        self.assertEqual([(e["caller"], e["callee"], e["method"], e["calls"]) for e in edges],
                         [("cart.shop", "echo.shop", METHOD[1:], "1")])
        for sidecar in (self.a, self.b):
            self.assertEqual(sidecar.end(), 0, sidecar.text())
        collector.terminate()
        self.assertEqual(collector.wait(20), 0)

    def test_away(self):
        """No call notices, and what was made meanwhile comes when the collector does."""
        collector = self.telemetry()
        unary = self.pair()
        self.spans(self.call(unary, 1), 3)
        collector.kill()
        collector.wait()
        trace = self.call(unary, 2)
        self.telemetry()
        self.spans(trace, 3)
        self.spans(self.call(unary, 3), 3)

    def test_end(self):
        """A sidecar that ends sends what it has."""
        self.telemetry()
        trace = self.call(self.pair(), 7)
        for sidecar in (self.a, self.b):
            self.assertEqual(sidecar.end(), 0, sidecar.text())
        self.assertEqual(len(self.spans(trace, 3)), 3)

    def test_refusals(self):
        for address, why in (("10.0.0.1:4317", "--unsafe-plaintext"), ("nowhere", "--otlp nowhere: ")):
            done = subprocess.run([os.path.join(BIN, "weft-sidecar"), "-c", "/dev/null", "--check", "--otlp", address],
                                  stderr=subprocess.PIPE, text=True, check=False)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(why, done.stderr)

    def test_hangs(self):
        """A collector that accepts and never answers: calls go on, and the sidecars end."""
        with socket.socket(socket.AF_UNIX) as silent:
            silent.bind(self.address[5:])
            silent.listen(8)
            unary = self.pair()
            for i in range(50):
                self.call(unary, i + 1)
            began = time.monotonic()
            for sidecar in (self.a, self.b):
                self.assertEqual(sidecar.end(), 0, sidecar.text())
            self.assertLess(time.monotonic() - began, 9)


if __name__ == "__main__":
    suite = unittest.defaultTestLoader.loadTestsFromModule(sys.modules[__name__])
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(suite)
    bad = len({str(test).split(" (")[0] for test, _ in result.failures + result.errors})
    print("%d passed, %d failed" % (result.testsRun - bad, bad))
    sys.exit(1 if bad or not result.wasSuccessful() else 0)
