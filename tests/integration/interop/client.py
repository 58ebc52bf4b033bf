#!/usr/bin/python3
"""The python3-grpcio client of test_interop.py: client.py TARGETS [CASE], TARGETS a JSON list of {"name", "address",
"caller", "retries"}. Runs all cases, or those whose names hold CASE, against each target and prints a line a case:
"ok NAME: CASE" or "FAILED NAME: CASE: why". client.js has the same cases under the same names."""
import asyncio
import json
import os
import sys
import time

import grpc
import interop_pb2 as pb

TEXT, BIN = "x-interop-text", "x-interop-bin"
SERVICE = "/test.interop.v1.InteropService/"
CODE = {code.value[0]: code for code in grpc.StatusCode}
OK, CANCELLED, DEADLINE_EXCEEDED = CODE[0], CODE[1], CODE[4]
MAX = 4 << 20  # the largest message that any of the peers takes without being told
UNICODE = "zu spät ☕ 日本 🧵 100% \"%20\"\n\tend"
CASES = []


def case(name):
    def add(function):
        CASES.append((name, function))
        return function
    return add


def same(got, wanted, what):
    if got != wanted:
        raise AssertionError(f"{what}: {str(got)[:300]!r} instead of {str(wanted)[:300]!r}")


def pattern(number, size):
    return bytes((number + i) & 255 for i in range(size))


def values(metadata, key):
    return [v for k, v in metadata if k == key]


class Peer:
    """A channel to one target, and the contract's methods on it."""

    def __init__(self, target):
        self.target = target
        self.channel = grpc.aio.insecure_channel(target["address"], options=[("grpc.use_local_subchannel_pool", 1)])
        into, out = pb.Request.SerializeToString, pb.Reply.FromString
        self.empty = self.channel.unary_unary(SERVICE + "Empty", pb.Nothing.SerializeToString, pb.Nothing.FromString)
        self.unary = self.channel.unary_unary(SERVICE + "Unary", into, out)
        self.retried = self.channel.unary_unary(SERVICE + "Retried", into, out)
        self.up = self.channel.stream_unary(SERVICE + "Up", into, out)
        self.down = self.channel.unary_stream(SERVICE + "Down", into, out)
        self.both = self.channel.stream_stream(SERVICE + "Both", into, out)
        self.seen = self.channel.unary_unary(SERVICE + "Seen", pb.SeenRequest.SerializeToString,
                                             pb.SeenReply.FromString)
        self.calls = 0

    def key(self, name):
        self.calls += 1
        return f"python {self.target['name']} {name} {self.calls}"

    async def wait_seen(self, key, entered, cancelled, seconds=10.0):
        """Whether the server's counters become these."""
        end = time.monotonic() + seconds
        while True:
            got = await self.seen(pb.SeenRequest(key=key))
            if got.entered == entered and got.cancelled == cancelled and got.ended >= cancelled:
                return True
            if time.monotonic() > end:
                return False
            await asyncio.sleep(0.01)

    async def must_see(self, key, entered, cancelled):
        if not await self.wait_seen(key, entered, cancelled):
            got = await self.seen(pb.SeenRequest(key=key))
            raise AssertionError(f"the server saw entered {got.entered}, ended {got.ended}, cancelled {got.cancelled}; "
                                 f"not entered {entered}, cancelled {cancelled}")


async def outcome(call, code, details=None):
    """Awaits a call of any kind; its messages. Checks the status, and the text if it is given."""
    messages = []
    try:
        if hasattr(call, "__aiter__"):
            async for message in call:
                messages.append(message)
        else:
            messages.append(await call)
    except grpc.aio.AioRpcError:
        pass
    same(await call.code(), code, f"status ({await call.details()})")
    if details is not None:
        same(await call.details() or "", details, "text of the status")
    return messages


async def ended(call, code, details=None):
    """As outcome, of a call whose messages were read one at a time."""
    same(await call.code(), code, f"status ({await call.details()})")
    if details is not None:
        same(await call.details() or "", details, "text of the status")


async def ok(call):
    messages = await outcome(call, OK)
    # A grpc-js server says so.
    same(await call.details() in ("", None, "OK"), True, f"no text of the status ({await call.details()})")
    return messages


# ---- bodies

@case("empty")
async def _(peer):
    same(await ok(peer.empty(pb.Nothing())), [pb.Nothing()], "reply")


