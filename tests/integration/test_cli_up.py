#!/usr/bin/python3
"""`weft up` with real processes: healthy, crashing, never ready, slow and unwilling to stop; and that none is left."""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

BUILD = os.environ.get("BUILD", "build")
WEFT = os.path.join(BUILD, "bin", "weft")
SERVICE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "up_service.py")
MARK = "WEFT_TEST_MARK"


def processes(mark):
    """Pids of live processes that have the mark in their environment."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/environ" % pid, "rb") as f:
                environ = f.read()
            with open("/proc/%s/stat" % pid) as f:
                zombie = f.read().rsplit(")", 1)[1].split()[0] == "Z"
        except OSError:
            continue
        if ("%s=%s\0" % (MARK, mark)).encode() in environ and not zombie:
            found.append(int(pid))
    return found


class Up(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="weft-up-")
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        self.mark = os.path.basename(self.dir)
        self.weft = WEFT

    def tearDown(self):
        # Checked after every test: whatever happened, nothing is left.
        deadline = time.monotonic() + 5
        while processes(self.mark) and time.monotonic() < deadline:
            time.sleep(0.02)
        left = processes(self.mark)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        self.assertEqual(left, [], "processes are left")

    def write(self, text, name="mesh.yaml"):
        path = os.path.join(self.dir, name)
        with open(path, "w") as f:
            f.write(text)
        return path

    def mesh(self, *services, top=""):
        """A file of services (name, mode, more lines of YAML)."""
        text = "namespace: test\n" + top + "services:\n"
        for name, mode, *more in services:
            text += "  - name: %s\n    command: [%s, %s]\n" % (name, json.dumps(SERVICE), mode)
            text += "".join("    %s\n" % line for line in more)
            if not any(line.startswith("ready:") for line in more):
                text += "    ready: {check: CONNECT, timeout: 10s}\n"
        return self.write(text)

    def popen(self, *args, **options):
        env = dict(os.environ, **{MARK: self.mark}, TMPDIR=self.dir)
        env.pop("XDG_RUNTIME_DIR", None)
        for kind in ("stdout", "stderr"):
            options.setdefault(kind, subprocess.PIPE)
        return subprocess.Popen([self.weft, "up", "--state-dir", os.path.join(self.dir, "state"), *args], env=env, text=True,
                                stdin=subprocess.DEVNULL, **options)

    def run_up(self, *args, timeout=30):
        child = self.popen(*args)
        try:
            out, err = child.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            child.kill()
            out, err = child.communicate()
            self.fail("no end after %d s\n%s\n%s" % (timeout, out, err))
        return child.returncode, out, err

    def start(self, *args):
        """Runs until everything is up; returns the process and the lines so far."""
        child = self.popen(*args, stderr=subprocess.STDOUT)
        lines = []
        for line in child.stdout:
            lines.append(line)
            if "ctrl-C stops" in line:
                return child, lines
        self.fail("not up:\n" + "".join(lines))

    # ---- the ordinary

    def test_command_gets_addresses_and_its_code_is_returned(self):
        mesh = self.mesh(("order", "ok", "uses: [product, user]"), ("product", "ok", "uses: [user]"), ("user", "ok"))
        code, out, err = self.run_up(mesh, "--", "sh", "-c", "env | grep ^WEFT_ | sort; exit 7")
        self.assertEqual(code, 7, err)
        self.assertRegex(out, r"WEFT_NAMESPACE=test\nWEFT_STATE_DIR=.*/state\n"
                              r"(.*\n)*WEFT_UPSTREAM_ORDER=unix:/.*/order.sock\n"
                              r"WEFT_UPSTREAM_PRODUCT=unix:/.*/product.sock\nWEFT_UPSTREAM_USER=unix:/.*/user.sock\n")
        order = re.findall(r"weft +\| (\w+) (starts|is ready|stopped)", err)
        self.assertEqual(order, [(name, what) for name in ("user", "product", "order") for what in ("starts", "is ready")]
                         + [(name, "stopped") for name in ("order", "product", "user")])
        self.assertRegex(err, r'order +\| 23:59:59.123 info  listening .*upstreams=\["WEFT_UPSTREAM_PRODUCT","WEFT_UPSTREAM_USER"\]')
        self.assertRegex(err, r'product +\| .*upstreams=\["WEFT_UPSTREAM_USER"\]')

    def test_killed_command(self):
        code, _, _ = self.run_up(self.mesh(("a", "ok")), "--", "sh", "-c", "kill -9 $$")
        self.assertEqual(code, 128 + 9)

    def test_command_that_is_not_there(self):
        code, _, err = self.run_up(self.mesh(("a", "ok")), "--", "no-such-command")
        self.assertEqual(code, 127)
        self.assertTrue(err.endswith("error: cannot run no-such-command: No such file or directory\n"), err)

    def test_signals_stop_in_order(self):
        for sig in (signal.SIGINT, signal.SIGTERM):
            child, lines = self.start(self.mesh(("front", "slow-stop", "uses: [back]"), ("back", "ok")))
            child.send_signal(sig)
            rest = child.stdout.read()
            self.assertEqual(child.wait(), 0)
            self.assertLess(rest.index("front stopped"), rest.index("back  | "), rest)
            self.assertIn("back stopped (exit status 0)", rest)
            self.assertIn("everything has stopped", rest)

    def test_signal_ends_command_too(self):
        child = self.popen("-q", self.mesh(("a", "ok")), "--", "sh", "-c", "trap 'exit 9' TERM; echo up; while :; do sleep 0.05; done")
        self.assertEqual(child.stdout.readline(), "up\n")
        child.send_signal(signal.SIGTERM)
        child.communicate()
        self.assertEqual(child.returncode, 9)

    def test_several_instances(self):
        mesh = self.mesh(("front", "ok", "instances: 3", "uses: [back]", "env: {EXTRA: \"${WEFT_UPSTREAM_BACK}\"}"),
                         ("back", "ok", "instances: 2"))
        code, out, err = self.run_up(mesh, "--", "true")
        self.assertEqual(code, 0, err)
        for front, back in ((0, 0), (1, 1), (2, 0)):
            self.assertRegex(err, r"front-%d +\| .* extra=\S*/back-%d.sock" % (front, back))

    def test_tcp(self):
        code, out, err = self.run_up(self.mesh(("a", "ok", "listen: tcp")), "--", "sh", "-c", "echo $WEFT_UPSTREAM_A")
        self.assertEqual(code, 0, err)
        self.assertRegex(out, r"^127\.0\.0\.1:[1-9][0-9]+\n$")

    def test_env_file(self):
        path = os.path.join(self.dir, "env")
        child, lines = self.start("--env-file", path, self.mesh(("a-b", "ok")))
        value = subprocess.run(["sh", "-c", '. "%s"; echo $WEFT_UPSTREAM_A_B $WEFT_NAMESPACE' % path], text=True,
                               stdout=subprocess.PIPE).stdout
        self.assertRegex(value, r"^unix:/.*/a-b.sock test\n")
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        child.terminate()
        child.communicate()
        self.assertFalse(os.path.exists(path))

    def test_sockets_are_private_and_removed(self):
        child, lines = self.start(self.mesh(("a", "ok")))
        path = re.search(r"unix:(/\S+)/a.sock", "".join(lines)).group(1)
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o700)
        child.terminate()
        child.communicate()
        self.assertFalse(os.path.exists(path))

    # ---- services that fail

    def test_crash_before_ready(self):
        code, out, err = self.run_up(self.mesh(("good", "ok"), ("bad", "crash", "uses: [good]"), ("late", "ok", "uses: [bad]")))
        self.assertEqual(code, 1)
        self.assertEqual(err, "error: bad ended before it was ready: exit status 3; its last lines:\n"
                              "    cannot open the database\n    no newline at the end\n")
        self.assertNotIn("late starts", out)
        self.assertIn("good stopped", out)

    def test_quits_before_ready(self):
        code, _, err = self.run_up(self.mesh(("bad", "quit")))
        self.assertEqual((code, err), (1, "error: bad ended before it was ready: exit status 0\n"))

    def test_never_ready(self):
        mesh = self.mesh(("bad", "never", "ready: {check: CONNECT, timeout: 0.3s}"))
        code, _, err = self.run_up(mesh)
        self.assertEqual(code, 1)
        self.assertRegex(err, r"^error: bad is not ready after 300ms: nothing listens on unix:.*/bad.sock: No such file or directory\n$")

    def test_not_grpc(self):
        mesh = self.mesh(("bad", "ok", "ready: {timeout: 1s}"))
        code, _, err = self.run_up(mesh)
        self.assertEqual(code, 1)
        self.assertRegex(err, r"^error: bad is not ready after 1s")

    def grpc(self, answers, timeout):
        """A gRPC service whose health is asked; it gives these answers in turn, the last one for ever."""
        service = os.path.join(os.path.dirname(SERVICE), "up_health.py")
        return self.write("services: [{name: a, command: [/usr/bin/python3, %s, \"%s\"], ready: {timeout: %s}}]" % (service, answers, timeout))

    def test_health(self):
        for answers in ("1", "2,2,1", "0,1", "none"):  # SERVING; NOT_SERVING first; UNKNOWN first; no health service
            code, out, err = self.run_up(self.grpc(answers, "20s"), "--", "true")
            self.assertEqual(code, 0, err)
            self.assertEqual(len(re.findall(r"\| asked$", err, re.M)), 0 if answers == "none" else len(answers.split(",")))

    def test_never_healthy(self):
        for seconds in (2, 8, 32):  # a busy machine may take that long to start Python
            code, _, err = self.run_up(self.grpc("2", "%ds" % seconds), timeout=60)
            self.assertEqual(code, 1)
            if "asked" in err:
                break
        self.assertIn("error: a is not ready after %ds: its health service says that it is not serving; its last lines:\n"
                      "    asked\n" % seconds, err)

    def test_program_not_found(self):
        for command, said in (("no-such-program", "there is no such program in PATH"),
                              ("/no/such/program", "No such file or directory"), ("/etc/passwd", "Permission denied")):
            mesh = self.write("services: [{name: a, command: [%s]}]" % command)
            code, _, err = self.run_up(mesh)
            self.assertEqual((code, err), (1, "error: a cannot run %s: %s\n" % (command, said)))

    def test_ignores_sigterm(self):
        child, _ = self.start(self.mesh(("deaf", "ignore", "stopGrace: 0.3s")))
        began = time.monotonic()
        child.terminate()
        rest = child.stdout.read()
        self.assertEqual(child.wait(), 0)
        self.assertIn("deaf was killed: it had not stopped in time", rest)
        self.assertGreaterEqual(time.monotonic() - began, 0.3)

    def test_second_signal_kills(self):
        child, _ = self.start(self.mesh(("deaf", "ignore", "stopGrace: 600s")))
        child.send_signal(signal.SIGINT)
        for line in child.stdout:
            if "stopping" in line:
                break
        child.send_signal(signal.SIGINT)
        rest = child.stdout.read()
        self.assertEqual(child.wait(timeout=10), 0)
        self.assertIn("deaf was killed", rest)

    def poke(self, name):
        """A connection is what modes `dies` and `fails` wait for."""
        return ["sh", "-c", "for i in 1 2 3 4; do python3 -c 'import socket,sys; s=socket.socket(socket.AF_UNIX);"
                "s.connect(sys.argv[1]); s.recv(1)' ${WEFT_UPSTREAM_%s#unix:} 2>/dev/null; sleep 0.3; done" % name.upper()]

    def test_restarts(self):
        mesh = self.mesh(("frail", "dies", "restart: {backoff: 0.05s}"))
        code, _, err = self.run_up(mesh, "--", *self.poke("frail"))
        self.assertEqual(code, 0, err)
        self.assertEqual(err.count("frail ended: killed by SIGKILL; it starts again in"), 2, err)
        self.assertIn("frail is ready again", err)
        self.assertIn("starts again in 50ms", err)
        self.assertIn("starts again in 100ms", err)

    def test_no_restart(self):
        mesh = self.mesh(("frail", "fails", "restart: {policy: NEVER}"), ("other", "ok"))
        code, _, err = self.run_up(mesh, "--", "sh", "-c", self.poke("frail")[2] + "; sleep 60")
        self.assertEqual(code, 1, err)
        self.assertRegex(err, r"error: frail ended: exit status 4; its last lines:\n(    .*\n)*    something broke\n$")

    def test_restart_limit(self):
        mesh = self.mesh(("frail", "fails", "restart: {backoff: 0.01s, maxRestarts: 2}"))
        code, _, err = self.run_up(mesh, "--", "sh", "-c", "while :; do %s; done" % self.poke("frail")[2])
        self.assertEqual(code, 1, err)
        self.assertIn("error: frail ended: exit status 4, after 2 restarts in a row", err)

    # ---- sidecars, which a script stands in for

    def sidecars(self, mode=""):
        bin_dir = os.path.join(self.dir, "bin")
        os.mkdir(bin_dir)
        self.weft = shutil.copy(WEFT, bin_dir)
        shutil.copy(os.path.join(os.path.dirname(SERVICE), "fake_sidecar.py"), os.path.join(bin_dir, "weft-sidecar"))
        self.log = os.path.join(self.dir, "log")
        for name, value in (("FAKE_SIDECAR", mode), ("FAKE_SIDECAR_LOG", self.log)):
            os.environ[name] = value
            self.addCleanup(os.environ.pop, name)

    def test_mesh(self):
        self.sidecars()
        mesh = self.mesh(("order", "ok", "uses: [product]", "env: {EXTRA: \"${WEFT_UPSTREAM_PRODUCT}\"}"),
                         ("product", "ok", "instances: 2"), top="mesh: {sidecars: true, trustDomain: dev.test}\n")
        state = os.path.join(self.dir, "state", ".mesh")
        code, out, err = self.run_up(mesh, "--", "sh", "-c", "env | grep ^WEFT_ | grep -v MARK | sort; exit 4")
        self.assertEqual(code, 4, err)
        self.assertRegex(out, r"^WEFT_NAMESPACE=test\nWEFT_OUTBOUND=unix:/\S+/client.out\nWEFT_SERVICE=client\nWEFT_STATE_DIR=\S+\n(WEFT_VERSION=\S+\n)?$")
        self.assertRegex(err, r'order +\| .*upstreams=\[\] extra=unix:/\S+/order-sidecar.product')
        events = re.findall(r"weft +\| (\S+) (starts|is ready|stopped)", err)
        for name in ("order", "product-0", "product-1"):
            sidecar = re.sub(r"(-\d)?$", r"-sidecar\1", name, count=1)
            self.assertLess(events.index((sidecar, "is ready")), events.index((name, "starts")))
            self.assertLess(events.index((name, "stopped")), events.index((sidecar, "stopped")))
        self.assertIn("test is up: 2 services ready", err)
        self.assertEqual(sorted(os.listdir(state)), sorted(
            ["ca.key", "ca.pem"] + [name + end for name in ("client", "order", "product") for end in (".key", ".pem")] +
            [name + "-0.yaml" for name in ("client", "order-sidecar", "product-sidecar")] + ["product-sidecar-1.yaml"]))
        with open(os.path.join(state, "order-sidecar-0.yaml")) as f:
            text = f.read()
        self.assertIn("spiffe://dev.test/ns/test/sa/product", text)
        for number in (0, 1):
            self.assertIn("/product-sidecar-%d.sock" % number, text)
        before = open(os.path.join(state, "order.pem")).read()
        self.assertEqual(self.run_up(mesh, "--", "true")[0], 0)
        self.assertEqual(open(os.path.join(state, "order.pem")).read(), before)

    def test_mesh_on_ports(self):
        self.sidecars()
        code, _, err = self.run_up(self.mesh(("a", "ok", "uses: [b]"), ("b", "ok"), top="mesh: {sidecars: true, tcp: true}\n"), "--", "true")
        self.assertEqual(code, 0, err)
        with open(os.path.join(self.dir, "state", ".mesh", "a-sidecar-0.yaml")) as f:
            self.assertEqual(len(re.findall(r'address: "127.0.0.1", port_value: [1-9]\d+', f.read())), 2)

    def test_crashed_sidecar_does_not_touch_its_service(self):
        self.sidecars()
        child, lines = self.start(self.mesh(("a", "ok"), top="mesh: {sidecars: true}\n"))
        with open(self.log) as f:
            pid = [line.split()[-1] for line in f if line.startswith("starts") and "/a-sidecar-0.yaml" in line]
        os.kill(int(pid[0]), signal.SIGKILL)
        for line in child.stdout:
            if "a-sidecar is ready again" in line:
                break
        child.terminate()
        rest = child.stdout.read()
        self.assertEqual(child.wait(), 0)
        self.assertNotIn("a starts", rest)
        self.assertIn("a stopped (exit status 0)", rest)

    def test_sidecar_that_refuses_its_file(self):
        self.sidecars("refuses")
        code, _, err = self.run_up(self.mesh(("a", "ok"), top="mesh: {sidecars: true}\n"))
        self.assertEqual(code, 1)
        self.assertRegex(err, r"^error: \S+ ended before it was ready: exit status 2; its last lines:\n    order.yaml:3:1: ")

    def test_no_sidecars(self):
        mesh = self.mesh(("a", "ok"), top="mesh: {sidecars: true}\n")
        code, out, err = self.run_up("--without-sidecars", mesh, "--", "sh", "-c", "echo $WEFT_UPSTREAM_A,$WEFT_OUTBOUND")
        self.assertEqual(code, 0, err)
        self.assertRegex(out, r"^unix:/\S+/a.sock,\n$")

    def test_bad_mesh(self):
        for name, top, said in (("client", "sidecars: true", 'services[0].name: "client" is taken in a mesh with sidecars (rename it)'),
                                ("x-sidecar", "sidecars: true", 'services[0].name: "x-sidecar" is taken in a mesh with sidecars (rename it)'),
                                ("a", "sidecars: true, trustDomain: Dev/x", 'mesh.trustDomain: "Dev/x" is not a trust domain')):
            code, _, err = self.run_up("--check", self.mesh((name, "ok"), top="mesh: {%s}\n" % top))
            self.assertEqual(code, 2)
            self.assertIn(said, err)

    # ---- processes

    def test_grandchildren_die(self):
        child, lines = self.start(self.mesh(("family", "family")))
        deadline = time.monotonic() + 5  # in the middle of its exec a process has no environment
        while len(processes(self.mark)) < 5 and time.monotonic() < deadline:
            time.sleep(0.02)
        self.assertEqual(len(processes(self.mark)), 5)  # weft, its guard, the service, two of the service's
        child.terminate()
        child.communicate()
        self.assertEqual(processes(self.mark), [])

    def test_killed_supervisor_leaves_no_service(self):
        child, lines = self.start(self.mesh(("a", "ignore"), ("b", "ok"), ("wrapped", "children")))
        child.kill()
        child.wait()  # the rest is in tearDown

    def test_one_mesh_per_state_directory(self):
        mesh = self.mesh(("a", "ok"))
        child, lines = self.start(mesh)
        code, _, err = self.run_up(mesh)
        self.assertEqual(code, 1)
        self.assertRegex(err, r"^error: another weft up \(process %d\) runs on the data in .*/state: stop it, or say --state-dir DIR\n$" % child.pid)
        child.terminate()
        child.communicate()

    def test_reader_goes_away(self):
        child, lines = self.start(self.mesh(("a", "slow-stop")))
        child.stdout.close()
        child.send_signal(signal.SIGTERM)
        child.wait(timeout=20)

    # ---- output

    def test_partial_and_long_lines(self):
        code, _, err = self.run_up(self.mesh(("a", "partial")), "--", "true")
        self.assertEqual(code, 0)
        self.assertIn("| half a line\n", err)
        self.assertTrue("| the end\n" in err)
        pieces = [line.split("| ", 1)[1] for line in err.splitlines() if "xxxx" in line]
        self.assertEqual(sum(piece.count("x") for piece in pieces), 200000)
        self.assertTrue(all(len(piece) <= 64 * 1024 for piece in pieces))

    def test_flood_is_complete(self):
        code, _, err = self.run_up(self.mesh(("a", "flood")), "--", "true")
        self.assertEqual(code, 0)
        self.assertEqual(len(re.findall(r"^a    \| line \d+ of a flood$", err, re.M)), 20000)

    def test_json_output(self):
        code, out, err = self.run_up("-o", "json", self.mesh(("a", "ok"), ("b", "partial")), "--", "true")
        self.assertEqual(code, 0)
        lines = [json.loads(line) for line in err.splitlines()]
        self.assertEqual({line["service"] for line in lines if "service" in line}, {"a", "b"})
        self.assertEqual(sorted(line["service"] for line in lines if line.get("event") == "ready"), ["a", "b"])
        self.assertTrue(any(line["msg"] == "half a line" and line["service"] == "b" for line in lines))

    def test_quiet_and_log_file(self):
        mesh = self.mesh(("a", "ok"))
        self.assertEqual(self.run_up("-q", mesh, "--", "echo", "hello"), (0, "hello\n", ""))
        log = os.path.join(self.dir, "log")
        for flags in ([], ["-q"]):
            self.assertEqual(self.run_up("--log-file", log, *flags, mesh, "--", "echo", "hello"), (0, "hello\n", ""))
            with open(log) as f:
                self.assertIn("a is ready", f.read())

    # ---- files that are wrong

    def test_wrong_files(self):
        service = "services:\n  - name: a\n    command: [x]\n"
        cases = [
            ("", r"mesh\.yaml:1:1: the text holds no document"),
            ("services: []\n", r"mesh\.yaml:1:11: services: there is no service to run"),
            ("services:\n  - nam: a\n", r"mesh\.yaml:2:\d+: services\[0\]\.nam: .*name"),
            ("services:\n  - name: a\n    command: x\n", r"mesh\.yaml:3:\d+: services\[0\]\.command"),
            ("services:\n  - name: a\n", r"mesh\.yaml:2:5: services\[0\]\.command: every service needs a program"),
            ("services:\n  - name: A\n    command: [x]\n", r'mesh\.yaml:2:11: services\[0\]\.name: "A" is not a name of a service'),
            (service + "  - name: a\n    command: [y]\n", r'mesh\.yaml:4:11: services\[1\]\.name: "a" is the name of services\[0\] too'),
            (service + "    uses: [b]\n", r'mesh\.yaml:4:12: services\[0\]\.uses\[0\]: "a" uses an unknown service "b"'),
            (service + "    uses: [b]\n  - name: b\n    command: [x]\n    uses: [a]\n", r"in a circle: a -> b -> a"),
            (service + "    instances: 65\n", r"services\[0\]\.instances: must be from 1 to 64"),
            (service + "    instances: -1\n", r"mesh\.yaml:4:\d+: services\[0\]\.instances"),
            (service + "    instances: 2\n    listen: 127.0.0.1:80\n", r"one address cannot serve several instances"),
            (service + "    listen: what\n", r"mesh\.yaml:4:13: services\[0\]\.listen: the port is missing"),
            (service + "    restart: {policy: SOMETIMES}\n", r"mesh\.yaml:4:\d+: services\[0\]\.restart\.policy"),
            (service + "    restart: {backoff: 20s, maxBackoff: 1s}\n", r"mesh\.yaml:4:41: .*maxBackoff: must not be less"),
            (service + "    ready: {timeout: 10}\n", r"mesh\.yaml:4:\d+: services\[0\]\.ready\.timeout"),
            (service + "    ready: {timeout: 0s}\n", r"ready\.timeout: must be more than 0s"),
            (service + "    stopGrace: -1s\n", r"mesh\.yaml:4:16: .*stopGrace: must be from 0s to a day"),
            (service + "    env: {\"A=B\": x}\n", r"not a name of a variable"),
            (service + "    env: {WEFT_LISTEN: x}\n", r"env\.WEFT_LISTEN: is set by weft up"),
            (service + "    env: {A: \"${dri}\"}\n", r"env\.A: \$\{dri\} has no value here \(did you mean \$\{dir\}\?\)"),
            ("namespace: \"no good\"\n" + service, r'mesh\.yaml:1:12: namespace: "no good" is not a namespace'),
            (service + "   bad indent\n", r"mesh\.yaml:\d+:\d+"),
            ("services: [\n", r"mesh\.yaml:\d+:\d+"),
        ]
        for text, said in cases:
            with self.subTest(text):
                code, out, err = self.run_up(self.write(text))
                self.assertEqual((code, out), (2, ""), err)
                self.assertRegex(err, said)

    def test_wrong_usage(self):
        mesh = self.mesh(("a", "ok"))
        cases = [
            ([], r"^weft up: which file\?"),
            ([mesh, mesh], r"^weft up: one file at a time"),
            (["/no/such/file.yaml"], r"^error: cannot read /no/such/file.yaml: No such file or directory\n$"),
            (["--stat-dir", "x", mesh], r"--stat-dir.*--state-dir"),
            (["-o", "yaml", mesh], r"text or json"),
            ([mesh, "--"], r'no command after "--"'),
        ]
        for args, said in cases:
            with self.subTest(args):
                code, out, err = self.run_up(*args)
                self.assertEqual((code, out), (2, ""), err)
                self.assertRegex(err, said)

    def test_check(self):
        mesh = self.mesh(("order", "ok", "uses: [product]"), ("product", "ok", "instances: 2"))
        code, out, err = self.run_up("--check", mesh)
        self.assertEqual((code, err), (0, ""))
        self.assertEqual(out.split(":\n")[1], "  product x 2\n  order, after product\n")

    def test_open_runtime_directory(self):
        runtime = os.path.join(self.dir, "run")
        os.mkdir(runtime)
        os.chmod(runtime, 0o755)
        code, _, err = self.run_up("--runtime-dir", runtime, self.mesh(("a", "ok")))
        self.assertEqual((code, err), (1, "error: others may enter the runtime directory %s: chmod 700 it\n" % runtime))


if __name__ == "__main__":
    suite = unittest.defaultTestLoader.loadTestsFromModule(sys.modules[__name__])
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(suite)
    bad = len({str(test).split(" (")[0] for test, _ in result.failures + result.errors})
    print("%d passed, %d failed" % (result.testsRun - bad, bad))
    sys.exit(1 if bad else 0)
