#!/usr/bin/python3
"""What the wire between two sidecars shows, and whom they refuse.

Canaries: relays record what passes on all three ways (app → A, A ⇒ B, B → app). Refusals: each bad certificate is
told in one line by the side that refuses and in one by the side that is refused, while a connection of the
same two sidecars goes on undisturbed. Expiry: a connection ends with its peer's certificate."""
import json
import os
import random
import socket
import sys
import threading
import time

import grpc

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import sidecar_rig as rig_of  # noqa: E402
import test_sidecar_grpc as echo  # noqa: E402

# All of these are 8 to 13 bits long in HPACK's Huffman code: encoders send such text as it is.
UGLY = "XZ!'()*+;&"


class Relay(echo.Relay):
    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()

    def connect(self, where):
        """Records what goes to `where`; returns where to connect to."""
        return self(where)

    def count(self, word):
        return bytes(self.seen).count(word)


def canary(rng):
    return "".join(rng.choice(UGLY) for _ in range(32))


def send_canaries(rig, certs, name, secure):
    """Counts of each canary on the ways app → A, A ⇒ B, B → app."""
    rng = random.Random(7)
    words = {where: canary(rng) for where in ("body", "metadata", "path")}
    app, wire, out = (f"127.0.0.1:{rig_of.free_port()}" for _ in range(3))
    server, handler = echo.serve(app)
    ways = [Relay() for _ in range(3)]
    tls_in = (certs.leaf(name + "-echo"), certs.ca) if secure else None
    tls_out = ((certs.leaf(name + "-user"), certs.ca, [rig_of.spiffe(name + "-echo")]) if secure
               else None)
    b = rig_of.Sidecar(rig, name + "-b",
                       [rig_of.listener("in", wire, rig_of.to("app"), True, tls_in)],
                       [rig_of.cluster("app", [ways[2].connect(app)])])
    a = rig_of.Sidecar(rig, name + "-a", [rig_of.listener("out", out, rig_of.to("echo"))],
                       [rig_of.cluster("echo", [ways[1].connect(wire)], tls_out)])
    client = echo.Client(ways[0].connect(out))
    body = words["body"].encode()
    assert client.unary("Unary", body)[0] == body
    reply, call = client.unary("Unary", b"", metadata=(("echo-word", words["metadata"]),))
    assert dict(call.initial_metadata())["echo-word"] == words["metadata"]
    code, _, _ = echo.code_of(lambda: client.unary(words["path"]))
    assert code == grpc.StatusCode.UNIMPLEMENTED, code
    assert handler.seen
    client.channel.close()
    for sidecar in (a, b):
        assert sidecar.end() == 0, sidecar.text()
    server.stop(0)
    assert all(len(way.seen) > 500 for way in ways), [len(way.seen) for way in ways]
    return {what: [way.count(word.encode()) for way in ways] for what, word in words.items()}


def test_canary(rig, certs):
    found = send_canaries(rig, certs, "secret", True)
    print(f"# mTLS: times seen on app → A, A ⇒ B, B → app: {found}")
    for what, counts in found.items():
        assert counts[0] >= 1 and counts[1] == 0 and counts[2] >= 1, (what, counts)
    # Without mTLS the same search finds them: it can fail.
    plain = send_canaries(rig, certs, "plain", False)
    for what, counts in plain.items():
        assert min(counts) >= 1, (what, counts)


# ---- refusals

class Good:
    """A well-behaved client: unary calls all the time and one conversation that never ends."""

    def __init__(self, where):
        self.client = echo.Client(where)
        self.failures = []
        self.count = 0
        self.stop = threading.Event()
        self.turn = threading.Semaphore(1)
        self.chat = self.client.chat(self.talk(), timeout=300)
        assert next(self.chat) == b"on"
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def talk(self):
        while True:
            self.turn.acquire()
            if self.stop.is_set():
                return
            yield b"on"

    def run(self):
        while not self.stop.is_set():
            try:
                assert self.client.unary("Unary", b"x")[0] == b"x"
                self.count += 1
            except Exception as error:  # noqa: BLE001
                self.failures.append(error)

    def converse(self):
        self.turn.release()
        assert next(self.chat) == b"on"

    def end(self):
        self.stop.set()
        self.turn.release()
        self.thread.join(30)
        assert list(self.chat) == []
        assert not self.failures, self.failures[:3]