@case("unary")
async def _(peer):
    body = os.urandom(1000)
    same(await ok(peer.unary(pb.Request(payload=body))), [pb.Reply(payload=body)], "reply")


@case("client stream")
async def _(peer):
    parts = [os.urandom(37 * i) for i in range(64)]
    got = await ok(peer.up(pb.Request(payload=part) for part in parts))
    same(got, [pb.Reply(payload=b"".join(parts), number=64)], "reply")


@case("server stream")
async def _(peer):
    got = await ok(peer.down(pb.Request(count=200, reply_bytes=3000)))
    same(got, [pb.Reply(payload=pattern(i, 3000), number=i) for i in range(200)], "replies")


@case("bidi stream")
async def _(peer):
    parts = [os.urandom(size) for size in (0, 1, 100, 20000, 300000, 5)]
    got = await ok(peer.both(pb.Request(payload=part) for part in parts))
    same(got, [pb.Reply(payload=part, number=i) for i, part in enumerate(parts)], "replies")


@case("conversation")
async def _(peer):
    call = peer.both()
    for i in range(20):
        await call.write(pb.Request(payload=b"turn %d" % i))
        same(await call.read(), pb.Reply(payload=b"turn %d" % i, number=i), "reply")
    await call.done_writing()
    same(await call.read(), grpc.aio.EOF, "after the last reply")
    await ended(call, OK)


@case("streams without messages")
async def _(peer):
    same(await ok(peer.up(iter(()))), [pb.Reply()], "reply")
    same(await ok(peer.down(pb.Request())), [], "replies")
    same(await ok(peer.both(iter(()))), [], "replies")


@case("4 MiB unary")
async def _(peer):
    request = pb.Request(payload=os.urandom(MAX - 5))
    same(request.ByteSize(), MAX, "size of the request")
    got = await ok(peer.unary(request))
    same(got[0].ByteSize(), MAX, "size of the reply")
    same(got[0].payload == request.payload, True, "the payload comes back")


@case("4 MiB in a stream")
async def _(peer):
    parts = [os.urandom(MAX - 64) for _ in range(2)]
    got = await ok(peer.both(pb.Request(payload=part) for part in parts))
    same([(m.number, m.payload == parts[m.number]) for m in got], [(0, True), (1, True)], "replies")


@case("a byte over 4 MiB")
async def _(peer):
    await outcome(peer.unary(pb.Request(payload=bytes(MAX - 4))), CODE[8])
    same(await ok(peer.unary(pb.Request(payload=b"next"))), [pb.Reply(payload=b"next")], "reply of the next call")


# ---- many at once

@case("200 parallel streams")
async def _(peer):
    calls = [peer.both() for _ in range(200)]

    async def turn(i, number):
        body = b"%d of %d" % (number, i)
        await calls[i].write(pb.Request(payload=body))
        same(await calls[i].read(), pb.Reply(payload=body, number=number), "reply")

    await asyncio.gather(*(turn(i, 0) for i in range(200)))  # now all are open
    await asyncio.gather(*(turn(i, 1) for i in range(200)))
    for call in calls:
        await call.done_writing()
    for call in calls:
        same(await call.read(), grpc.aio.EOF, "after the last reply")
        await ended(call, OK)


@case("200 parallel calls")
async def _(peer):
    got = await asyncio.gather(*(ok(peer.unary(pb.Request(payload=b"%d" % i))) for i in range(200)))
    same(got, [[pb.Reply(payload=b"%d" % i)] for i in range(200)], "replies")


# ---- deadlines

@case("the server sees a deadline that shrinks")
async def _(peer):
    begun = time.monotonic()
    (got,) = await ok(peer.unary(pb.Request(tell=True, wait_ms=60), timeout=7))
    took = (time.monotonic() - begun) * 1000
    # gRPC's time is rounded up to two digits of a second by some.
    if not 7000 - took - 5 <= got.tell.left_ms <= 7020:
        raise AssertionError(f"{got.tell.left_ms} ms left of 7000 after at most {took:.0f}")
    if not 7000 - took - 5 <= got.tell.left_later_ms <= got.tell.left_ms - 50:
        raise AssertionError(f"{got.tell.left_ms} ms left, 60 ms later {got.tell.left_later_ms}")


