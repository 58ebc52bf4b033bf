#!/usr/bin/python3
"""STRICT_DNS clusters against a DNS server of the test: addresses that come and go, names that fail, servers that
say nothing; and a name of the hosts file."""
import os
import socket
import struct
import sys
import threading
from concurrent import futures

import grpc

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import sidecar_rig as rig_of  # noqa: E402

NXDOMAIN, SERVFAIL = 3, 2
NAME = "echo.mesh.test"


class Dns(threading.Thread):
    """Answers A and AAAA over UDP from `addresses`, or as `mood` says."""

    def __init__(self):
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.where = "127.0.0.1:%d" % self.socket.getsockname()[1]
        self.addresses = []
        self.mood = 0  # an error code; None: silent
        self.ttl = 0
        self.asked = 0
        self.start()

    def run(self):
        while True:
            query, sender = self.socket.recvfrom(4096)
            reply = self.reply(query)
            if reply:
                self.socket.sendto(reply, sender)

    def reply(self, query):
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode().lower())
            at += 1 + query[at]
        question = query[12:at + 5]
        kind = struct.unpack(">H", query[at + 1:at + 3])[0]
        if ".".join(labels) != NAME:
            return self.head(query, NXDOMAIN, 0) + question
        self.asked += 1
        if self.mood is None:
            return None
        if self.mood:
            return self.head(query, self.mood, 0) + question
        family, size = {1: (socket.AF_INET, 4), 28: (socket.AF_INET6, 16)}.get(kind, (None, 0))
        found = [a for a in self.addresses if (":" in a) == (family == socket.AF_INET6)] if size else []
        records = b"".join(struct.pack(">HHHIH", 0xC00C, kind, 1, self.ttl, size) + socket.inet_pton(family, a)
                           for a in found)
        return self.head(query, 0, len(found)) + question + records

    @staticmethod
    def head(query, code, answers):
        return query[:2] + struct.pack(">HHHHH", 0x8180 | code, 1, answers, 0, 0)


class Echo(grpc.GenericRpcHandler):
    """Says its address; Wait answers when it is told to."""

    def __init__(self, name):
        self.name = name.encode()
        self.entered = threading.Event()
        self.go = threading.Event()

    def service(self, details):
        if details.method.endswith("/Wait"):
            return grpc.unary_unary_rpc_method_handler(self.wait)
        return grpc.unary_unary_rpc_method_handler(lambda _, c: self.name)

    def wait(self, request, context):
        del request, context
        self.entered.set()
        self.go.wait(60)
        return self.name


