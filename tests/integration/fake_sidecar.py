#!/usr/bin/python3
"""Stands in for weft-sidecar in tests of its supervisor: fake_sidecar.py -c FILE. Its ways are in FAKE_SIDECAR, its
life is a line each in the file FAKE_SIDECAR_LOG."""
import os
import signal
import sys
import time

MODE = os.environ.get("FAKE_SIDECAR", "")


def note(text):
    with open(os.environ["FAKE_SIDECAR_LOG"], "a") as f:
        f.write("%s %d\n" % (text, os.getpid()))


def on_term(*_):
    note("drains")
    if MODE == "slow":
        time.sleep(0.3)  # this is what is tested
    note("ends")
    os._exit(0)


note("starts " + " ".join(sys.argv[1:]))
if MODE == "refuses":
    print("order.yaml:3:1: static_resources: missing", file=sys.stderr)
    sys.exit(2)
signal.signal(signal.SIGTERM, on_term)
signal.signal(signal.SIGINT, signal.SIG_IGN)
if MODE == "hangs":
    signal.pause()
note("ready WEFT_LISTEN=%s" % os.environ.get("WEFT_LISTEN"))
os.write(int(os.environ["WEFT_READY_FD"]), b"outbound=unix:/a/rather/long/line/that/is/longer/than/what/is/read/at/once/by/anyone\n")
os.close(int(os.environ["WEFT_READY_FD"]))
while True:
    signal.pause()
