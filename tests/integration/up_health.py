#!/usr/bin/python3
"""A gRPC server with only grpc.health.v1, for tests of `weft up`: up_health.py STATUS,STATUS…|none."""
import os
import signal
import sys
from concurrent import futures

import grpc

answers = sys.argv[1].split(",")


def check(request, context):
    print("asked", flush=True)
    return bytes([8, int(answers.pop(0) if len(answers) > 1 else answers[0])])


handlers = []
if answers != ["none"]:
    method = grpc.unary_unary_rpc_method_handler(check)  # bytes in, bytes out
    handlers.append(grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": method}))
server = grpc.server(futures.ThreadPoolExecutor(2), handlers=handlers)
server.add_insecure_port(os.environ["WEFT_LISTEN"])
server.start()
signal.signal(signal.SIGTERM, lambda *_: server.stop(0))
server.wait_for_termination()
