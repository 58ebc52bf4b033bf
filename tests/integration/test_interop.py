#!/usr/bin/python3
"""python3-grpcio and grpc-js clients through 0, 1 and 2 sidecars to C, Python and Node servers, the same cases for each.

Two sidecars means mTLS between them with certificates of `weft dev-certs`. The cases are in interop/client.py and, under
the same names, in interop/client.js; the contract in interop/proto. test_interop.py [CASE] runs the cases whose names hold
that text; KEEP=1 shows the sidecars' logs of a failed run."""
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import sidecar_rig as rig_of  # noqa: E402

BUILD = os.path.abspath(rig_of.BUILD)
PARTS = os.path.join(HERE, "interop")
PROTO = os.path.join(PARTS, "proto")
SPIFFE = "spiffe://mesh.local/ns/test/sa/"
LANGUAGES = ("c", "python", "node")
HOPS = (0, 1, 2)
CASES_AT_LEAST = 25  # a client
RETRY = ("timeout: 0s, retry_policy: {retry_on: unavailable, num_retries: 1, "
         "retry_back_off: {base_interval: 0.001s, max_interval: 0.002s}}")
LINE = re.compile(r"^(ok|FAILED) (\d hops? to \w+): ([^:\n]+)")


class NotPossible(Exception):
    """Something is missing that the whole suite needs."""


def node_modules():
    """Where npm put what package-lock.json names: below BUILD, once a lock file."""
    digest = hashlib.sha256()
    for name in ("package.json", "package-lock.json"):
        with open(os.path.join(PARTS, name), "rb") as f:
            digest.update(f.read())
    home = os.path.join(BUILD, "interop", digest.hexdigest()[:16])
    if os.path.isdir(home):
        return os.path.join(home, "node_modules")
    for program in ("node", "npm"):
        if not shutil.which(program):
            raise NotPossible(f"there is no {program}: `make deps` installs it")
    os.makedirs(os.path.dirname(home), exist_ok=True)
    work = tempfile.mkdtemp(prefix="new-", dir=os.path.dirname(home))
    try:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(os.path.join(PARTS, name), work)
        done = subprocess.run(
            ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", "--fetch-retries=3",
             "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=5000", "--loglevel=error"],
            cwd=work, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            print(done.stdout)
            raise NotPossible("npm could not install grpc-js from its registry: npm's settings (npm config ls) or "
                              "the network")
        try:
            os.rename(work, home)
        except OSError:  # another run was first
            if not os.path.isdir(home):
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return os.path.join(home, "node_modules")


def routes_to(name):
    """Of the sidecar at the client: one method is tried again."""
    return (f"[{{match: {{path: /test.interop.v1.InteropService/Retried}}, route: {{cluster: {name}, {RETRY}}}}},"
            f" {{match: {{prefix: /}}, route: {{cluster: {name}, timeout: 0s}}}}]")