@case("what is left of a deadline for a second try")
async def _(peer):
    key = peer.key("retry")
    begun = time.monotonic()
    call = peer.retried(pb.Request(key=key, tell=True, wait_ms=150), timeout=7)
    if not peer.target["retries"]:
        await outcome(call, CODE[14], "not yet")
        await peer.must_see(key, 1, 0)
        return
    (got,) = await ok(call)
    took = (time.monotonic() - begun) * 1000
    if not 7000 - took - 5 <= got.tell.left_ms <= 7020 - 150:
        raise AssertionError(f"{got.tell.left_ms} ms left of 7000 after 150 of at most {took:.0f}")
    await peer.must_see(key, 2, 0)


@case("no deadline is none")
async def _(peer):
    (got,) = await ok(peer.unary(pb.Request(tell=True)))
    same((got.tell.left_ms, got.tell.left_later_ms), (-1, -1), "time left")


async def passes(peer, name, start, enough):
    """A deadline that passes while the server works: a longer one where the machine was too slow to get there."""
    for seconds in (0.2, 0.8, 3.2):
        key = peer.key(name)
        begun = time.monotonic()
        got = await outcome(start(key, seconds), DEADLINE_EXCEEDED)
        took = time.monotonic() - begun
        # C-core counts from the time it last looked at its clock: on a busy machine that is a while ago.
        if not seconds / 2 <= took < seconds + 5:
            raise AssertionError(f"a deadline of {seconds} s passed after {took:.3f} s")
        if await peer.wait_seen(key, 1, 1, 2) and enough(got):
            return
    raise AssertionError(f"no call reached the server and was cancelled there in time ({len(got)} messages)")


@case("a deadline passes, and the server sees it")
async def _(peer):
    await passes(peer, "deadline", lambda key, seconds: peer.unary(pb.Request(key=key, wait_ms=60000), timeout=seconds),
                 lambda got: got == [])


@case("a deadline passes in a stream")
async def _(peer):
    want = [pb.Reply(payload=pattern(i, 10), number=i) for i in range(3)]
    await passes(peer, "stream", lambda key, seconds: peer.down(
        pb.Request(key=key, count=3, reply_bytes=10, wait_ms=60000), timeout=seconds), lambda got: got == want)


# ---- cancels

async def cancelled(peer, key, call):
    same(call.cancel(), True, "cancel()")
    await ended(call, CANCELLED)
    await peer.must_see(key, 1, 1)


@case("the server sees a unary call cancelled")
async def _(peer):
    key = peer.key("cancel")
    call = peer.unary(pb.Request(key=key, wait_ms=60000))
    await peer.must_see(key, 1, 0)
    await cancelled(peer, key, call)


@case("the server sees a client stream cancelled")
async def _(peer):
    key = peer.key("cancel")
    call = peer.up()
    for _ in range(2):
        await call.write(pb.Request(key=key, payload=b"x", wait_ms=60000))
    await peer.must_see(key, 1, 0)
    await cancelled(peer, key, call)


@case("the server sees a server stream cancelled")
async def _(peer):
    key = peer.key("cancel")
    call = peer.down(pb.Request(key=key, count=10000000, reply_bytes=1000))
    for i in range(3):
        same(await call.read(), pb.Reply(payload=pattern(i, 1000), number=i), "reply")
    await cancelled(peer, key, call)


@case("the server sees a bidi stream cancelled")
async def _(peer):
    key = peer.key("cancel")
    call = peer.both()
    await call.write(pb.Request(key=key, payload=b"x", wait_ms=60000))
    same(await call.read(), pb.Reply(payload=b"x"), "reply")
    await cancelled(peer, key, call)


# ---- metadata

async def echoed(call, kind, text, binary):
    """What was sent comes back in the initial metadata and the trailers. Node gives several ASCII values of a key as
    one, with commas, and so sends them on."""
    got = await (ok(call) if kind == OK else outcome(call, kind))
    for where, metadata in (("initial", await call.initial_metadata()), ("trailing", await call.trailing_metadata())):
        same(", ".join(values(metadata, TEXT)), ", ".join(text), where + " ASCII metadata")
        same(values(metadata, BIN), binary, where + " -bin metadata")
    return got


def sent(text, binary):
    return tuple([(TEXT, v) for v in text] + [(BIN, v) for v in binary])


