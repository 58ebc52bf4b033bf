#!/usr/bin/python3
"""The admin of a running sidecar, over loopback and over a unix socket, asked by others' HTTP clients."""
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import sidecar_rig as rig_of  # noqa: E402


def start(rig, name, admin, *flags):
    return rig_of.Sidecar(
        rig, name,
        [rig_of.listener("outbound", "unix:" + rig.path(name + ".sock"), rig_of.to("backend"))],
        [rig_of.cluster("backend", ["127.0.0.1:1"])], *flags, admin=admin)


def ask(port, method, path, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, headers=headers or {})
    response = connection.getresponse()
    body = response.read().decode()
    connection.close()
    return response.status, body, response


def check(condition, text):
    if not condition:
        raise AssertionError(text)


def test_pages(rig):
    port = rig_of.free_port()
    start(rig, "pages", f"127.0.0.1:{port}", "--workers", "3")
    for path, part in (("/", "/metrics"), ("/live", "live"), ("/ready", "ready"),
                       ("/version", "weft-sidecar"), ("/metrics", "weft_attempts_total 0"),
                       ("/clusters", "backend::127.0.0.1:1::health::healthy")):
        status, body, response = ask(port, "GET", path)
        check(status == 200 and part in body, f"{path}: {status} {body}")
        status, body, head = ask(port, "HEAD", path)
        check(status == 200 and body == "", f"HEAD {path}: {status} {body}")
        check(head.getheader("content-type") == response.getheader("content-type"), path)
    clusters = json.loads(ask(port, "GET", "/clusters?format=json")[1])["clusters"]
    check([c["name"] for c in clusters] == ["backend"], clusters)
    check(clusters[0]["endpoints"][0]["address"] == "127.0.0.1:1", clusters)
    dump = json.loads(ask(port, "GET", "/config_dump")[1])
    check(dump["node"]["id"] == "pages-1" and dump["clusters"][0]["name"] == "backend", dump)
    json.loads(ask(port, "GET", "/certs")[1])
    check(ask(port, "GET", "/nothing")[0] == 404, "404")
    check(ask(port, "GET", "/quit")[0] == 405, "405")
    check(ask(port, "GET", "/live", {"Host": "evil.example"})[0] == 403, "a foreign Host")
    check(ask(port, "POST", "/quit", {"Origin": "http://127.0.0.1"})[0] == 403, "an Origin")


def test_smuggling(rig):
    """One connection, malformed: one answer, then the end."""
    port = rig_of.free_port()
    start(rig, "smuggling", f"127.0.0.1:{port}")
    for head in ("POST /drain HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n"
                 "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                 "GET /live HTTP/1.1\nHost: localhost\n\n",
                 "GET /live HTTP/1.1\r\nHost: localhost\r\nX : y\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as s:
            s.sendall(head.encode() + b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n")
            got = b""
            while piece := s.recv(65536):
                got += piece
        check(got.startswith(b"HTTP/1.1 400 ") and got.count(b"HTTP/1.1 ") == 1, got)


def test_unix(rig):
    """Over a socket only its owner reaches; with curl where it is installed."""
    path = rig.path("admin.sock")
    sidecar = start(rig, "unix", "unix:" + path)
    check(os.stat(path).st_mode & 0o777 == 0o600, "the socket is open to others")
    if shutil.which("curl"):
        done = subprocess.run(["curl", "-sS", "--unix-socket", path, "http://localhost/live"],
                              capture_output=True, text=True, timeout=10, check=False)
        check(done.stdout == "live\n", done)
    connection = http.client.HTTPConnection("localhost", timeout=10)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(path)
    for _ in range(3):  # one connection, kept alive
        connection.request("GET", "/ready")
        check(connection.getresponse().read() == b"ready\n", "keep-alive")
    connection.request("POST", "/quit", headers={"Content-Length": "0"})
    check(connection.getresponse().status == 200, "quit")
    connection.close()
    check(sidecar.process.wait(20) == 0, sidecar.text())
    check(not os.path.exists(path), "the socket was left behind")


def test_drain(rig):
    port = rig_of.free_port()
    sidecar = start(rig, "drain", f"127.0.0.1:{port}")
    check(ask(port, "POST", "/drain")[0] == 200, "drain")
    check(sidecar.end(signal.SIGTERM) == 0, sidecar.text())


def test_open_address(rig):
    """Reachable from other machines: refused in one line, and allowing plaintext is not enough."""
    for flags, line in (((), "plaintext could leave this machine at 0.0.0.0"),
                        (("--unsafe-plaintext",), "can be reached from other machines")):
        try:
            start(rig, "open", f"0.0.0.0:{rig_of.free_port()}", *flags)
        except AssertionError as error:
            check(line in str(error), error)
        else:
            raise AssertionError("0.0.0.0 was accepted")


def main():
    failed = 0
    tests = [test_pages, test_smuggling, test_unix, test_drain, test_open_address]
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
    finally:
        rig.close()
    print(f"{len(tests) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
