#!/usr/bin/python3
"""Two sidecars of several workers under load from many connections, with cancels and resets, while the admin is asked
for all it has: nothing is lost, counts of all workers add up, and the drain is orderly. Its worth is in TSan."""
import os
import sys
import threading
import time

import grpc

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import sidecar_rig as rig_of  # noqa: E402
import test_sidecar_grpc as grpc_of  # noqa: E402

CLIENTS = 8
SECONDS = 2


class Load(threading.Thread):
    """One connection: unary calls, a cancelled call now and then, a stream now and then."""

    def __init__(self, where, seconds):
        super().__init__()
        self.client = grpc_of.Client(where)
        self.end = time.monotonic() + seconds
        self.begun = self.good = self.cancelled = 0
        self.bad = []
        self.start()

    def run(self):
        while time.monotonic() < self.end or self.begun < 20:
            self.begun += 1
            try:
                self.one(self.begun)
            except grpc.RpcError as e:
                self.bad.append((e.code(), e.details()))

    def one(self, i):
        if i % 10 == 5:
            call = self.client.channel.unary_unary(f"/{grpc_of.SERVICE}/Slow").future(b"", timeout=20)
            call.cancel()
            self.cancelled += 1
            return
        if i % 10 == 7:
            assert sum(len(m) for m in self.client.down(b"20 30", timeout=20)) > 0
        else:
            body = b"%d" % i * (i % 50)
            assert self.client.unary("Unary", body)[0] == body
        self.good += 1


def pair(rig, certs, app):
    """Both with two workers: (where to call, admins, sidecars)."""
    out, between = f"unix:{rig.path('out')}", f"127.0.0.1:{rig_of.free_port()}"
    admins = [rig.path("a-admin"), rig.path("b-admin")]
    mine, theirs = certs.leaf("w-user"), certs.leaf("w-echo")
    b = rig_of.Sidecar(rig, "w-b", [rig_of.listener("in", between, rig_of.to("app"), True, (theirs, certs.ca))],
                       [rig_of.cluster("app", [app])], "--workers", "2", admin="unix:" + admins[1])
    a = rig_of.Sidecar(rig, "w-a", [rig_of.listener("out", out, rig_of.to("echo"))],
                       [rig_of.cluster("echo", [between], (mine, certs.ca, [rig_of.spiffe("w-echo")]))],
                       "--workers", "2", admin="unix:" + admins[0])
    return out, admins, (a, b)


def watch(admin, stop, seen):
    """Asks for every page while there is load."""
    while not stop.wait(0.005):
        for page in ("/metrics", "/clusters?format=json", "/clusters", "/config_dump", "/live", "/ready"):
            status, text = rig_of.ask(admin, page)
            assert status == 200, (page, text)
            seen.append(page)


def calls_of(admin):
    return sum(value for name, value in rig_of.metrics(admin).items()
               if name.startswith("weft_request_duration_seconds_count"))


def test_load(rig, certs):
    app = f"unix:{rig.path('app')}"
    server, handler = grpc_of.serve(app)
    out, admins, sidecars = pair(rig, certs, app)
    stop, seen = threading.Event(), []
    watchers = [threading.Thread(target=watch, args=(admin, stop, seen)) for admin in admins]
    for one in watchers:
        one.start()
    loads = [Load(out, SECONDS) for _ in range(CLIENTS)]
    for one in loads:
        one.join()
    stop.set()
    for one in watchers:
        one.join()
    assert not any(one.bad for one in loads), [one.bad[:3] for one in loads]
    good, cancelled = (sum(getattr(one, k) for one in loads) for k in ("good", "cancelled"))
    assert len(seen) >= 12 and good >= CLIENTS * 10
    # A cancelled call may have ended before it left the client.
    for admin in admins:
        rig_of.wait_for(lambda: good <= calls_of(admin) <= good + cancelled, 10, "the sum of calls")
        rig_of.wait_for(lambda: not [n for n, v in rig_of.metrics(admin).items()
                                     if n.startswith("weft_requests_active") and v], 10, "the end of all calls")
    # Calls in flight end well while both drain: who calls first.
    handler.cancelled.clear()
    slow = [grpc_of.Client(out) for _ in range(4)]
    waiting = [c.channel.unary_unary(f"/{grpc_of.SERVICE}/Slow").future(b"1", timeout=30) for c in slow]
    name = 'weft_requests_active{direction="inbound"}'
    rig_of.wait_for(lambda: rig_of.metrics(admins[1])[name] == 4, 20, "four calls in flight")
    for one in sidecars:
        one.process.terminate()
    for one in sidecars:
        rig_of.wait_for(lambda: '"draining"' in one.text(), 20, "the drain")
    handler.cancelled.set()
    for one in waiting:
        one.result(30)
    for one in sidecars:
        assert one.process.wait(30) == 0, one.text()
    server.stop(0)
    print(f"# {good} calls, {cancelled} cancelled, {len(seen)} pages")


def main():
    rig = rig_of.Rig()
    try:
        test_load(rig, rig_of.Certs(rig.folder))
        passed = 1
    except Exception:  # noqa: BLE001
        import traceback
        traceback.print_exc(file=sys.stdout)
        for one in rig.all:
            print(one.text()[-6000:])
        passed = 0
    finally:
        rig.close()
    print(f"{passed} passed, {1 - passed} failed")
    return 1 - passed


if __name__ == "__main__":
    sys.exit(main())
