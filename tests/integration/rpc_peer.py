#!/usr/bin/python3
"""The other side of test_rpc_python.c: EchoService of tests/unit/rpc in python3-grpcio, messages by hand.

    rpc_peer.py client ADDRESS    calls a Weft server; prints a line a check and "done"
    rpc_peer.py server ADDRESS    serves until its standard input ends; prints "ready"
"""
import sys
import time
from concurrent import futures

import grpc

PACKAGE = "/test.rpc.v1.EchoService/"
DETAILS = b"\x08\x08\x12\x06no tea"  # google.rpc.Status {code 8, message}


# ---- just enough protobuf

def varint(value):
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def text_field(number, data):
    data = data.encode() if isinstance(data, str) else data
    return varint(number << 3 | 2) + varint(len(data)) + data


def int_field(number, value):
    return varint(number << 3) + varint(value)


def fields(data):
    found, at = {}, 0

    def read():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        key = read()
        if key & 7 == 0:
            found[key >> 3] = read()
        else:
            size = read()
            found[key >> 3] = data[at:at + size]
            at += size
    return found


def request(text="", **more):
    numbers = {"code": 2, "sleep_ms": 4, "reply_bytes": 7, "count": 10}
    out = text_field(1, text) if text else b""
    for name, value in more.items():
        if name in numbers:
            out += int_field(numbers[name], value)
        else:
            out += text_field({"message": 3, "payload": 6}[name], value)
    return out


# ---- client

def expect(condition, what):
    if not condition:
        raise AssertionError(what)


def unary(channel, name, message, **options):
    return channel.unary_unary(PACKAGE + name).with_call(message, **options)


def fails(code, call):
    try:
        result = call()
        if hasattr(result, "__next__"):
            for _ in result:
                pass
    except grpc.RpcError as error:
        expect(error.code() == code, "%s instead of %s: %s" % (error.code(), code, error.details()))
        return error
    raise AssertionError("no failure, %s expected" % code)


def check_unary(channel):
    reply, call = unary(channel, "Unary", request("hällo"), timeout=10)
    expect(fields(reply)[1].decode() == "hällo", "echo")
    expect(call.code() == grpc.StatusCode.OK, "OK")
    reply, _ = unary(channel, "Inline", request("x"), timeout=10)
    expect(fields(reply)[1] == b"x", "inline")


def check_statuses(channel):
    for code in grpc.StatusCode:
        if code is grpc.StatusCode.OK:
            continue
        message = "why → %d%%" % code.value[0]
        error = fails(code, lambda: unary(channel, "Unary", request(code=code.value[0], message=message), timeout=10))
        expect(error.details() == message, error.details())
    fails(grpc.StatusCode.UNIMPLEMENTED, lambda: unary(channel, "Nope", b"", timeout=10))
    fails(grpc.StatusCode.INVALID_ARGUMENT, lambda: unary(channel, "Unary", b"\x0a\x02\xff\xfe", timeout=10))
    fails(grpc.StatusCode.INVALID_ARGUMENT, lambda: unary(channel, "Unary", b"\x0a\x64a", timeout=10))


