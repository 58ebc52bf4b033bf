#!/usr/bin/python3
"""A service for tests of `weft up`: up_service.py MODE. It needs no library: readiness is CONNECT."""
import json
import os
import signal
import socket
import subprocess
import sys
import time

MODE = sys.argv[1]
NAME = os.environ["WEFT_SERVICE"]
ADDRESS = os.environ["WEFT_LISTEN"]


def log(level, message, **fields):
    line = {"time": "2026-01-31T23:59:59.123456Z", "level": level, "service": NAME, "msg": message, **fields}
    sys.stderr.write(json.dumps(line, separators=(",", ":")) + "\n")
    sys.stderr.flush()


def ready():
    os.write(int(os.environ["WEFT_READY_FD"]), b"\n")


def on_term(*_):
    log("warn", "leaving")
    if MODE == "partial":
        os.write(1, b"the end")
    if MODE == "slow-stop":
        time.sleep(0.5)  # this is what is tested
    os._exit(0)


if MODE == "crash":
    print("cannot open the database", flush=True)
    sys.stderr.write("no newline at the end")
    sys.stderr.flush()
    sys.exit(3)
if MODE == "never":
    signal.pause()
if MODE == "quit":
    sys.exit(0)

if MODE == "family":  # one child in its group, one that left it
    subprocess.Popen(["sleep", "1000"])
    subprocess.Popen(["setsid", "sleep", "1001"])
if MODE == "children":
    subprocess.Popen(["sleep", "1002"])
if MODE == "partial":
    sys.stdout.write("half a ")
    sys.stdout.flush()
    sys.stdout.write("line\nlong: " + "x" * 200000 + "\n")
    sys.stdout.flush()
if MODE == "flood":
    for number in range(20000):
        sys.stdout.write("line %d of a flood\n" % number)
    sys.stdout.flush()
if ADDRESS.startswith("unix:"):
    server = socket.socket(socket.AF_UNIX)
    server.bind(ADDRESS[5:])
else:
    host, port = ADDRESS.rsplit(":", 1)
    server = socket.socket()
    server.bind((host, int(port)))
server.listen(16)
signal.signal(signal.SIGTERM, signal.SIG_IGN if MODE == "ignore" else on_term)
log("info", "listening", pid=os.getpid(), instance=os.environ["WEFT_INSTANCE"],
    upstreams=sorted(key for key in os.environ if key.startswith("WEFT_UPSTREAM_")), extra=os.environ.get("EXTRA", ""))
ready()
if MODE == "dies":  # after it was ready, the first two times
    state = os.path.join(os.environ["WEFT_STATE_DIR"], "starts")
    with open(state, "a") as f:
        f.write("x")
    if os.path.getsize(state) <= 2:
        server.accept()[0].close()
        os.kill(os.getpid(), signal.SIGKILL)
if MODE == "fails":
    server.accept()[0].close()
    print("something broke", flush=True)
    sys.exit(4)
while True:
    server.accept()[0].close()