def lines_of(sidecar, **fields):
    found = []
    for line in sidecar.text().splitlines():
        entry = json.loads(line)
        if all(entry.get(k) == v for k, v in fields.items()):
            found.append(entry)
    return found


# name: (who refuses, part of its line, part of the other's line)
REFUSALS = {
    "nocert": ("b", "mTLS: the client sent no certificate; expected an X.509-SVID of mesh.test",
               "TLS: the peer requires a client certificate and we have none; configure our SVID"),
    "otherca": ("b", 'sa/user: issued under "CN=other", which is not the root of mesh.test',
                'sa/user: its bundle lacks our root, "CN=other"'),
    "domain": ("b", "spiffe://evil.test/ns/shop/sa/user: expected an identity of trust domain mesh.test",
               "spiffe://evil.test/ns/shop/sa/user: it expected another identity"),
    "picky": ("b", "sa/stranger: expected spiffe://mesh.test/ns/shop/sa/picky-user",
              "sa/stranger: it expected another identity"),
    "expired": ("b", "sa/late: its certificate expired at 2020-02-01T00:00:00Z",
                "sa/late: it has expired by its clock"),
    "early": ("b", "sa/soon: its certificate is not valid before 2099-01-01T00:00:00Z",
              "sa/soon: it is malformed, or not yet valid by its clock"),
    "wrongid": ("a", "sa/echo: expected spiffe://mesh.test/ns/shop/sa/somebody",
                "sa/echo: it expected another identity"),
    "otherca-server": ("a", 'sa/echo: issued under "CN=other", which is not the root of mesh.test',
                       'sa/echo: its bundle lacks our root, "CN=other"'),
    "expired-server": ("a", "sa/echo: its certificate expired at 2020-02-01T00:00:00Z",
                       "sa/echo: it has expired by its clock"),
    "early-server": ("a", "sa/echo: its certificate is not valid before 2099-01-01T00:00:00Z",
                     "sa/echo: it is malformed, or not yet valid by its clock"),
}
PAST, FUTURE = ("20200101000000Z", "20200201000000Z"), ("20990101000000Z", "20990201000000Z")


def refusing_mesh(rig, certs, other, app):
    """A and B, and in each a listener and a cluster a case."""
    evil = "spiffe://evil.test/ns/shop/sa/user"
    user, server, right = certs.leaf("user"), certs.leaf("echo"), [rig_of.spiffe("echo")]
    clients = {"nocert": None, "otherca": other.leaf("user"), "domain": certs.leaf("evil", uri=evil),
               "picky": certs.leaf("stranger"), "expired": certs.leaf("late", PAST),
               "early": certs.leaf("soon", FUTURE)}
    servers = {"otherca-server": other.leaf("echo"),
               "expired-server": certs.leaf("late-echo", PAST, rig_of.spiffe("echo")),
               "early-server": certs.leaf("soon-echo", FUTURE, rig_of.spiffe("echo"))}
    ids = {"wrongid": [rig_of.spiffe("somebody")]}
    matchers = {"picky": [rig_of.spiffe("picky-user")]}
    ins, outs, clusters, where = [], [], [], {}
    for name in ["good", *REFUSALS]:
        wire, where[name] = f"127.0.0.1:{rig_of.free_port()}", f"unix:{rig.path(name + '.out')}"
        ins.append(rig_of.listener(name, wire, rig_of.to("app"), True,
                                   (servers.get(name, server), certs.ca, matchers.get(name, []))))
        outs.append(rig_of.listener(name, where[name], rig_of.to(name)))
        clusters.append(rig_of.cluster(name, [wire], (clients.get(name, user), certs.ca,
                                                      ids.get(name, right))))
    admins = {s: rig.path(f"refuse-{s}.admin") for s in "ab"}
    b = rig_of.Sidecar(rig, "refuse-b", ins, [rig_of.cluster("app", [app])],
                       admin="unix:" + admins["b"])
    a = rig_of.Sidecar(rig, "refuse-a", outs, clusters, admin="unix:" + admins["a"])
    return a, b, where, admins