def check_metadata(channel):
    sent = (("x-echo", "value"), ("x-echo-bin", b"\x00\xff"),
            ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"))
    reply, call = unary(channel, "Unary", request("m"), timeout=10, metadata=sent)
    expect(dict(call.initial_metadata())["x-initial"] == "value", "initial")
    expect(dict(call.trailing_metadata())["x-trailing-bin"] == b"\x00\xff", "trailing")
    expect(fields(reply)[3].startswith(b"00-0af7651916cd43dd8448eb211c80319c-"), "trace")


def check_deadline_and_cancel(channel):
    fails(grpc.StatusCode.DEADLINE_EXCEEDED, lambda: unary(channel, "Unary", request(sleep_ms=20000), timeout=0.1))
    call = channel.unary_unary(PACKAGE + "Unary").future(request(sleep_ms=20000))
    call.cancel()
    expect(call.cancelled(), "cancelled")


def check_streams(channel):
    got = list(channel.unary_stream(PACKAGE + "Down")(request("d", count=500), timeout=10))
    expect([fields(m).get(6, 0) for m in got] == list(range(500)), "down")
    reply = channel.stream_unary(PACKAGE + "Up")((request("u") for _ in range(500)), timeout=10)
    expect(fields(reply)[6] == 500, "up")
    got = list(channel.stream_stream(PACKAGE + "Both")((request("b%d" % i) for i in range(500)), timeout=10))
    expect([fields(m)[1].decode() for m in got] == ["b%d" % i for i in range(500)], "both")
    stream = channel.unary_stream(PACKAGE + "Down")(request("d", count=100000000))
    next(stream)
    stream.cancel()
    fails(grpc.StatusCode.FAILED_PRECONDITION,
          lambda: channel.stream_stream(PACKAGE + "Both")(iter([request(code=9, message="no")]), timeout=10))


def check_large_and_compressed(channel):
    data = bytes(range(256)) * 12000
    reply, _ = unary(channel, "Unary", request(payload=data), timeout=20)
    expect(fields(reply)[2] == data, "3 MB")
    reply, _ = unary(channel, "Unary", request(payload=data), timeout=20, compression=grpc.Compression.Gzip)
    expect(fields(reply)[2] == data, "3 MB compressed")
    fails(grpc.StatusCode.RESOURCE_EXHAUSTED, lambda: unary(channel, "Unary", request(payload=data * 2), timeout=20))


def check_health_and_reflection(channel):
    check = channel.unary_unary("/grpc.health.v1.Health/Check")
    expect(check(text_field(1, "test.rpc.v1.EchoService"), timeout=10) == int_field(1, 1), "SERVING")
    watch = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"")
    expect(next(watch) == int_field(1, 1), "watched SERVING")
    watch.cancel()
    for version in ("v1", "v1alpha"):
        path = "/grpc.reflection.%s.ServerReflection/ServerReflectionInfo" % version
        asked = [text_field(7, "*"), text_field(4, "test.rpc.v1.EchoService")]
        listed, described = channel.stream_stream(path)(iter(asked), timeout=10)
        expect(b"test.rpc.v1.EchoService" in fields(listed)[6], "listed")
        expect(b"test/rpc/v1/echo.proto" in fields(described)[4], "described")


def client(address):
    checks = [check for name, check in sorted(globals().items()) if name.startswith("check_")]
    with grpc.insecure_channel(address) as channel:
        for check in checks:
            check(channel)
            print(check.__name__, flush=True)
    print("done", flush=True)


# ---- server

def reply(text, **more):
    return request(text) + (int_field(6, more["count"]) if "count" in more else b"")


class Echo(grpc.GenericRpcHandler):
    def service(self, call):
        if not call.method.startswith(PACKAGE):
            return None
        name = call.method[len(PACKAGE):]
        if name == "Unary":
            return grpc.unary_unary_rpc_method_handler(self.unary)
        if name == "Down":
            return grpc.unary_stream_rpc_method_handler(self.down)
        if name == "Up":
            return grpc.stream_unary_rpc_method_handler(self.up)
        if name == "Both":
            return grpc.stream_stream_rpc_method_handler(self.both)
        return None

    def unary(self, message, context):
        asked = fields(message)
        sent = context.invocation_metadata()
        context.send_initial_metadata([("x-initial", value) for key, value in sent if key == "x-echo"])
        trailers = [("x-trailing-bin", value) for key, value in sent if key == "x-echo-bin"]
        trace = [value for key, value in sent if key == "traceparent"]
        if asked.get(2):
            if asked[2] == 8:
                trailers.append(("grpc-status-details-bin", DETAILS))
            context.set_trailing_metadata(trailers)
            codes = {code.value[0]: code for code in grpc.StatusCode}
            context.abort(codes[asked[2]], asked.get(3, b"").decode())
        context.set_trailing_metadata(trailers)
        until = time.monotonic() + asked.get(4, 0) / 1000
        while time.monotonic() < until and context.is_active():
            time.sleep(0.001)
        payload = b"r" * asked.get(7, 0) or asked.get(6, b"")
        return text_field(1, asked.get(1, b"")) + text_field(2, payload) + text_field(3, trace[0])

    def down(self, message, context):
        asked = fields(message)
        for i in range(asked.get(10, 0)):
            yield reply(asked.get(1, b"").decode(), count=i)

    def up(self, messages, context):
        count = 0
        for _ in messages:
            count += 1
        return reply("up", count=count)

    def both(self, messages, context):
        for message in messages:
            asked = fields(message)
            if asked.get(2):
                context.abort(grpc.StatusCode.ABORTED, "enough")
            yield text_field(1, asked.get(1, b"")) + text_field(2, asked.get(6, b""))


def server(address):
    it = grpc.server(futures.ThreadPoolExecutor(16))
    it.add_generic_rpc_handlers((Echo(),))
    if not it.add_insecure_port(address):
        sys.exit("cannot listen on " + address)
    it.start()
    print("ready", flush=True)
    sys.stdin.read()
    it.stop(0).wait()


if __name__ == "__main__":
    {"client": client, "server": server}[sys.argv[1]](sys.argv[2])
