#!/usr/bin/python3
"""The Python server of test_interop.py: server.py ADDRESS. What it does is in proto/test/interop/v1/interop.proto.
The modules made from the contract are found through PYTHONPATH."""
import asyncio
import os
import sys
from collections import defaultdict

import grpc
import interop_pb2 as pb

TEXT, BIN = "x-interop-text", "x-interop-bin"
SERVICE = "test.interop.v1.InteropService"
CODES = {code.value[0]: code for code in grpc.StatusCode}
PATTERN = bytes(range(256)) * 65537  # more than 16 MiB

seen = defaultdict(pb.SeenReply)


class Note:
    """Counts one call in `seen` while it runs."""

    def __init__(self):
        self.key = None

    def enter(self, key):
        if self.key is None:
            self.key = key
            seen[key].entered += 1

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if self.key is not None:
            seen[self.key].ended += 1
            seen[self.key].cancelled += kind in (asyncio.CancelledError, GeneratorExit)


async def echo_metadata(context):
    back = tuple((k, v) for k, v in context.invocation_metadata() if k in (TEXT, BIN))
    await context.send_initial_metadata(back)
    context.set_trailing_metadata(back)


def left_ms(context):
    left = context.time_remaining()
    return -1 if left is None else int(left * 1000)


def fill(context, request, number):
    reply = pb.Reply(payload=request.payload, number=number)
    if request.reply_bytes:
        reply.payload = PATTERN[number % 256:][:request.reply_bytes]
    if request.tell:
        reply.tell.CopyFrom(tell(context))
    return reply


def tell(context):
    sent = context.invocation_metadata()
    return pb.Tell(left_ms=left_ms(context), left_later_ms=left_ms(context),
                   text=[v.encode() for k, v in sent if k == TEXT], bin=[v for k, v in sent if k == BIN],
                   caller="".join(v for k, v in sent if k == "x-forwarded-client-cert"))


async def end(context, request):
    if request.code:
        await context.abort(CODES[request.code], request.message, context.trailing_metadata())


# ---- handlers

async def empty(_, context):
    del context
    return pb.Nothing()


async def unary(request, context):
    with Note() as note:
        note.enter(request.key)
        await echo_metadata(context)
        reply = fill(context, request, 0)
        await asyncio.sleep(request.wait_ms / 1000)
        if request.tell:
            reply.tell.left_later_ms = left_ms(context)
        await end(context, request)
        return reply


async def retried(request, context):
    with Note() as note:
        note.enter(request.key)
        if seen[request.key].entered == 1:
            await asyncio.sleep(request.wait_ms / 1000)
            await context.abort(grpc.StatusCode.UNAVAILABLE, "not yet")
        await echo_metadata(context)
        return fill(context, request, 0)


async def up(requests, context):
    reply, parts, wait = pb.Reply(), [], 0
    with Note() as note:
        await echo_metadata(context)
        async for request in requests:
            note.enter(request.key)
            reply.number += 1
            parts.append(request.payload)
            wait = max(wait, request.wait_ms)
            if request.tell:
                reply.tell.CopyFrom(tell(context))
            await end(context, request)
        await asyncio.sleep(wait / 1000)
        reply.payload = b"".join(parts)
        return reply


async def down(request, context):
    with Note() as note:
        note.enter(request.key)
        await echo_metadata(context)
        for i in range(request.count):
            yield fill(context, request, i)
        await asyncio.sleep(request.wait_ms / 1000)
        await end(context, request)


async def both(requests, context):
    number = wait = 0
    with Note() as note:
        await echo_metadata(context)
        async for request in requests:
            note.enter(request.key)
            yield fill(context, request, number)
            number += 1
            wait = max(wait, request.wait_ms)
            await end(context, request)
        await asyncio.sleep(wait / 1000)


async def what_was_seen(request, context):
    del context
    return seen[request.key]


def handlers():
    out = pb.Reply.SerializeToString
    into = pb.Request.FromString
    return {
        "Empty": grpc.unary_unary_rpc_method_handler(empty, pb.Nothing.FromString, pb.Nothing.SerializeToString),
        "Unary": grpc.unary_unary_rpc_method_handler(unary, into, out),
        "Retried": grpc.unary_unary_rpc_method_handler(retried, into, out),
        "Up": grpc.stream_unary_rpc_method_handler(up, into, out),
        "Down": grpc.unary_stream_rpc_method_handler(down, into, out),
        "Both": grpc.stream_stream_rpc_method_handler(both, into, out),
        "Seen": grpc.unary_unary_rpc_method_handler(what_was_seen, pb.SeenRequest.FromString,
                                                    pb.SeenReply.SerializeToString),
    }


async def main():
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers()),))
    if not server.add_insecure_port(sys.argv[1]):
        sys.exit("cannot listen on " + sys.argv[1])
    await server.start()
    os.write(int(os.environ["WEFT_READY_FD"]), b"\n")
    await server.wait_for_termination()


asyncio.run(main())