def check_refusal(name, a, b, where):
    """One call that is refused; the lines of both sides, each there once."""
    code, text, _ = echo.code_of(lambda: echo.Client(where[name]).unary("Unary", b"x"))
    assert code == grpc.StatusCode.UNAVAILABLE and text and "\n" not in text, (name, code, text)
    by, refuser, refused = REFUSALS[name]
    at_b, at_a = (refuser, refused) if by == "b" else (refused, refuser)

    def told():
        return (lines_of(b, msg="connection refused", listener=name)
                and lines_of(a, msg="cannot reach an endpoint", cluster=name))

    rig_of.wait_for(told, 10, f"{name}: a line on both sides")
    for side, part, found in (("B", at_b, lines_of(b, msg="connection refused", listener=name)),
                              ("A", at_a, lines_of(a, msg="cannot reach an endpoint", cluster=name))):
        assert len(found) == 1 and part in found[0]["reason"], (name, side, found)
        print(f"# {name}, {side}: {found[0]['reason']}")
    assert at_a in text, (name, text)  # the app is told why, too


def test_refusals(rig, certs):
    app = f"unix:{rig.path('refuse-app')}"
    server, _ = echo.serve(app)
    other = rig_of.Certs(rig.folder, "other")
    a, b, where, admins = refusing_mesh(rig, certs, other, app)
    good = Good(where["good"])
    for name in REFUSALS:
        before = good.count
        check_refusal(name, a, b, where)
        good.converse()
        rig_of.wait_for(lambda: good.count > before or good.failures, 20, "calls beside")
    good.end()
    now = {s: rig_of.metrics(admins[s]) for s in "ab"}
    n = len(REFUSALS)
    for side, key, want in (
            ("b", 'weft_tls_handshakes_total{direction="inbound",outcome="failed"}', n),
            ("b", 'weft_tls_handshakes_total{direction="inbound",outcome="ok"}', 1),
            ("b", 'weft_connections_total{direction="inbound"}', 1),
            ("a", 'weft_tls_handshakes_total{direction="outbound",outcome="failed"}', n),
            ("a", 'weft_tls_handshakes_total{direction="outbound",outcome="ok"}', 1),
            ("a", 'weft_connect_failures_total', n),
            ("a", 'weft_connections_total{direction="outbound"}', 1)):
        assert now[side][key] == want, (side, key, now[side][key], want)
    assert len(lines_of(b, msg="connection refused")) == n
    assert not lines_of(a, msg="connection lost") and not lines_of(b, msg="connection lost")
    for sidecar in (a, b):
        assert sidecar.end() == 0, sidecar.text()
    server.stop(0)


def test_many_refusals(rig, certs):
    """Whoever can connect cannot fill the log: some lines a second, and how many more there were."""
    wire, admin, count = f"127.0.0.1:{rig_of.free_port()}", rig.path("many.admin"), 300
    one = rig_of.Sidecar(rig, "many", [rig_of.listener("in", wire, rig_of.to("app"), True,
                                                       (certs.leaf("many"), certs.ca))],
                         [rig_of.cluster("app", [f"unix:{rig.path('nobody')}"])], admin="unix:" + admin)
    host, port = wire.split(":")
    begun = time.monotonic()
    for _ in range(count):
        with socket.create_connection((host, int(port)), timeout=20) as s:
            s.sendall(b"GET / HTTP/1.1\r\n\r\n")
            while s.recv(4096):
                pass
    failed = 'weft_tls_handshakes_total{direction="inbound",outcome="failed"}'
    rig_of.wait_for(lambda: rig_of.metrics(admin)[failed] == count, 20, "all refused")

    def told():
        return sum(line["connections"] for line in lines_of(one, level="warn", listener="in") if "connections" in line)

    rig_of.wait_for(lambda: len(lines_of(one, msg="connection refused")) + told() == count, 20, "all told of")
    seconds = time.monotonic() - begun
    lines = len(lines_of(one, msg="connection refused"))
    assert lines <= 20 * (seconds + 1), (lines, seconds)
    assert one.end() == 0, one.text()


# ---- expiry

def stamp(at):
    return time.strftime("%Y%m%d%H%M%SZ", time.gmtime(at))


