#!/usr/bin/python3
"""Follows docs/guides/balancer.md: applies its changes to copies of the files they touch, compiles these, runs its test.

What is not touched is taken from the build, so that this takes seconds and not a build of its own."""
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.get("BUILD", os.path.join(ROOT, "build")))
CC = os.environ.get("CC", "cc").split()
UNITS = ("sidecar_cluster", "sidecar_telemetry", "sidecar_config", "envoy", "gen", "gen0", "pb", "base")
SANITIZE = {"asan": ["-fsanitize=address,undefined"], "tsan": ["-fsanitize=thread"], "cov": ["--coverage"]}.get(os.environ.get("SAN"), [])

passed = failed = 0


def check(name, good, detail=""):
    global passed, failed
    passed, failed = passed + bool(good), failed + (not good)
    print(("ok   " if good else "FAIL ") + name + ("" if good else "\n" + detail), flush=True)
    return good


def run(*command, **more):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **more)
    return done.returncode, done.stdout


def apply(work, diff):
    """Each hunk's old lines must be in the file exactly once."""
    for name, body in re.findall(r"^--- a/(\S+)\n\+\+\+ b/\S+\n(.*?)(?=^--- |\Z)", diff, re.S | re.M):
        path = os.path.join(work, name)
        if not os.path.exists(path):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            shutil.copy(os.path.join(ROOT, name), path)
        with open(path, encoding="utf-8") as file:
            text = file.read()
        for hunk in re.split(r"^@@\n", body, flags=re.M)[1:]:
            lines = hunk.splitlines()
            old = "".join(l[1:] + "\n" for l in lines if l[:1] in "- ")
            new = "".join(l[1:] + "\n" for l in lines if l[:1] in "+ ")
            if check("%s has the lines the guide changes" % name, text.count(old) == 1, old):
                text = text.replace(old, new)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)


def main():
    work = tempfile.mkdtemp(prefix="weft-docs-")
    with open(os.path.join(ROOT, "docs", "guides", "balancer.md"), encoding="utf-8") as guide:
        blocks = re.findall(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", guide.read(), re.S | re.M)
    for kind, name, body in blocks:
        if name:
            os.makedirs(os.path.dirname(os.path.join(work, name)), exist_ok=True)
            with open(os.path.join(work, name), "w", encoding="utf-8") as out:
                out.write(body)
        elif kind == "diff":
            apply(work, body)
    made = os.path.join(work, "gen")
    code, out = run(os.path.join(BUILD, "bin", "weft"), "gen", "--out", made, "-I", os.path.join(work, "proto"),
                    "-I", os.path.join(ROOT, "proto"), os.path.join(work, "proto/weft/sidecar/v1/balancing.proto"))
    check("the contract is generated", code == 0, out)
    ours = glob.glob(work + "/sidecar/*/*.c") + glob.glob(work + "/tests/unit/*/*.c") + [
        os.path.join(ROOT, "tests/unit/sidecar_cluster/cluster_support.c")]
    common = ["-std=gnu17", "-O0", "-pthread", "-D_GNU_SOURCE=", "-I" + work, "-I" + ROOT + "/lib/include", "-I" + ROOT,
              "-isystem", made, "-isystem", os.environ.get("GEN", BUILD + "/gen")] + SANITIZE
    objects = []
    for path in ours + glob.glob(made + "/weft/sidecar/v1/*.c"):
        objects.append(os.path.join(work, "%d.o" % len(objects)))
        warn = ["-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Werror"] if path in ours else []
        code, out = run(*CC, *common, *warn, "-c", "-o", objects[-1], path)
        check("compiles: " + os.path.relpath(path, work if path.startswith(work) else ROOT), code == 0, out)
    program = os.path.join(work, "test_first")
    code, out = run(*CC, "-pthread", *SANITIZE, "-o", program, *objects, "-Wl,--start-group",
                    *["%s/obj/unit/%s.a" % (BUILD, u) for u in UNITS], "-Wl,--end-group",
                    *"-lprotobuf-c -lyajl -lyaml -lm -lcmocka".split())
    check("links", code == 0, out)
    if code == 0:
        code, out = run(program)
        check("its test passes", code == 0 and "2 test(s) run" in out, out)
    shutil.rmtree(work)


main()
print("%d passed, %d failed" % (passed, failed))
sys.exit(1 if failed else 0)
