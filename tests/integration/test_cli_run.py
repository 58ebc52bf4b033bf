#!/usr/bin/python3
"""`weft run`: a command with its sidecar, which a script stands in for; order, signals, exit codes, crashes."""
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

BUILD = os.environ.get("BUILD", "build")
FAKE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fake_sidecar.py")
MARK = "WEFT_TEST_MARK"
FILE = """
static_resources:
  listeners:
  - name: in
    traffic_direction: INBOUND
    address: {socket_address: {address: 127.0.0.1, port_value: 7001}}
    filter_chains: [{filters: [{typed_config: {route_config: {virtual_hosts: [{routes: [{route: {cluster: app}}]}]}}}]}]
  - name: out
    address: {pipe: {path: /run/order.out}}
  clusters:
  - name: app
    load_assignment: {endpoints: [{lb_endpoints: [{endpoint: {address: {pipe: {path: /run/order.sock}}}}]}]}
"""


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


class Run(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="weft-run-")
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        self.mark = os.path.basename(self.dir)
        # A sidecar is looked for beside weft first.
        self.weft = os.path.join(self.dir, "weft")
        shutil.copy(os.path.join(BUILD, "bin", "weft"), self.weft)
        shutil.copy(FAKE, os.path.join(self.dir, "weft-sidecar"))
        self.log = os.path.join(self.dir, "log")
        self.file = os.path.join(self.dir, "order.yaml")
        with open(self.file, "w") as f:
            f.write(FILE)

    def tearDown(self):
        deadline = time.monotonic() + 5
        while processes(self.mark) and time.monotonic() < deadline:
            time.sleep(0.02)
        left = processes(self.mark)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        self.assertEqual(left, [], "processes are left")

    def popen(self, *args, mode="", flags=()):
        env = dict(os.environ, **{MARK: self.mark}, FAKE_SIDECAR=mode, FAKE_SIDECAR_LOG=self.log)
        for name in ("WEFT_SERVICE", "WEFT_NAMESPACE", "WEFT_OUTBOUND", "WEFT_LISTEN"):
            env.pop(name, None)
        flags = flags or ("--service", "order", "--namespace", "shop", "--sidecar-config", self.file)
        return subprocess.Popen([self.weft, "run", *flags, *(("--",) + args if args else ())], env=env, text=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def run_it(self, *args, **options):
        child = self.popen(*args, **options)
        try:
            out, err = child.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            child.kill()
            self.fail("no end\n%s\n%s" % child.communicate())
        return child.returncode, out, err

    def life(self):
        """What the sidecars did, without their pids."""
        if not os.path.exists(self.log):
            return []
        with open(self.log) as f:
            return [line.rsplit(" ", 1)[0].split()[0] for line in f]

    def sidecar(self):
        """The pid of the last that became ready."""
        with open(self.log) as f:
            return int([line for line in f if line.startswith("ready")][-1].split()[-1])

    def test_environment_order_and_code(self):
        code, out, err = self.run_it("sh", "-c", "env | grep ^WEFT_ | grep -v MARK | sort; cat $FAKE_SIDECAR_LOG; exit 7")
        self.assertEqual((code, err), (7, ""))
        self.assertTrue(out.startswith("WEFT_LISTEN=unix:/run/order.sock\nWEFT_NAMESPACE=shop\n"
                                       "WEFT_OUTBOUND=unix:/run/order.out\nWEFT_SERVICE=order\n"), out)
        self.assertRegex(out, r"starts -c \S+/order.yaml \d+\nready WEFT_LISTEN=None \d+\n$")
        self.assertEqual(self.life(), ["starts", "ready", "drains", "ends"])

    def test_addresses_by_flag(self):
        code, out, err = self.run_it("sh", "-c", "echo $WEFT_LISTEN $WEFT_OUTBOUND", flags=(
            "--service", "order", "-c", self.file, "--listen", "127.0.0.1:1", "--outbound", "127.0.0.1:2"))
        self.assertEqual((code, out, err), (0, "127.0.0.1:1 127.0.0.1:2\n", ""))

    def test_killed_command(self):
        code, _, _ = self.run_it("sh", "-c", "kill -9 $$")
        self.assertEqual(code, 128 + 9)
        self.assertEqual(self.life()[-1], "ends")

    def test_sidecar_drains_after_the_command(self):
        code, _, err = self.run_it("sh", "-c", "echo command >>$FAKE_SIDECAR_LOG", mode="slow")
        self.assertEqual((code, err), (0, ""))
        self.assertEqual(self.life(), ["starts", "ready", "command", "drains", "ends"])

    def test_signals_go_to_the_command(self):
        for sig, name in ((signal.SIGTERM, "TERM"), (signal.SIGINT, "INT"), (signal.SIGHUP, "HUP"), (signal.SIGUSR1, "USR1")):
            child = self.popen("sh", "-c", "trap 'echo got; exit 9' %s; echo up; while :; do sleep 0.05; done" % name)
            self.assertEqual(child.stdout.readline(), "up\n")
            child.send_signal(sig)
            out, err = child.communicate()
            self.assertEqual((child.returncode, out, err), (9, "got\n", ""), name)

    def test_hup_stops_nothing(self):
        child = self.popen("sh", "-c", "trap 'echo again' HUP; trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done")
        self.assertEqual(child.stdout.readline(), "up\n")
        for _ in range(2):
            child.send_signal(signal.SIGHUP)
            self.assertEqual(child.stdout.readline(), "again\n")
        child.terminate()
        child.communicate()
        self.assertEqual(child.returncode, 0)
        self.assertEqual(self.life(), ["starts", "ready", "drains", "ends"])

    def test_deaf_command_is_killed(self):
        child = self.popen("sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done",
                           flags=("-s", "order", "-c", self.file, "--grace", "0.3s"))
        self.assertEqual(child.stdout.readline(), "up\n")
        child.terminate()
        child.communicate()
        self.assertEqual(child.returncode, 128 + 9)

    def test_crashed_sidecar_is_replaced(self):
        child = self.popen("sh", "-c", "trap 'exit 5' TERM; echo up; while :; do sleep 0.05; done")
        self.assertEqual(child.stdout.readline(), "up\n")
        for _ in range(2):
            before = self.life().count("ready")
            os.kill(self.sidecar(), signal.SIGKILL)
            deadline = time.monotonic() + 10
            while self.life().count("ready") == before and time.monotonic() < deadline:
                time.sleep(0.02)
            self.assertEqual(self.life().count("ready"), before + 1)
            self.assertIsNone(child.poll())
        child.terminate()
        out, err = child.communicate()
        self.assertEqual((child.returncode, out), (5, ""))
        self.assertIn("sidecar ended: killed by SIGKILL; it starts again in 100ms", err)
        self.assertIn("sidecar ended: killed by SIGKILL; it starts again in 200ms", err)
        self.assertIn("sidecar is ready again", err)

    def test_sidecar_that_refuses(self):
        code, out, err = self.run_it("echo", "never", mode="refuses")
        self.assertEqual((code, out), (1, ""))
        self.assertTrue(err.endswith("error: sidecar ended before it was ready: exit status 2; its last lines:\n"
                                     "    order.yaml:3:1: static_resources: missing\n"), err)

    def test_signal_before_ready(self):
        child = self.popen("echo", "never", mode="hangs")
        deadline = time.monotonic() + 10
        while not self.life() and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.1)  # until its handler is there
        child.terminate()
        out, err = child.communicate()
        self.assertEqual((child.returncode, out), (128 + 15, ""))

    def test_command_that_is_not_there(self):
        code, _, err = self.run_it("no-such-command")
        self.assertEqual((code, err), (127, "error: cannot run no-such-command: No such file or directory\n"))

    def test_no_sidecar(self):
        os.unlink(os.path.join(self.dir, "weft-sidecar"))
        child = subprocess.run([self.weft, "run", "-s", "a", "-c", self.file, "--", "true"], env={"PATH": "/usr/bin:/bin"},
                               text=True, capture_output=True)
        self.assertEqual((child.returncode, child.stderr),
                         (1, "error: sidecar cannot run weft-sidecar: there is no such program in PATH\n"))

    def test_killed_supervisor(self):
        child = self.popen("sh", "-c", "echo up; exec sleep 1000")
        self.assertEqual(child.stdout.readline(), "up\n")
        child.kill()
        child.wait()  # the rest is in tearDown
        child.stdout.close()
        child.stderr.close()

    def test_grandchildren_die(self):
        code, _, _ = self.run_it("sh", "-c", "sleep 1000 & setsid sleep 1001 & exit 3")
        self.assertEqual(code, 3)

    def test_usage(self):
        for flags, args, said in (
                (("-c", self.file), ("true",), "which service is it? say --service NAME"),
                (("-s", "a"), ("true",), "the sidecar needs a file: say --sidecar-config FILE"),
                (("-s", "a", "-c", self.file), (), "run what? write -- COMMAND at the end"),
                (("-s", "a", "-c", self.file, "true"), ("true",), 'the command comes after "--", got "true" before it'),
                (("-s", "A", "-c", self.file), ("true",), '"A" is not a name of a service (a DNS label)'),
                (("-s", "a", "-c", "/no/file"), ("true",), "cannot read /no/file: No such file or directory")):
            code, out, err = self.run_it(*args, flags=flags)
            self.assertEqual((code, out), (2, ""), err)
            self.assertIn(said, err)
        with open(self.file, "w") as f:
            f.write("a: [\n")
        code, _, err = self.run_it("true")
        self.assertEqual(code, 2)
        self.assertIn(self.file + ":", err)


if __name__ == "__main__":
    result = unittest.main(exit=False, verbosity=1).result
    bad = len(result.failures) + len(result.errors)
    print("%d passed, %d failed" % (result.testsRun - bad, bad))
    raise SystemExit(bad > 0)