def serve(address, port):
    handler = Echo(address)
    server = grpc.server(futures.ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((handler,))
    where = f"[{address}]" if ":" in address else address
    assert server.add_insecure_port(f"{where}:{port}") == port, (address, port)
    server.start()
    return server, handler


def port_on(addresses):
    """A port that is free on all of them."""
    for _ in range(100):
        port = rig_of.free_port()
        taken = []
        try:
            for a in addresses:
                s = socket.socket(socket.AF_INET6 if ":" in a else socket.AF_INET)
                taken.append(s)
                s.bind((a, port))
            return port
        except OSError:
            continue
        finally:
            for s in taken:
                s.close()
    raise AssertionError("no port is free")


class Mesh:
    def __init__(self, rig, name, dns, host, port):
        self.admin = rig.path(name + "-admin")
        out = f"unix:{rig.path(name)}"
        cluster = rig_of.cluster("echo", [f"{host}:{port}"], kind="STRICT_DNS", more="dns_refresh_rate: 0.1s")
        self.sidecar = rig_of.Sidecar(rig, name, [rig_of.listener("out", out, rig_of.to("echo"))], [cluster],
                                      "--dns", dns.where, "--unsafe-plaintext", admin="unix:" + self.admin)
        self.channel = grpc.insecure_channel(out, [("grpc.use_local_subchannel_pool", 1),
                                                   ("grpc.default_authority", "echo")])

    def call(self, method="Name", **more):
        more.setdefault("timeout", 20)
        return self.channel.unary_unary("/test.Echo/" + method)(b"", **more).decode()

    def fault(self):
        try:
            return "none: " + self.call()
        except grpc.RpcError as e:
            assert e.code() == grpc.StatusCode.UNAVAILABLE, e
            return e.details()

    def seen(self, calls=6):
        return {self.call() for _ in range(calls)}

    def endpoints(self):
        found = rig_of.ask_json(self.admin, "/clusters?format=json")
        return str(found)

    def outbound(self):
        return rig_of.metrics(self.admin)['weft_connections_open{direction="outbound"}']


def test_come_and_go(rig):
    dns = Dns()
    hosts = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
    port = port_on(hosts)
    servers = {a: serve(a, port) for a in hosts}
    mesh = Mesh(rig, "come", dns, NAME, port)
    # A name without an address yet.
    assert "do not resolve" in mesh.fault()
    dns.addresses = ["127.0.0.1"]
    rig_of.wait_for(lambda: "127.0.0.1" in mesh.endpoints(), 20, "the first address")
    assert mesh.seen() == {"127.0.0.1"}
    # Others join.
    dns.addresses = hosts
    rig_of.wait_for(lambda: "127.0.0.3" in mesh.endpoints(), 20, "the third address")
    assert mesh.seen() == set(hosts)
    # Two leave while each has a call: these end well, nobody new goes there, their connections end.
    waiting = [mesh.channel.unary_unary("/test.Echo/Wait").future(b"", timeout=60) for _ in range(3)]
    for _, handler in servers.values():
        assert handler.entered.wait(20)
    dns.addresses = ["127.0.0.2"]
    rig_of.wait_for(lambda: "127.0.0.3" not in mesh.endpoints(), 20, "the third to leave")
    assert mesh.seen() == {"127.0.0.2"}
    assert mesh.outbound() == 3
    for _, handler in servers.values():
        handler.go.set()
    assert sorted(w.result(20).decode() for w in waiting) == hosts
    rig_of.wait_for(lambda: mesh.outbound() == 1, 20, "connections to those that left to end")
    # And come back.
    dns.addresses = ["127.0.0.3", "127.0.0.2"]
    rig_of.wait_for(lambda: "127.0.0.3" in mesh.endpoints(), 20, "the third to come back")
    assert mesh.seen() == {"127.0.0.2", "127.0.0.3"}
    for server, _ in servers.values():
        server.stop(0)
    assert mesh.sidecar.end() == 0


def test_failures(rig):
    """The last good addresses stay good, whatever happens to the name."""
    dns = Dns()
    dns.addresses = ["127.0.0.1"]
    port = port_on(["127.0.0.1", "127.0.0.2"])
    servers = [serve("127.0.0.1", port), serve("127.0.0.2", port)]
    mesh = Mesh(rig, "fail", dns, NAME, port)
    rig_of.wait_for(lambda: "127.0.0.1" in mesh.endpoints(), 20, "the address")
    for mood in (NXDOMAIN, SERVFAIL, None):
        dns.mood = mood
        before = dns.asked
        rig_of.wait_for(lambda: dns.asked >= before + 2, 30, "two more questions")
        assert mesh.seen() == {"127.0.0.1"}, mood
    assert mesh.sidecar.text().count("a name does not resolve") >= 1
    dns.mood = 0
    dns.addresses = ["127.0.0.2"]
    rig_of.wait_for(lambda: "127.0.0.2" in mesh.endpoints(), 30, "the new address")
    assert mesh.seen() == {"127.0.0.2"}
    for server, _ in servers:
        server.stop(0)


def test_long_ttl(rig):
    """dns_refresh_rate is the longest that an answer is believed."""
    dns = Dns()
    dns.addresses, dns.ttl = ["127.0.0.1"], 86400
    port = port_on(["127.0.0.1", "127.0.0.2"])
    mesh = Mesh(rig, "ttl", dns, NAME, port)
    rig_of.wait_for(lambda: "127.0.0.1" in mesh.endpoints(), 20, "the address")
    dns.addresses = ["127.0.0.2"]
    rig_of.wait_for(lambda: "127.0.0.2" in mesh.endpoints(), 20, "the new address")


def test_hosts_file(rig):
    """/etc/hosts comes first: localhost needs no server."""
    dns = Dns()
    port = port_on(["127.0.0.1"])
    server, _ = serve("127.0.0.1", port)
    mesh = Mesh(rig, "hosts", dns, "localhost", port)
    rig_of.wait_for(lambda: "127.0.0.1" in mesh.endpoints(), 20, "localhost")
    assert mesh.seen() == {"127.0.0.1"}
    assert dns.asked == 0
    server.stop(0)


def test_bad_server(rig):
    class Nobody:
        where = "nonsense:x"
    try:
        Mesh(rig, "bad", Nobody, NAME, 1)
    except AssertionError as e:
        assert "--dns nonsense:x: write 127.0.0.1:53" in str(e), e
        return
    raise AssertionError("it started")


def main():
    passed = failed = 0
    for test in (test_come_and_go, test_failures, test_long_ttl, test_hosts_file, test_bad_server):
        rig = rig_of.Rig()
        try:
            test(rig)
            passed += 1
            print("ok", test.__name__)
        except Exception:  # noqa: BLE001
            import traceback
            traceback.print_exc(file=sys.stdout)
            for one in rig.all:
                print(one.text()[-3000:])
            failed += 1
            print("FAILED", test.__name__)
        finally:
            rig.close()
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
