#!/usr/bin/python3
"""Calls that end in every way a call can end, through two sidecars with mTLS: afterwards nothing is open, nothing is
buffered, nothing waits, and what one side of each connection may send is what the other expects.

COUNT=100000 makes it long (`make soak-calls`); SEED=N repeats a run."""
import json
import os
import subprocess
import sys
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import sidecar_rig as rig_of  # noqa: E402

COUNT = int(os.environ.get("COUNT") or 10000)
SEED = int(os.environ.get("SEED") or 1)
# Gauges that are zero when there are no calls; in all labels.
NOTHING = ("weft_requests_active", "weft_h2_streams", "weft_h2_buffered_bytes", "weft_h2_queued_bytes",
           "weft_h2_stream_handles", "weft_chunk_pieces")
READ_CHUNKS = 16  # what a worker reads into and keeps (256 KiB)


class Peer:
    """A client or a server of tests/integration/sidecar_soak_*.c."""

    def __init__(self, rig, name, *args):
        self.process = subprocess.Popen(
            [os.path.join(rig_of.BUILD, "bin/tests/integration", name), *map(str, args)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        rig.started.append(self.process)

    def line(self):
        text = self.process.stdout.readline()
        if not text:
            raise AssertionError(f"{self.process.args[0]} ended: {self.process.wait(10)}")
        return text

    def counts(self):
        self.process.stdin.write("counts\n")
        self.process.stdin.flush()
        return json.loads(self.line())


class Mesh:
    """client → A ⇒ mTLS ⇒ B → server"""

    def __init__(self, rig, name, cut_every=0):
        certs = rig_of.Certs(rig.folder)
        app, wire = f"unix:{rig.path(name + '.app')}", f"127.0.0.1:{rig_of.free_port()}"
        self.out = f"unix:{rig.path(name + '.out')}"
        self.server = Peer(rig, "sidecar_soak_server", app, cut_every)
        assert self.server.line() == "ready\n"
        self.b = rig_of.Sidecar(
            rig, name + "-b",
            [rig_of.listener("in", wire, rig_of.to("app"), True, (certs.leaf("soak"), certs.ca))],
            [rig_of.cluster("app", [app])], admin="unix:" + rig.path(name + "-b.admin"))
        self.a = rig_of.Sidecar(
            rig, name + "-a", [rig_of.listener("out", self.out, rig_of.to("soak"))],
            [rig_of.cluster("soak", [wire], (certs.leaf("user"), certs.ca, [rig_of.spiffe("soak")]))],
            admin="unix:" + rig.path(name + "-a.admin"))
        self.admin = {s: rig.path(f"{name}-{s}.admin") for s in "ab"}

    def metrics(self, sidecar):
        return rig_of.metrics(self.admin[sidecar])


def check_nothing_left(mesh):
    """Waits for it, and says what is left when it does not come."""
    left = {}

    def nothing():
        left.clear()
        for name in "ab":
            got = mesh.metrics(name)
            for key, value in got.items():
                family = key.split("{")[0]
                if (family in NOTHING or family == "weft_cluster_active"
                        and 'what="connections"' not in key) and value:
                    left[name + " " + key] = value
            for cluster in rig_of.ask_json(mesh.admin[name], "/clusters?format=json")["clusters"]:
                for end in cluster["endpoints"]:
                    if any(end["active"].values()):
                        left[name + " " + end["address"]] = end["active"]
            if got["weft_chunks"] > READ_CHUNKS:
                left[name + " weft_chunks"] = got["weft_chunks"]
        return not left

    try:
        rig_of.wait_for(nothing, 20, "quiet")
    except AssertionError as error:
        raise AssertionError(f"{error}; left: {left}") from None


def check_windows(mesh, client):
    """What each side may send is what the other expects: no credit was lost or made up on the way."""
    pairs = []

    def equal():
        c, s, a, b = client.counts(), mesh.server.counts(), mesh.metrics("a"), mesh.metrics("b")

        def of(sidecar, way, direction):
            return sidecar[f'weft_h2_{way}_window_bytes{{direction="{direction}"}}']

        pairs[:] = [
            ("client to A", c["send"], of(a, "receive", "inbound")),
            ("A to client", of(a, "send", "inbound"), c["receive"]),
            ("A to B", of(a, "send", "outbound"), of(b, "receive", "inbound")),
            ("B to A", of(b, "send", "inbound"), of(a, "receive", "outbound")),
            ("B to server", of(b, "send", "outbound"), s["receive"]),
            ("server to B", s["send"], of(b, "receive", "outbound")),
        ]
        return all(x == y for _, x, y in pairs)

    try:
        rig_of.wait_for(equal, 20, "equal windows")
    except AssertionError as error:
        raise AssertionError(f"{error}: {pairs}") from None
    half = 2 << 20  # credit is returned before half a window is gone
    for name, window, _ in pairs:
        assert window >= half or not window, (name, window)  # 0: no connection, in test_cuts
    return pairs


def run(rig, name, count, cut_every):
    mesh = Mesh(rig, name, cut_every)
    first = Peer(rig, "sidecar_soak_client", mesh.out, 200, SEED + 1, 0)
    json.loads(first.line())
    first.process.stdin.close()  # gone: the gauges of both sidecars come to rest
    assert first.process.wait(20) == 0
    check_nothing_left(mesh)
    before = {s: mesh.metrics(s) for s in "ab"}
    begun = time.monotonic()
    client = Peer(rig, "sidecar_soak_client", mesh.out, count, SEED, cut_every)
    got = json.loads(client.line())
    seconds = time.monotonic() - begun
    print(f"# {name}: {count} calls in {seconds:.1f} s: {got}", flush=True)
    check_nothing_left(mesh)
    windows = check_windows(mesh, client)
    print("# windows: " + ", ".join(f"{n} {x:.0f}" for n, x, _ in windows))
    assert got["calls"] == count and not got["wrong"], got
    server = mesh.server.counts()
    for counts, how in ((got, "ok"), (got, "status"), (got, "cancelled"), (server, "resets")):
        assert counts[how] >= count * 0.02, (how, got, server)
    return mesh, client, got, before


def calls_ended(metrics):
    return sum(v for k, v in metrics.items() if k.startswith("weft_requests_total"))


def test_resets(rig):
    """Cancels and resets, on connections that last."""
    mesh, _, got, before = run(rig, "soak", COUNT, 0)
    assert got["lost"] == 0, got
    now = {s: mesh.metrics(s) for s in "ab"}
    # Each call is counted once, and none of their connections had to go.
    ended = calls_ended(now["a"]) - calls_ended(before["a"])
    assert got["calls"] - got["cancelled"] <= ended <= got["calls"], (ended, got)
    for sidecar, direction in (("a", "outbound"), ("b", "inbound"), ("b", "outbound")):
        made, still = (now[sidecar][f'weft_connections_{what}{{direction="{direction}"}}']
                       for what in ("total", "open"))
        assert made == still, (sidecar, direction, made, still)
    for name in (mesh.a, mesh.b):
        assert name.end() == 0, name.text()


def test_cuts(rig):
    """The same while the client and the app cut connections with calls on them."""
    count = COUNT // 5
    mesh, client, got, _ = run(rig, "cuts", count, max(50, count // 40))
    assert got["lost"] and got["cuts"] >= 10, got
    assert mesh.server.counts()["cuts"] >= 10
    # What was under way on a connection may be lost with it, nothing else.
    assert got["unavailable"] <= mesh.server.counts()["cuts"] * 64 + count * 0.1, got
    client.process.stdin.close()
    for name in (mesh.a, mesh.b):
        assert name.end() == 0, name.text()


def main():
    failed = 0
    tests = [test_resets, test_cuts]
    rig = rig_of.Rig()
    try:
        for test in tests:
            try:
                test(rig)
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
    print(f"{len(tests) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
