#!/usr/bin/python3
"""Follows docs/guides/first-service.md as a newcomer would: writes its files, runs its commands, compares its output."""
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
GUIDE = os.path.join(ROOT, "docs", "guides", "first-service.md")
# Most lines of code (blank lines and comments not counted): what the docs promise of a first service.
MOST_LINES = {"server.c": 30, "client.c": 20}

passed = failed = 0


def check(name, good, detail=""):
    global passed, failed
    passed, failed = passed + bool(good), failed + (not good)
    print(("ok   " if good else "FAIL ") + name + ("" if good else "\n" + detail))


def free_port():
    return str(sidecar_rig.free_port())


def install(prefix):
    made = subprocess.run(["make", "-s", "-C", ROOT, "install", "BUILD=" + BUILD, "PREFIX=" + prefix, "DESTDIR="],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    check("make install", made.returncode == 0, made.stdout)
    return dict(os.environ, PATH=os.path.join(prefix, "bin") + ":" + os.environ["PATH"],
                PKG_CONFIG_PATH=os.path.join(prefix, "lib", "pkgconfig"), LD_LIBRARY_PATH=os.path.join(prefix, "lib"))


def read_guide(work):
    """Writes the named blocks as files; returns the shell script and the lines it must print."""
    script, expected = ["set -e"], []
    with open(GUIDE, encoding="utf-8") as guide:
        blocks = re.findall(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", guide.read(), re.S | re.M)
    for kind, name, text in blocks:
        if name:
            with open(os.path.join(work, name), "w", encoding="utf-8") as out:
                out.write(text)
            if name in MOST_LINES:
                lines = [l for l in text.splitlines() if l.strip() and not l.strip().startswith("//")]
                check("%s has at most %d lines" % (name, MOST_LINES[name]), len(lines) <= MOST_LINES[name], str(len(lines)))
        elif kind == "sh":
            script.append(text)
        elif kind == "text":
            expected += text.splitlines()
    return "\n".join(script), expected


def main():
    work = tempfile.mkdtemp(prefix="weft-first-service-")
    env = install(os.path.join(work, "prefix"))
    script, expected = read_guide(work)
    # The server's log goes aside, so that what is compared is what the guide shows.
    script = script.replace("50051 &", "50051 2>server.log & trap 'kill %1; wait %1' EXIT").replace("50051", free_port())
    run = subprocess.Popen(["bash", "-c", script], cwd=work, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, start_new_session=True)
    try:
        output, _ = run.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        os.killpg(run.pid, signal.SIGKILL)
        output = run.communicate()[0] + "\n(timed out)"
    check("the commands succeed", run.returncode == 0, output)
    for line in expected:
        check("prints: " + line, line in output.splitlines(), output)
    with open(os.path.join(work, "server.log"), encoding="utf-8") as log:
        text = log.read()
        check("the server drained", '"msg":"stopped"' in text, text)
    shutil.rmtree(work)


main()
print("%d passed, %d failed" % (passed, failed))
sys.exit(1 if failed else 0)
