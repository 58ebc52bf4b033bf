#!/usr/bin/python3
"""A gRPC server on Python's grpcio for tests of `weft call`: server.py ADDRESS REFLECTION [PROBLEM]

REFLECTION: comma-separated list of v1, v1alpha; or none. PROBLEM: alone (files without their imports), damaged,
missing (an import is nowhere), silent (lists a service it does not describe).
The folder of generated Python is in PYTHONPATH. A line is printed when it listens.
"""
import signal
import sys
import threading
from concurrent import futures

import grpc
from google.protobuf import descriptor_pool

from cli import kinds_pb2, parts_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_reflection_gen import reflection_pb2

ADDRESS, REFLECTION = sys.argv[1:3]
PROBLEM = sys.argv[3] if len(sys.argv) > 3 else ""
SERVICES = ["test.cli.v1.Kinds", "test.cli.v1.Other"]


def echo(request, context):
    seen = [(key, value) for key, value in context.invocation_metadata() if key.startswith("x-")]
    context.send_initial_metadata((("x-request-id", "r-1"), ("x-anything", "at all")))
    context.set_trailing_metadata((("x-served-by", "python"), ("x-trace-bin", b"\x00\xff")))
    reply = kinds_pb2.Item()
    reply.CopyFrom(request)
    for key, value in seen:
        reply.list.append("%s=%s" % (key, value.hex() if isinstance(value, bytes) else value))
    return reply


def split(request, context):
    for text in request.list:
        yield kinds_pb2.Item(text=text)


def join(requests, context):
    return kinds_pb2.Item(text=" ".join(item.text for item in requests))


def chat(requests, context):
    for item in requests:
        if item.text == "enough":
            return
        if item.text == "fail":
            context.abort(grpc.StatusCode.NOT_FOUND, "no more")
        yield kinds_pb2.Item(text="you said " + item.text)


def end(request, context):
    if request.details:
        rich = status_pb2.Status(code=request.code, message=request.message)
        bad = error_details_pb2.BadRequest()
        bad.field_violations.add(field="text", description="must not be empty")
        rich.details.add().Pack(bad)
        rich.details.add().Pack(parts_pb2.Part(id="p-1"))
        rich.details.add(type_url="type.googleapis.com/un.known", value=b"abc")
        context.set_trailing_metadata((("grpc-status-details-bin", rich.SerializeToString()),))
    code = next(code for code in grpc.StatusCode if code.value[0] == request.code)
    context.abort(code, request.message)


def fail(request, context):
    end(request, context)


def fail_late(request, context):
    for number in range(request.messages):
        yield kinds_pb2.Item(text=str(number))
    end(request, context)


def hang(request, context):
    gone = threading.Event()
    context.add_callback(gone.set)
    gone.wait()
    return kinds_pb2.Item()


def files_of(name):
    """The file, and all it imports, as serialized descriptors."""
    pool = descriptor_pool.Default()
    todo, seen = [pool.FindFileByName(name)], {}
    while todo:
        file = todo.pop()
        if file.name not in seen:
            seen[file.name] = file.serialized_pb
            todo.extend(file.dependencies)
    return list(seen.values()) if PROBLEM not in ("alone", "missing") else [seen[name]]


def reflect(requests, context):
    for request in requests:
        reply = reflection_pb2.ServerReflectionResponse(original_request=request)
        try:
            kind = request.WhichOneof("message_request")
            if kind == "list_services":
                for name in SERVICES + (["test.cli.v1.Silent"] if PROBLEM == "silent" else []):
                    reply.list_services_response.service.add(name=name)
            elif kind == "file_containing_symbol":
                file = descriptor_pool.Default().FindFileContainingSymbol(request.file_containing_symbol)
                files = [b"\xff\xff\xff"] if PROBLEM == "damaged" else files_of(file.name)
                reply.file_descriptor_response.file_descriptor_proto.extend(files)
            elif kind == "file_by_filename":
                if PROBLEM == "missing":
                    raise KeyError(request.file_by_filename)
                reply.file_descriptor_response.file_descriptor_proto.extend(files_of(request.file_by_filename))
        except KeyError as error:
            reply.error_response.error_code = 5
            reply.error_response.error_message = "no file for %s" % error
        yield reply


def method(make, function, request, reply):
    return make(function, request_deserializer=request.FromString, response_serializer=reply.SerializeToString)


def main():
    item, failure = kinds_pb2.Item, kinds_pb2.Failure
    kinds = {
        "Echo": method(grpc.unary_unary_rpc_method_handler, echo, item, item),
        "Split": method(grpc.unary_stream_rpc_method_handler, split, item, item),
        "Join": method(grpc.stream_unary_rpc_method_handler, join, item, item),
        "Chat": method(grpc.stream_stream_rpc_method_handler, chat, item, item),
        "Fail": method(grpc.unary_unary_rpc_method_handler, fail, failure, item),
        "FailLate": method(grpc.unary_stream_rpc_method_handler, fail_late, failure, item),
        "Hang": method(grpc.unary_unary_rpc_method_handler, hang, item, item),
    }
    handlers = [grpc.method_handlers_generic_handler("test.cli.v1.Kinds", kinds)]
    for version in REFLECTION.split(","):
        if version != "none":
            info = method(grpc.stream_stream_rpc_method_handler, reflect, reflection_pb2.ServerReflectionRequest,
                          reflection_pb2.ServerReflectionResponse)
            handlers.append(grpc.method_handlers_generic_handler("grpc.reflection.%s.ServerReflection" % version,
                                                                 {"ServerReflectionInfo": info}))
    server = grpc.server(futures.ThreadPoolExecutor(8), handlers=handlers)
    server.add_insecure_port(ADDRESS)
    server.start()
    signal.signal(signal.SIGTERM, lambda *_: server.stop(0))
    print("listening", flush=True)
    server.wait_for_termination()


main()
