#!/usr/bin/python3
"""`weft call` against a server that is not ours (Python's grpcio): every kind, contracts, errors, exit codes."""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
WEFT = os.path.join(os.environ.get("BUILD", "build"), "bin", "weft")
KINDS = "test.cli.v1.Kinds"


class Call(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.mkdtemp(prefix="weft-call-")
        cls.addClassCleanup(shutil.rmtree, cls.dir, ignore_errors=True)
        os.mkdir(os.path.join(cls.dir, "grpc_reflection_gen"))
        protoc = ["protoc", "-I" + HERE, "-I" + os.path.join(ROOT, "proto"), "-I/usr/include", "--python_out=" + cls.dir]
        subprocess.run(protoc + ["cli/kinds.proto", "cli/parts.proto", "google/rpc/status.proto",
                                 "google/rpc/error_details.proto"], check=True)
        # Not below grpc/, which is a package of grpcio.
        subprocess.run(["protoc", "-I/usr/share/grpc-proto/grpc/reflection/v1",
                        "--python_out=" + os.path.join(cls.dir, "grpc_reflection_gen"), "reflection.proto"], check=True)
        # google is a package of python3-protobuf: let ours add to it.
        for package in ("google/__init__.py", "google/rpc/__init__.py", "cli/__init__.py", "grpc_reflection_gen/__init__.py"):
            with open(os.path.join(cls.dir, package), "w") as f:
                f.write('__path__ = __import__("pkgutil").extend_path(__path__, __name__)\n')
        cls.servers = {}
        cls.address = cls.server("v1,v1alpha")

    @classmethod
    def server(cls, *args):
        """The address of a server started with these arguments; one each for all tests."""
        if args not in cls.servers:
            address = "unix:%s/%d.sock" % (cls.dir, len(cls.servers))
            env = dict(os.environ, PYTHONPATH=cls.dir, PYTHONDONTWRITEBYTECODE="1")
            child = subprocess.Popen(["/usr/bin/python3", os.path.join(HERE, "cli", "server.py"), address, *args], env=env,
                                     stdout=subprocess.PIPE, text=True)
            cls.addClassCleanup(lambda: (child.kill(), child.wait(), child.stdout.close()))
            assert child.stdout.readline() == "listening\n"
            cls.servers[args] = address
        return cls.servers[args]

    def call(self, *args, stdin=None, address=None, env=None):
        done = subprocess.run([WEFT, "call", address or self.address, *args], input=stdin or "", text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=30, env=dict(os.environ, **(env or {})))
        return done.returncode, done.stdout, done.stderr

    def good(self, *args, **options):
        code, out, err = self.call(*args, **options)
        self.assertEqual((code, err), (0, ""))
        return out

    # ---- kinds

    def test_unary(self):
        self.assertEqual(json.loads(self.good(KINDS + "/Echo", '{"text":"hi","bigNumber":"9007199254740993"}')),
                         {"text": "hi", "bigNumber": "9007199254740993"})

    def test_every_field(self):
        item = {"text": "ä\n", "bigNumber": "-1", "list": ["a", ""], "counts": {"x": 1, "": -2}, "color": "BLUE",
                "at": "2026-01-31T12:00:00.250Z", "took": "1.500s", "data": "AP8=", "weight": 1.5,
                "child": {"child": {"yes": False}}, "maybe": 0, "part": {"id": "p"},
                "any": {"@type": "type.googleapis.com/test.cli.v1.Part", "id": "q"}}
        for flags in ([], ["-o", "json"]):
            self.assertEqual(json.loads(self.good(KINDS + "/Echo", json.dumps(item), *flags)), item)

    def test_output_forms(self):
        request = '{"part":{"id":"x"}}'
        self.assertEqual(self.good(KINDS + "/Echo", request), '{\n  "part": {\n    "id": "x"\n  }\n}\n')
        self.assertEqual(self.good(KINDS + "/Echo", request, "-o", "json"), '{"part":{"id":"x"}}\n')
        everything = json.loads(self.good(KINDS + "/Echo", "{}", "--emit-defaults"))
        self.assertEqual(everything["bigNumber"], "0")
        self.assertNotIn("maybe", everything)

    def test_no_json_is_an_empty_message(self):
        self.assertEqual(self.good(KINDS + "/Echo", "-o", "json"), "{}\n")

    def test_full_disk(self):
        for size in (10, 100000):  # less and more than what stdio keeps back
            with open("/dev/full", "w") as full:
                done = subprocess.run([WEFT, "call", self.address, "Kinds/Echo", json.dumps({"text": "x" * size})], stdout=full,
                                      stderr=subprocess.PIPE, text=True)
            self.assertEqual((done.returncode, done.stderr), (1, "error: cannot write the output: No space left on device\n"))

    def test_server_stream(self):
        self.assertEqual(self.good(KINDS + "/Split", '{"list":["a","b","c"]}'), '{"text":"a"}\n{"text":"b"}\n{"text":"c"}\n')
        self.assertEqual(self.good(KINDS + "/Split", "{}"), "")

    def test_client_stream(self):
        self.assertEqual(self.good(KINDS + "/Join", '{"text":"a"} {"text":"b"}\n{"text":"c"}', "-o", "json"), '{"text":"a b c"}\n')
        self.assertEqual(self.good(KINDS + "/Join", "-", "-o", "json", stdin='{"text":"a"}\n{"text":\n"b"}\n'), '{"text":"a b"}\n')
        self.assertEqual(self.good(KINDS + "/Join", "-", "-o", "json", stdin=""), "{}\n")
        many = "".join('{"text":"%d"}\n' % number for number in range(2000))
        self.assertEqual(len(json.loads(self.good(KINDS + "/Join", "-", stdin=many))["text"].split()), 2000)

    def test_bidi_answers_as_it_goes(self):
        child = subprocess.Popen([WEFT, "call", self.address, KINDS + "/Chat", "-"], stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, text=True)
        for word in ("one", "two", "three"):
            child.stdin.write('{"text":"%s"}\n' % word)
            child.stdin.flush()
            self.assertEqual(json.loads(child.stdout.readline()), {"text": "you said " + word})
        out, _ = child.communicate()
        self.assertEqual((out, child.returncode), ("", 0))

    def test_bidi_that_the_server_ends(self):
        """What stdin still might say is not waited for."""
        for word, code, said in (("enough", 0, ""), ("fail", 1, "error: NOT_FOUND: no more\n")):
            child = subprocess.Popen([WEFT, "call", self.address, KINDS + "/Chat", "-", "--timeout", "60s"], stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            child.stdin.write('{"text":"one"}\n{"text":"%s"}\n{"te' % word)
            child.stdin.flush()
            self.assertEqual(json.loads(child.stdout.readline()), {"text": "you said one"})
            self.assertEqual(child.wait(timeout=20), code)
            self.assertEqual(child.communicate(), ("", said))

    def test_from_a_file(self):
        path = os.path.join(self.dir, "request.json")
        with open(path, "w") as f:
            f.write('{"text": "from a file"}')
        self.assertEqual(self.good(KINDS + "/Echo", "@" + path, "-o", "json"), '{"text":"from a file"}\n')
        code, _, err = self.call(KINDS + "/Echo", "@/no/such/file")
        self.assertEqual((code, err), (2, "error: cannot read /no/such/file: No such file or directory\n"))

    # ---- names of services and methods

    def test_names(self):
        for name in (KINDS + "/Echo", "/" + KINDS + "/Echo", "Kinds/Echo", KINDS + ".Echo", "Kinds.Echo"):
            self.assertEqual(self.good(name, "-o", "json"), "{}\n")

    def test_unknown_names(self):
        cases = [
            ("test.cli.v1.Kind/Echo", 'error: there is no service "test.cli.v1.Kind" at %s\ndid you mean "test.cli.v1.Kinds"?\n'),
            ("Kinsd/Echo", 'error: there is no service "Kinsd" at %s\ndid you mean "test.cli.v1.Kinds"?\n'),
            ("Zzzzzz/Echo", 'error: there is no service "Zzzzzz" at %s\nthere is     test.cli.v1.Kinds\n             test.cli.v1.Other\n'),
            ("Kinds/Ecko", 'error: test.cli.v1.Kinds has no method "Ecko"\ndid you mean "Echo"?\n'),
            ("Other/Zzzzzz", 'error: test.cli.v1.Other has no method "Zzzzzz"\nit has    Rest\n'),
        ]
        for name, said in cases:
            code, out, err = self.call(name, "{}")
            self.assertEqual((code, out, err), (2, "", said.replace("%s", self.address)))

    def test_listing(self):
        out = self.good()
        self.assertIn("test.cli.v1.Kinds\n  Echo     (Item) returns (Item)\n  Split    (Item) returns (stream Item)\n"
                      "  Join     (stream Item) returns (Item)\n  Chat     (stream Item) returns (stream Item)\n", out)
        listed = json.loads(self.good("-o", "json"))
        self.assertEqual([service["service"] for service in listed], ["test.cli.v1.Kinds", "test.cli.v1.Other"])
        self.assertEqual(listed[0]["methods"][3], {"name": "Chat", "input": "test.cli.v1.Item", "output": "test.cli.v1.Item",
                                                   "clientStreaming": True, "serverStreaming": True})

    def test_description(self):
        out = self.good("Kinds")
        for line in ("service test.cli.v1.Kinds (cli/kinds.proto)", "  rpc Echo (Item) returns (Item)  [no side effects]",
                     "      counts    map<string, int32>", "      color     Color: COLOR_UNSPECIFIED | RED | BLUE",
                     "      list      repeated string", "      maybe     int32, optional"):
            self.assertIn(line + "\n", out)
        self.assertIn("    request test.cli.v1.Nothing (no fields)\n", self.good("Other"))

    def test_templates_can_be_called(self):
        """The example of each method, pasted into a shell, works."""
        lines = [line.strip() for line in self.good("Kinds").splitlines() if line.strip().startswith("weft call")]
        self.assertEqual(len(lines), 7)
        for line in lines:
            if "/Hang" in line or "/Fail" in line:
                continue
            line = line.replace('"any": {"@type": ""}', '"any": {"@type": "type.googleapis.com/test.cli.v1.Part"}')
            done = subprocess.run(["sh", "-c", line.replace("weft", WEFT, 1)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            self.assertEqual((done.returncode, done.stderr), (0, ""), line)

    # ---- contracts

    def test_only_v1alpha(self):
        self.assertEqual(self.good("Kinds/Echo", "-o", "json", address=self.server("v1alpha")), "{}\n")

    def test_files_one_by_one(self):
        self.assertEqual(self.good("Kinds/Echo", "-o", "json", address=self.server("v1", "alone")), "{}\n")

    def test_no_reflection(self):
        address = self.server("none")
        code, _, err = self.call("Kinds/Echo", address=address)
        self.assertEqual(code, 1)
        self.assertRegex(err, r"^error: UNIMPLEMENTED: .*\n\(%s does not tell its contracts by reflection: give them with --proto FILE -I DIR\)\n$" % address)
        proto = ["--proto", "cli/kinds.proto", "-I", HERE, "-I", "/usr/include"]
        self.assertEqual(self.good("Kinds/Echo", '{"text":"x"}', "-o", "json", *proto, address=address), '{"text":"x"}\n')
        path = os.path.join(self.dir, "kinds.set")
        subprocess.run(["protoc", "-I" + HERE, "-I/usr/include", "--include_imports", "--descriptor_set_out=" + path, "cli/kinds.proto"], check=True)
        self.assertEqual(self.good("Kinds/Echo", '{"text":"x"}', "-o", "json", "--descriptor-set", path, address=address), '{"text":"x"}\n')

    def test_bad_contracts(self):
        path = os.path.join(self.dir, "bad")
        with open(path, "wb") as f:
            f.write(b"\x0a\xff nonsense")
        proto = os.path.join(self.dir, "bad.proto")
        with open(proto, "w") as f:
            f.write('syntax = "proto3";\nmessage M { strin x = 1; }\n')
        cases = [
            (["--descriptor-set", path], r"bad: this is not a set of file descriptors \(make one with protoc"),
            (["--descriptor-set", "/no/such"], r"/no/such: cannot read it: No such file or directory"),
            (["--proto", proto, "-I", self.dir], r'bad.proto:2:13: "strin" is not defined'),
            (["--proto", "/no/such.proto"], r"such.proto"),
        ]
        for flags, said in cases:
            code, _, err = self.call("Kinds/Echo", *flags)
            self.assertEqual(code, 2, err)
            self.assertRegex(err, said)

    def test_broken_reflection(self):
        for problem, said in (("damaged", r"^error: INTERNAL: .*file"), ("missing", r"^error: NOT_FOUND: reflection: no file for")):
            code, _, err = self.call("Kinds/Echo", address=self.server("v1", problem))
            self.assertEqual(code, 1)
            self.assertRegex(err, said)
        code, _, err = self.call("Silent/Echo", address=self.server("v1", "silent"))
        self.assertEqual(code, 1)
        self.assertRegex(err, r"^error: NOT_FOUND: reflection: ")

    # ---- metadata and deadlines

    def test_metadata(self):
        reply = json.loads(self.good("Kinds/Echo", "-H", "X-User: alice", "-H", "x-user: bob", "-H", "x-data-bin: AP8="))
        self.assertEqual(sorted(reply["list"]), ["x-data-bin=00ff", "x-user=alice", "x-user=bob"])
        for header in ("no colon", "grpc-x: y", "x-data-bin: %%%"):
            code, _, err = self.call("Kinds/Echo", "-H", header)
            self.assertEqual(code, 2)
            self.assertIn("-H '%s': " % header, err)

    def test_verbose(self):
        code, out, err = self.call("Kinds/Echo", "-v", "-H", "x-user: alice", "-o", "json")
        self.assertEqual((code, out), (0, '{"list":["x-user=alice"]}\n'))
        self.assertRegex(err, r"^> /test.cli.v1.Kinds/Echo\n> x-user: alice\n(< .*\n)*< x-request-id: r-1\n(< .*\n)*< OK in [0-9.]+ ms; 1 sent, 1 received\n$")
        self.assertIn("< x-anything: at all\n", err)
        self.assertIn("< (trailer) x-served-by: python\n", err)
        self.assertIn("< (trailer) x-trace-bin: AP8=\n", err)

    def test_deadline(self):
        began = time.monotonic()
        code, _, err = self.call("Kinds/Hang", "--timeout", "300ms")
        self.assertEqual(code, 1)
        self.assertRegex(err, r"^error: DEADLINE_EXCEEDED: ")
        self.assertLess(time.monotonic() - began, 5)

    # ---- errors

    def test_status(self):
        names = ["", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
                 "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE",
                 "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"]
        for code in range(1, 17):
            got = self.call("Kinds/Fail", json.dumps({"code": code, "message": "no such thing"}))
            self.assertEqual(got, (1, "", "error: %s: no such thing\n" % names[code]))

    def test_details(self):
        got = self.call("Kinds/Fail", '{"code":3,"message":"text: must not be empty","details":true}')
        self.assertEqual(got, (1, "", "error: INVALID_ARGUMENT: text: must not be empty\n"
                               '  google.rpc.BadRequest {"fieldViolations":[{"field":"text","description":"must not be empty"}]}\n'
                               '  test.cli.v1.Part {"id":"p-1"}\n'
                               "  un.known (3 bytes of a type not known here)\n"))

    def test_stream_that_fails_late(self):
        got = self.call("Kinds/FailLate", '{"code":5,"message":"gone","messages":2}')
        self.assertEqual(got, (1, '{"text":"0"}\n{"text":"1"}\n', "error: NOT_FOUND: gone\n"))

    def test_method_of_the_contract_that_is_not_there(self):
        code, _, err = self.call("Other/Rest", "{}")
        self.assertEqual(code, 1)
        self.assertRegex(err, "^error: UNIMPLEMENTED: ")

    def test_bad_json(self):
        cases = [
            ('{"txt":"x"}', r'^request:1:\d+: txt: .*\(did you mean "text"\?\)'),
            ('{"text":1}', r"^request:1:\d+: text: "),
            ('{"color":"GREEN"}', r"^request:1:\d+: color: "),
            ("{", r"^request:1:\d+: "),
            ("[]", r"^request:1:\d+: "),
            ('{"text":"a"}{"text":"b"}', r"takes one message, got several"),
        ]
        for text, said in cases:
            code, out, err = self.call("Kinds/Echo", text)
            self.assertEqual((code, out), (2, ""), err)
            self.assertRegex(err, said)
        code, out, err = self.call("Kinds/Chat", "-", stdin='{"text":"a"}\n{"txt":"b"}\n')
        self.assertEqual(code, 2)
        self.assertRegex(err, r"^message 2:\nstdin:1:\d+: txt: ")

    def test_unreachable(self):
        path = os.path.join(self.dir, "nobody.sock")
        hint = r" \(is it running\? weft up prints the addresses of what it runs\)\n$"
        cases = [
            ("unix:" + path, {}, r"^error: cannot connect to unix:%s: No such file or directory" % path + hint),
            ("127.0.0.1:1", {}, r"^error: cannot connect to 127.0.0.1:1: Connection refused" + hint),
            ("product", {"WEFT_UPSTREAM_PRODUCT": "127.0.0.1:1"}, r"^error: cannot connect to 127.0.0.1:1: Connection refused" + hint),
            ("product", {}, r"^error: .*WEFT_UPSTREAM_PRODUCT"),
        ]
        for address, env, said in cases:
            code, out, err = self.call("Kinds/Echo", "{}", address=address, env=env)
            self.assertEqual((code, out), (3, ""), err)
            self.assertRegex(err, said)
        self.assertEqual(self.good("Kinds/Echo", "-o", "json", address="kinds", env={"WEFT_UPSTREAM_KINDS": self.address}), "{}\n")

    def test_usage(self):
        cases = [([], "call whom"), (["a:1", "b", "c", "d"], "one JSON argument"), (["a:1", "-I", "x"], "-I says"),
                 (["a:1", "--timeout", "soon"], "--timeout"), ([""], "call whom? The address is empty"),
                 (["a:1", "--timeout", "1e20h"], "allowed: 0 to 8760h"), (["a:1", "--timeout", "9000h"], "allowed: 0 to 8760h"), (["a:1", "--vebrose"], "--verbose")]
        for args, said in cases:
            done = subprocess.run([WEFT, "call", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            self.assertEqual((done.returncode, done.stdout), (2, ""))
            self.assertIn(said, done.stderr)


if __name__ == "__main__":
    suite = unittest.defaultTestLoader.loadTestsFromModule(sys.modules[__name__])
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(suite)
    bad = len({str(test).split(" (")[0] for test, _ in result.failures + result.errors})
    print("%d passed, %d failed" % (result.testsRun - bad, bad))
    sys.exit(1 if bad or not result.wasSuccessful() else 0)