class Dying:
    """A pair one of whose certificates lives `life` seconds; connected while it does."""

    def __init__(self, rig, certs, name, app, short, life):
        end = int(time.time()) + life + 1
        dates = (stamp(time.time() - 3600), stamp(end))
        leaf = {s: certs.leaf(f"{name}-{s}", dates if s == short else None) for s in ("user", "echo")}
        out, wire = f"unix:{rig.path(name + '.out')}", f"127.0.0.1:{rig_of.free_port()}"
        self.end, self.name = end, name
        self.admins = {s: rig.path(f"{name}-{s}.admin") for s in "ab"}
        self.b = rig_of.Sidecar(
            rig, name + "-b", [rig_of.listener("in", wire, rig_of.to("app"), True,
                                               (leaf["echo"], certs.ca))],
            [rig_of.cluster("app", [app])], admin="unix:" + self.admins["b"])
        self.a = rig_of.Sidecar(
            rig, name + "-a", [rig_of.listener("out", out, rig_of.to("echo"))],
            [rig_of.cluster("echo", [wire], (leaf["user"], certs.ca, [rig_of.spiffe(name + "-echo")]))],
            admin="unix:" + self.admins["a"])
        self.client = echo.Client(out)
        self.turn = threading.Semaphore(1)
        self.chat = self.client.chat(self.talk(), timeout=120)
        assert next(self.chat) == b"on"
        assert self.client.unary("Unary", b"x")[0] == b"x"

    def talk(self):
        while self.turn.acquire(timeout=100):
            yield b"on"

    def connections(self):
        return [rig_of.metrics(self.admins[s])[f'weft_connections_open{{direction="{d}"}}']
                for s, d in (("a", "outbound"), ("b", "inbound"))]


def start_dying(rig, certs, app):
    """Two pairs, one with a client and one with a server about to expire: in a few seconds, or more where processes
    start so slowly that one would have expired before both are there."""
    for life in (4, 12, 40):
        try:
            both = [Dying(rig, certs, f"{name}{life}", app, short, life)
                    for name, short in (("client", "user"), ("server", "echo"))]
            if time.time() < both[0].end:
                return both
        except (grpc.RpcError, AssertionError):
            if life == 40:
                raise
    raise AssertionError("the first certificate expired before the second was in use")


def check_goaway(dying, what):
    """At expiry: no new calls, with the reason in one line; but the open call goes on for a while."""
    rig_of.wait_for(lambda: time.time() >= dying.end, 60, "expiry")

    def refused():
        code, text, _ = echo.code_of(lambda: dying.client.unary("Unary", b"x", timeout=5))
        return code == grpc.StatusCode.UNAVAILABLE and "expired" in text and "\n" not in text

    rig_of.wait_for(refused, 4, f"{what}: a refusal that says expired")
    dying.turn.release()
    assert next(dying.chat) == b"on", what


def check_cut(dying, what, judge):
    """Then it is cut off; `judge` says so in one line."""
    code, text, _ = echo.code_of(lambda: next(dying.chat))
    after = time.time() - dying.end
    assert code == grpc.StatusCode.UNAVAILABLE and "\n" not in text, (what, code, text)
    assert after >= 3, (what, after)
    rig_of.wait_for(lambda: dying.connections() == [0, 0], 10, f"{what}: no connection")
    assert judge.text().count("the peer's certificate has expired") == 1, judge.text()
    print(f"# {what}: cut off {after:.1f} s after expiry: {text}")


def test_expiry(rig, certs):
    app = f"unix:{rig.path('expiry-app')}"
    server, _ = echo.serve(app)
    _, _, out, _ = echo.pair(rig, "lasting", app, certs)
    good = Good(out)
    client, server_side = start_dying(rig, certs, app)
    check_goaway(client, "the client's certificate")
    check_goaway(server_side, "the server's certificate")
    check_cut(client, "the client's certificate", client.b)
    check_cut(server_side, "the server's certificate", server_side.a)
    good.converse()
    good.end()
    server.stop(0)


def main():
    tests = [test_canary, test_refusals, test_many_refusals, test_expiry]
    rig_of.run(tests)


if __name__ == "__main__":
    sys.exit(main())
