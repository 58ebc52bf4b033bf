#!/usr/bin/python3
"""Python's own gRPC without a proxy, `xds:///product.shop`, against the real control plane: it finds an instance, shares calls
among two, and follows when one leaves."""
import json
import os
import subprocess
import sys
import tempfile
import time
import unittest
from concurrent import futures

import grpc

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.get("BUILD", os.path.join(ROOT, "build")))
METHOD = "/test.Who/Ask"
DEADLINE = 30
MESH = """
apiVersion: weft.dev/v1
kind: Service
metadata: {name: product, namespace: shop}
spec: {}
"""


def program(name):
    return os.path.join(BUILD, "bin", name)


def ask_for_ever():
    """The client, a process of its own: the bootstrap is read once. Prints every answer."""
    ask = grpc.insecure_channel("xds:///product.shop").unary_unary(METHOD)
    while True:
        try:
            print(ask(b"", timeout=5, wait_for_ready=True).decode(), flush=True)
        except grpc.RpcError as error:
            print("error %s" % error.code(), flush=True)
        time.sleep(0.01)


def serve(answer):
    class Who(grpc.GenericRpcHandler):
        def service(self, details):
            return grpc.unary_unary_rpc_method_handler(lambda request, context: answer) if details.method == METHOD else None

    server = grpc.server(futures.ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((Who(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port


class Discovery(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="weft-control-xds-")
        self.state = os.path.join(self.folder.name, "state")
        reader, writer = os.pipe()
        os.set_inheritable(writer, True)
        self.control = subprocess.Popen(
            [program("weft-control"), "--listen", "127.0.0.1:0", "--state", self.state, "--plaintext", "--grace", "200ms"],
            env=dict(os.environ, WEFT_READY_FD=str(writer)), pass_fds=[writer], stderr=subprocess.DEVNULL)
        os.close(writer)
        with os.fdopen(reader) as ready:
            self.address = ready.readline().strip()
        self.assertTrue(self.address, "the control plane did not start")
        self.leases = []
        self.client = None

    def tearDown(self):
        for lease in self.leases:
            lease.kill()
            lease.communicate()
        if self.client:
            self.client.kill()
            self.client.communicate()
        self.control.terminate()
        self.assertEqual(self.control.wait(30), 0)
        self.folder.cleanup()

    def register(self, instance, port):
        lease = subprocess.Popen([program("weft"), "call", "--timeout", "0", self.address, "weft.control.v1.RegistryService/Lease", "-"],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.leases.append(lease)
        lease.stdin.write(json.dumps({"register": {
            "namespace": "shop", "service": "product", "instance": instance, "address": "127.0.0.1:1",
            "plainAddress": "127.0.0.1:%d" % port, "health": "HEALTHY"}}) + "\n")
        lease.stdin.flush()
        self.assertIn("registered", lease.stdout.readline())
        return lease

    def answers(self, wanted):
        """Until 20 answers in a row are these, each of them among the 20."""
        end = time.monotonic() + DEADLINE
        last = []
        while time.monotonic() < end:
            last = (last + [self.client.stdout.readline().strip()])[-20:]
            if len(last) == 20 and set(last) == set(wanted):
                return
        self.fail("wanted %s, the last answers were %s" % (wanted, last))

    def test_follows(self):
        first, first_port = serve(b"first")
        second, second_port = serve(b"second")
        self.addCleanup(first.stop, None)
        self.addCleanup(second.stop, None)
        apply = json.dumps({"files": [{"name": "mesh.yaml", "content": MESH}]})
        subprocess.run([program("weft"), "call", "unix:%s/admin.sock" % self.state, "weft.control.v1.AdminService/Apply", apply],
                       check=True, stdout=subprocess.DEVNULL)
        bootstrap = os.path.join(self.folder.name, "bootstrap.json")
        with open(bootstrap, "w", encoding="utf-8") as file:
            json.dump({"xds_servers": [{"server_uri": self.address, "channel_creds": [{"type": "insecure"}],
                                        "server_features": ["xds_v3"]}], "node": {"id": "python"}}, file)
        lease = self.register("one", first_port)
        self.client = subprocess.Popen([sys.executable, os.path.abspath(__file__), "ask"], stdout=subprocess.PIPE, text=True,
                                       env=dict(os.environ, GRPC_XDS_BOOTSTRAP=bootstrap))
        self.answers(["first"])
        self.register("two", second_port)
        self.answers(["first", "second"])
        lease.kill()  # its stream breaks: out when the grace has passed
        self.answers(["second"])


if __name__ == "__main__":
    if sys.argv[1:] == ["ask"]:
        ask_for_ever()
    suite = unittest.defaultTestLoader.loadTestsFromModule(sys.modules[__name__])
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(suite)
    bad = len({str(test).split(" (")[0] for test, _ in result.failures + result.errors})
    print("%d passed, %d failed" % (result.testsRun - bad, bad))
    sys.exit(1 if bad or not result.wasSuccessful() else 0)
