#!/usr/bin/python3
"""`weft` itself: help, versions, completion, unknown commands; and `weft up` on a terminal, with the shop."""
import json
import os
import pty
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
WEFT = os.path.join(os.environ.get("BUILD", "build"), "bin", "weft")
COMMANDS = ["gen", "up", "run", "call", "trace", "logs", "dev-certs", "completion", "version", "help"]
SERVICE = os.path.join(ROOT, "tests", "integration", "up_service.py")


def weft(*args, **env):
    done = subprocess.run([WEFT, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=60, env=dict(os.environ, **env))
    return done.returncode, done.stdout, done.stderr


def terminal(args, answer=None, env=None):
    """Runs on a terminal; sends `answer[1]` when the text of `answer[0]` has come. Returns code and output."""
    pid, fd = pty.fork()
    if pid == 0:
        os.environ.update(env or {})
        os.execv(args[0], args)
    text = b""
    while True:
        try:
            piece = os.read(fd, 65536)
        except OSError:
            break
        if not piece:
            break
        text += piece
        if answer and answer[0] in text:
            os.write(fd, answer[1])
            answer = None
    os.close(fd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), text.decode().replace("\r\n", "\n")


class Basics(unittest.TestCase):
    maxDiff = None

    def test_overview(self):
        code, out, err = weft("help")
        self.assertEqual((code, err), (0, ""))
        self.assertEqual(re.findall(r"^  ([a-z-]+) +[A-Z]", out, re.M), COMMANDS)
        self.assertEqual(weft("--help"), (0, out, ""))
        self.assertEqual(weft(), (2, "", out))

    def test_help_of_each(self):
        for command in COMMANDS:
            code, out, err = weft(command, "--help")
            self.assertEqual((code, err), (0, ""), command)
            self.assertIn("weft " + command, out)
            self.assertEqual(weft("help", command), (0, out, ""))
            self.assertTrue(out.endswith("\n"))
            self.assertLessEqual(max(map(len, out.splitlines())), 110)
            if command not in ("gen", "version", "help"):
                self.assertIn("Examples:\n  ", out)

    def test_unknown(self):
        self.assertEqual(weft("upp"), (2, "", 'weft: there is no command "upp" (did you mean "up"?)\n(weft help lists the commands)\n'))
        self.assertEqual(weft("zzzz"), (2, "", 'weft: there is no command "zzzz"\n(weft help lists the commands)\n'))
        self.assertEqual(weft("help", "cal"), (2, "", 'weft help: there is no command "cal" (did you mean "call"?)\n'
                                               '(weft help --help shows how it is used)\n'))
        code, out, err = weft("version", "--outptu", "json")
        self.assertEqual((code, out), (2, ""))
        self.assertIn("--output", err)

    def test_version(self):
        with open(os.path.join(ROOT, "VERSION")) as f:
            version = f.read().strip()
        for command in (["version"], ["--version"], ["-V"]):
            self.assertEqual(weft(*command), (0, "weft %s\n" % version, ""))
        self.assertEqual(json.loads(weft("version", "-o", "json")[1])["version"], version)

    def test_full_disk(self):
        with open("/dev/full", "w") as full:
            done = subprocess.run([WEFT, "version"], stdout=full, stderr=subprocess.PIPE, text=True)
        self.assertEqual((done.returncode, done.stderr), (1, "error: cannot write the output\n"))

    # ---- completion

    def complete(self, *words):
        script = 'source <("%s" completion bash); COMP_WORDS=(%s); COMP_CWORD=%d; _weft; printf "%%s\\n" "${COMPREPLY[@]}"' % (
            WEFT, " ".join("'%s'" % word for word in words), len(words) - 1)
        done = subprocess.run(["bash", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.assertEqual(done.stderr, "")
        return done.stdout.split()

    def test_completion(self):
        self.assertEqual(self.complete("weft", ""), COMMANDS)
        self.assertEqual(self.complete("weft", "c"), ["call", "completion"])
        self.assertEqual(self.complete("weft", "help", "v"), ["version"])
        self.assertEqual(self.complete("weft", "completion", ""), ["bash", "zsh", "fish"])
        self.assertEqual(self.complete("weft", "up", "--st"), ["--state-dir"])
        self.assertEqual(self.complete("weft", "up", "-o", ""), ["text", "json"])
        self.assertEqual(self.complete("weft", "version", "--output", "j"), ["json"])
        for shell in ("zsh", "fish"):
            code, out, err = weft("completion", shell)
            self.assertEqual((code, err), (0, ""))
            for command in COMMANDS:
                self.assertIn(command, out)
        self.assertEqual(weft("completion", "csh")[0], 2)
        self.assertEqual(weft("completion")[0], 2)

    # ---- on a terminal

    def mesh(self):
        folder = tempfile.mkdtemp(prefix="weft-cli-")
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        path = os.path.join(folder, "mesh.yaml")
        with open(path, "w") as f:
            f.write("services: [{name: a, command: [%s, ok], ready: {check: CONNECT}}]\n" % SERVICE)
        return [WEFT, "up", "--state-dir", os.path.join(folder, "state"), path]

    def test_colours_and_ctrl_c(self):
        code, out = terminal(self.mesh(), (b"ctrl-C stops", b"\x03"), {"TERM": "xterm", "NO_COLOR": ""})
        self.assertEqual(code, 0, out)
        self.assertIn("\033[36ma    | \033[0m", out)
        self.assertIn("everything has stopped", out)

    def test_no_colours(self):
        for env in ({"NO_COLOR": "1", "TERM": "xterm"}, {"TERM": "dumb"}):
            code, out = terminal(self.mesh(), (b"ctrl-C stops", b"\x03"), env)
            self.assertEqual(code, 0, out)
            self.assertNotIn("\033", out)

    def test_ctrl_c_with_a_command(self):
        code, out = terminal(self.mesh() + ["--", "sh", "-c", "trap 'echo bye; exit 5' INT; echo begun; while :; do sleep 0.05; done"],
                             (b"begun", b"\x03"), {"TERM": "dumb"})
        self.assertEqual(code, 5, out)
        self.assertEqual(out.count("bye"), 1, out)
        self.assertIn("everything has stopped", out)

    # ---- the shop: our own server

    def test_shop(self):
        folder = tempfile.mkdtemp(prefix="weft-cli-")
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        commands = ['"$W" call product', '"$W" call order -o json', '"$W" call product ProductService/ListProducts \'{"pageSize":3}\' -o json',
                    '"$W" call product ProductService/GetProduct \'{"productId":"none"}\'',
                    '"$W" call product grpc.health.v1.Health/Check -o json', '"$W" call product ProductService/GetProdct']
        script = "".join('%s 2>&1; echo "code $?"; echo ----;' % command for command in commands)
        code, out, err = weft("up", "--state-dir", folder, "-q", os.path.join(ROOT, "deploy", "demo", "shop.yaml"), "--", "sh", "-c",
                              script, W=WEFT)
        self.assertEqual((code, err), (0, ""))
        listing, order, products, missing, health, wrong = out.split("----\n")[:6]
        self.assertTrue(listing.startswith("shop.product.v1.ProductService\n  GetProduct "), listing)
        self.assertIn("grpc.reflection.v1.ServerReflection\n", listing)
        self.assertEqual(json.loads(order.split("\n")[0])[0]["service"], "shop.order.v1.OrderService")
        self.assertEqual(len(json.loads(products.split("\n")[0])["products"]), 3)
        self.assertRegex(missing, r"^error: (NOT_FOUND|INVALID_ARGUMENT): .*\n(.*\n)*code 1\n$")
        self.assertEqual(health, '{"status":"SERVING"}\ncode 0\n')
        self.assertRegex(wrong, r'has no method "GetProdct"\ndid you mean "GetProduct"\?\ncode 2\n')


if __name__ == "__main__":
    suite = unittest.defaultTestLoader.loadTestsFromModule(sys.modules[__name__])
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(suite)
    bad = len({str(test).split(" (")[0] for test, _ in result.failures + result.errors})
    print("%d passed, %d failed" % (result.testsRun - bad, bad))
    sys.exit(1 if bad or not result.wasSuccessful() else 0)