def requests(*more):
    return iter([pb.Request(tell=True, payload=b"x"), *more])


async def all_kinds(peer, text, binary):
    metadata = sent(text, binary)
    for call in (peer.unary(pb.Request(tell=True), metadata=metadata), peer.up(requests(), metadata=metadata),
                 peer.down(pb.Request(tell=True, count=1), metadata=metadata), peer.both(requests(), metadata=metadata)):
        (got,) = await echoed(call, OK, text, binary)
        same(b", ".join(got.tell.text), ", ".join(text).encode(), "ASCII metadata at the server")
        same(list(got.tell.bin), binary, "-bin metadata at the server")


@case("metadata ASCII")
async def _(peer):
    await all_kinds(peer, ["plain", "spaces  and, more", "~!@#$%^&*()_+{}|:\"<>?/;'[]\\=-`"], [])


@case("metadata -bin")
async def _(peer):
    await all_kinds(peer, [], [bytes(range(256)), b"\x00", b"\xff\xfe", "☕".encode()])


@case("metadata of 5 KB")
async def _(peer):
    await all_kinds(peer, ["v" * 3000], [os.urandom(1500)])


@case("no metadata")
async def _(peer):
    await all_kinds(peer, [], [])


@case("the caller's identity")
async def _(peer):
    (got,) = await ok(peer.unary(pb.Request(tell=True)))
    same(got.tell.caller, peer.target["caller"], "x-forwarded-client-cert")


# ---- statuses

@case("status with Unicode")
async def _(peer):
    for number in range(1, 17):
        text = f"{number}: {UNICODE}"
        await outcome(peer.unary(pb.Request(code=number, message=text)), CODE[number], text)


@case("status without text")
async def _(peer):
    await outcome(peer.unary(pb.Request(code=5)), CODE[5], "")


@case("status with trailers")
async def _(peer):
    text, binary = ["why", "and more"], [b"\x00\xff"]
    metadata = sent(text, binary)
    end = {"code": 9, "message": UNICODE}
    calls = (peer.unary(pb.Request(**end), metadata=metadata), peer.up(requests(pb.Request(**end)), metadata=metadata),
             peer.down(pb.Request(count=1, **end), metadata=metadata),
             peer.both(requests(pb.Request(**end)), metadata=metadata))
    for call in calls:
        await echoed(call, CODE[9], text, binary)
        same(await call.details(), UNICODE, "text of the status")


@case("status after messages")
async def _(peer):
    want = [pb.Reply(payload=pattern(i, 5000), number=i) for i in range(50)]
    call = peer.down(pb.Request(count=50, reply_bytes=5000, code=10, message=UNICODE))
    same(await outcome(call, CODE[10], UNICODE), want, "replies")
    asked = [pb.Request(payload=b"%d" % i) for i in range(50)] + [pb.Request(code=11, message=UNICODE)]
    want = [pb.Reply(payload=b"%d" % i, number=i) for i in range(50)] + [pb.Reply(number=50)]
    same(await outcome(peer.both(iter(asked)), CODE[11], UNICODE), want, "replies")


@case("status while the client sends")
async def _(peer):
    call = peer.up()
    await call.write(pb.Request(payload=b"x"))
    await call.write(pb.Request(code=3, message=UNICODE))
    await ended(call, CODE[3], UNICODE)  # the client's half stays open


@case("unimplemented")
async def _(peer):
    for path in (SERVICE + "Missing", "/test.interop.v1.Nowhere/Call"):
        call = peer.channel.unary_unary(path, pb.Nothing.SerializeToString, pb.Nothing.FromString)(pb.Nothing())
        await outcome(call, CODE[12])
        same(bool(await call.details()), True, "there is a text")


async def main():
    failed = 0
    for target in json.loads(sys.argv[1]):
        peer = Peer(target)
        for name, function in CASES:
            if len(sys.argv) > 2 and sys.argv[2] not in name:
                continue
            try:
                await asyncio.wait_for(function(peer), 60)
                print(f"ok {target['name']}: {name}", flush=True)
            except Exception as error:
                failed += 1
                text = f"{type(error).__name__}: {error}".replace("\n", "\\n")
                print(f"FAILED {target['name']}: {name}: {text}", flush=True)
        await peer.channel.close()
    return failed


sys.exit(1 if asyncio.run(main()) else 0)
