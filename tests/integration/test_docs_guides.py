#!/usr/bin/python3
"""Follows the guides that need no compiler as a newcomer would: writes their files, runs their commands, compares their output.

A block with a name is a file, ```sh is run, ```text must be printed, line by line and in that order."""
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

import sidecar_rig

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.get("BUILD", os.path.join(ROOT, "build")))
FOLDER, PORT = "/tmp/weft-guide", "7443"  # as the guides say; here they are our own

# For machines without curl.
CURL = """#!/usr/bin/python3
import socket, sys
url = sys.argv[-1]
with socket.socket(socket.AF_UNIX) as s:
    s.connect(sys.argv[sys.argv.index("--unix-socket") + 1])
    s.sendall(("GET %s HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n" % url[len("http://localhost"):]).encode())
    text = b"".join(iter(lambda: s.recv(65536), b"")).decode()
sys.stdout.write(text.partition("\\r\\n\\r\\n")[2])
"""

passed = failed = 0


def check(name, good, detail=""):
    global passed, failed
    passed, failed = passed + bool(good), failed + (not good)
    print(("ok   " if good else "FAIL ") + name + ("" if good else "\n" + detail), flush=True)


def free_port():
    return str(sidecar_rig.free_port())


def programs(folder):
    """A folder for PATH: ours, the system's python3 (which has grpc), and curl."""
    os.mkdir(folder)
    for name in ("weft", "weft-sidecar", "weft-shop"):
        os.symlink(os.path.join(BUILD, "bin", name), os.path.join(folder, name))
    os.symlink("/usr/bin/python3", os.path.join(folder, "python3"))
    if not shutil.which("curl"):
        with open(os.path.join(folder, "curl"), "w", encoding="utf-8") as out:
            out.write(CURL)
        os.chmod(os.path.join(folder, "curl"), 0o755)


def missing(expected, output):
    """The first line that is not printed after the one before it, or None."""
    lines = iter(output.splitlines())
    for line in expected:
        if not any(line == one for one in lines):
            return line
    return None


def follow(name):
    work = tempfile.mkdtemp(prefix="weft-docs-")
    place, port = os.path.join(work, "g"), free_port()
    os.mkdir(place, 0o700)
    programs(os.path.join(work, "bin"))
    with open(os.path.join(ROOT, "docs", "guides", name), encoding="utf-8") as guide:
        text = guide.read().replace(FOLDER, place).replace(PORT, port)
    script, expected = ["set -e"], []
    for kind, file, body in re.findall(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", text, re.S | re.M):
        if file:
            with open(os.path.join(place, file), "w", encoding="utf-8") as out:
                out.write(body)
        elif kind == "sh":
            script.append(body)
        elif kind == "text":
            expected += body.splitlines()
    env = {k: v for k, v in os.environ.items() if not k.startswith("WEFT_")}
    env["PATH"] = os.path.join(work, "bin") + ":" + env["PATH"]
    with open(os.path.join(work, "output"), "w+", encoding="utf-8") as out:
        run = subprocess.Popen(["bash", "-c", "\n".join(script)], cwd=place, env=env, stdin=subprocess.DEVNULL, stdout=out,
                               stderr=subprocess.STDOUT, start_new_session=True)
        try:
            code = run.wait(60)
        except subprocess.TimeoutExpired:
            code = "timed out"
        try:
            os.killpg(run.pid, signal.SIGKILL)  # whatever a failure left
        except ProcessLookupError:
            pass
        run.wait()
        out.seek(0)
        output = out.read()
    check(name + ": the commands succeed", code == 0, "%s\n%s" % (code, output))
    line = missing(expected, output)
    check("%s: prints its %d lines" % (name, len(expected)), expected and line is None, "not printed: %s\n%s" % (line, output))
    shutil.rmtree(work, ignore_errors=True)


for guide in sys.argv[1:] or ["sidecar.md", "python.md"]:
    follow(guide)
print("%d passed, %d failed" % (passed, failed))
sys.exit(1 if failed else 0)