class Suite:
    def __init__(self):
        modules = node_modules()
        self.rig = rig_of.Rig()
        made = self.rig.path("modules")
        os.mkdir(made)
        subprocess.run(["protoc", "-I" + os.path.join(PROTO, "test/interop/v1"), "-I/usr/include",
                        "--python_out=" + made, "interop.proto", "protobuf-c/protobuf-c.proto"], check=True)
        self.env = {**os.environ, "PYTHONPATH": made, "NODE_PATH": modules, "INTEROP_PROTO": PROTO,
                    "WEFT_LOG": "warn"}
        self.certs = self.rig.path("certs")
        subprocess.run([os.path.join(BUILD, "bin/weft"), "dev-certs", "--out", self.certs, "--namespace", "test", "user",
                        *LANGUAGES], check=True, stdout=subprocess.DEVNULL)
        self.results = {}  # (client, target) -> {case: line}
        self.problems = []

    def start_server(self, language, where):
        command = {"c": [os.path.join(BUILD, "bin/tests/integration/interop/server"), "--listen", where],
                   "python": ["/usr/bin/python3", os.path.join(PARTS, "server.py"), where],
                   "node": ["node", os.path.join(PARTS, "server.js"), where]}[language]
        ready, told = os.pipe()
        self.rig.started.append(subprocess.Popen(command, pass_fds=[told],
                                                 env={**self.env, "WEFT_READY_FD": str(told)}))
        os.close(told)
        return ready

    def leaf(self, name):
        return tuple(os.path.join(self.certs, name + end) for end in (".pem", ".key"))

    def start_sidecars(self, language, app):
        """One alone, over TCP, and a pair, out of and into unix sockets; returns where they listen."""
        alone = f"127.0.0.1:{rig_of.free_port()}"
        out, wire = f"unix:{self.rig.path(language + '.out')}", f"127.0.0.1:{rig_of.free_port()}"
        ca = os.path.join(self.certs, "ca.pem")
        rig_of.Sidecar(self.rig, language + "-1", [rig_of.listener("out", alone, routes_to("app"))],
                       [rig_of.cluster("app", [app])])
        rig_of.Sidecar(self.rig, language + "-b",
                       [rig_of.listener("in", wire, rig_of.to("app"), True, (self.leaf(language), ca))],
                       [rig_of.cluster("app", [app])])
        rig_of.Sidecar(self.rig, language + "-a", [rig_of.listener("out", out, routes_to("peer"))],
                       [rig_of.cluster("peer", [wire], (self.leaf("user"), ca, [SPIFFE + language]))])
        return alone, out

    def start(self):
        """What clients are told of the servers and the ways to them."""
        apps = {language: f"unix:{self.rig.path(language + '-app')}" for language in LANGUAGES}
        ready = {language: self.start_server(language, apps[language]) for language in LANGUAGES}
        targets = []
        for language, app in apps.items():
            alone, out = self.start_sidecars(language, app)
            with os.fdopen(ready[language]) as pipe:
                if not pipe.readline():
                    raise NotPossible(f"the {language} server did not start")
            for hops, (address, caller) in enumerate(((app, ""), (alone, ""), (out, f"URI={SPIFFE}user"))):
                targets.append({"name": target_name(hops, language), "address": address, "caller": caller,
                                "retries": hops > 0})
        return targets

    def run_client(self, name, command):
        found = {}
        self.results[name] = found
        process = subprocess.Popen(command, env=self.env, stdout=subprocess.PIPE, text=True)
        self.rig.started.append(process)
        for line in process.stdout:
            print(f"{name} {line}", end="", flush=True)
            match = LINE.match(line)
            if match:
                found.setdefault(match[2], {})[match[3]] = match[1] == "ok"
        code = process.wait()
        if code not in (0, 1):
            self.problems.append(f"the {name} client ended with {code}")

    def run_clients(self, targets, wanted):
        told = [json.dumps(targets), *wanted]
        commands = {"python": ["/usr/bin/python3", os.path.join(PARTS, "client.py"), *told],
                    "node": ["node", os.path.join(PARTS, "client.js"), *told]}
        threads = [threading.Thread(target=self.run_client, args=args) for args in commands.items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def check_complete(self, wanted):
        """Every case was run by each client against every target."""
        names = {case for found in self.results.values() for cases in found.values() for case in cases}
        if len(names) < CASES_AT_LEAST and not wanted:
            self.problems.append(f"only {len(names)} cases")
        for client, found in self.results.items():
            for hops in HOPS:
                for language in LANGUAGES:
                    for case in sorted(names - set(found.get(target_name(hops, language), {}))):
                        self.problems.append(f"{client} {target_name(hops, language)}: {case}: was not run")

    def check_ends(self):
        """Sidecars and servers end as they should: a sanitizer would have its say here."""
        for one in self.rig.all:
            try:
                if one.end() != 0:
                    self.problems.append(f"{one.log} ended badly: {one.text()}")
            except subprocess.TimeoutExpired:
                self.problems.append(f"{one.log} does not end")
        server = self.rig.started[LANGUAGES.index("c")]
        server.terminate()
        if server.wait(20) != 0:
            self.problems.append(f"the C server ended with {server.returncode}")


def target_name(hops, language):
    return f"{hops} hop{'' if hops == 1 else 's'} to {language}"


def run(wanted):
    suite = Suite()
    try:
        suite.run_clients(suite.start(), wanted)
        suite.check_complete(wanted)
        suite.check_ends()
        outcomes = [good for found in suite.results.values() for cases in found.values() for good in cases.values()]
        passed, failed = sum(outcomes), len(outcomes) - sum(outcomes) + len(suite.problems)
        if failed and os.environ.get("KEEP"):
            for one in suite.rig.all:
                print("---", one.log, one.text())
        for problem in suite.problems:
            print("FAILED", problem)
        return passed, failed
    finally:
        suite.rig.close()


def main():
    try:
        passed, failed = run(sys.argv[1:2])
    except NotPossible as reason:
        print(f"FAILED {reason}")
        passed, failed = 0, 1
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
