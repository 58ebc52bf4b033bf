#!/usr/bin/python3
"""Python's own gRPC and the shop, both ways: Python calls C services, and C's order service calls a product service written in
Python. Nothing of Weft is on the Python side: Debian's python3-grpcio, and messages by protoc."""
import importlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from concurrent import futures

import grpc

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.get("BUILD", os.path.join(ROOT, "build")))
HONEY = "acacia-honey-500-g"
PYTHON_PRICE = 777  # minor units; not what the C catalogue says
MESH = """
namespace: shop
services:
  - {name: user, command: ["${bin}/weft-shop", user, --db, "${dir}/user.db"]}
  - {name: inventory, command: ["${bin}/weft-shop", inventory, --db, "${dir}/inventory.db"]}
  - {name: payment, command: ["${bin}/weft-shop", payment, --db, "${dir}/payment.db"]}
  - {name: catalogue, command: ["${bin}/weft-shop", product, --db, "${dir}/product.db"]}
  - {name: product, command: [/usr/bin/python3, "${env.SUITE}", serve]}
  - name: order
    command: ["${bin}/weft-shop", order, --db, "${dir}/order.db"]
    uses: [user, product, inventory, payment]
"""


def messages(service):
    return importlib.import_module("shop.%s.v1.%s_pb2" % (service, service))


class Stub:
    """Calls any method by its name in the contract."""

    def __init__(self, service):
        self.pb = messages(service)
        self.full = "shop.%s.v1.%sService" % (service, service.capitalize())
        self.methods = self.pb.DESCRIPTOR.services_by_name[service.capitalize() + "Service"].methods_by_name

    def call(self, channel, name, request, **options):
        method = self.methods[name]
        reply = getattr(self.pb, method.output_type.name)
        path = "/%s/%s" % (self.full, name)
        kind = channel.stream_stream if name == "QuotePrices" else channel.unary_unary
        make = kind(path, request_serializer=lambda m: m.SerializeToString(), response_deserializer=reply.FromString)
        return make(request, timeout=20, **options)


def serve():
    """The product service in Python: one product, at a price of its own."""
    pb, common = messages("product"), messages_common()

    def batch(request, context):
        if any(i != HONEY for i in request.product_ids):
            context.abort(grpc.StatusCode.NOT_FOUND, "no product \"%s\" — Python sells honey" % request.product_ids[0])
        print("python heard", dict(context.invocation_metadata()).get("traceparent"), flush=True)
        product = pb.Product(product_id=HONEY, name="Honig aus Python", category="honey", state=pb.PRODUCT_STATE_ON_SALE,
                             price=common.Money(minor_units=PYTHON_PRICE, currency_code="EUR"))
        return pb.BatchGetProductsResponse(products=[product])

    handler = grpc.method_handlers_generic_handler("shop.product.v1.ProductService", {
        "BatchGetProducts": grpc.unary_unary_rpc_method_handler(batch, pb.BatchGetProductsRequest.FromString,
                                                                lambda m: m.SerializeToString())})
    server = grpc.server(futures.ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((handler,))
    if not server.add_insecure_port(os.environ["WEFT_LISTEN"]):
        sys.exit("cannot listen at " + os.environ["WEFT_LISTEN"])
    server.start()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    os.write(int(os.environ["WEFT_READY_FD"]), b"\n")
    stop.wait()
    server.stop(5).wait()


def messages_common():
    return importlib.import_module("shop.common.v1.money_pb2")


class Shop(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.channels = {name: grpc.insecure_channel(os.environ["WEFT_UPSTREAM_" + name.upper()])
                        for name in ("user", "catalogue", "inventory", "payment", "order", "product")}
        cls.stubs = {name: Stub(name) for name in ("user", "product", "inventory", "payment", "order")}

    @classmethod
    def tearDownClass(cls):
        for channel in cls.channels.values():
            channel.close()

    def call(self, where, service, method, kind, **fields):
        pb = self.stubs[service].pb
        return self.stubs[service].call(self.channels[where], method, getattr(pb, kind)(**fields))

    def refused(self, code, text, *args, **fields):
        with self.assertRaises(grpc.RpcError) as caught:
            self.call(*args, **fields)
        self.assertEqual(caught.exception.code(), code)
        self.assertIn(text, caught.exception.details())

    def customer(self, key, cents):
        user = self.call("user", "user", "CreateUser", "CreateUserRequest", email=key + "@example.org", display_name="Zoë 🐝",
                         idempotency_key="u-" + key).user
        money = messages_common().Money(minor_units=cents, currency_code="EUR")
        self.call("payment", "payment", "TopUp", "TopUpRequest", user_id=user.user_id, amount=money, idempotency_key="t-" + key)
        return user.user_id

    def test_python_calls_c_unary(self):
        product = self.call("catalogue", "product", "GetProduct", "GetProductRequest", product_id=HONEY).product
        self.assertEqual((product.product_id, product.price.currency_code), (HONEY, "EUR"))
        self.assertNotEqual(product.price.minor_units, PYTHON_PRICE)

    def test_python_calls_c_unicode(self):
        user = self.customer("zoe", 1)
        again = self.call("user", "user", "GetUser", "GetUserRequest", user_id=user).user
        self.assertEqual(again.display_name, "Zoë 🐝")

    def test_python_calls_c_and_is_refused(self):
        self.refused(grpc.StatusCode.INVALID_ARGUMENT, "product_id", "catalogue", "product", "GetProduct", "GetProductRequest")
        self.refused(grpc.StatusCode.NOT_FOUND, "no-such-thing", "catalogue", "product", "GetProduct", "GetProductRequest",
                     product_id="no-such-thing")

    def test_python_streams_with_c(self):
        pb = self.stubs["product"].pb
        asked = (pb.QuotePricesRequest(product_id=HONEY, quantity=n) for n in (1, 2, 3))
        quotes = list(self.stubs["product"].call(self.channels["catalogue"], "QuotePrices", asked))
        self.assertEqual([q.quantity for q in quotes], [1, 2, 3])
        self.assertEqual(quotes[2].total.minor_units, 6 * quotes[0].unit_price.minor_units)

    def test_python_cancels_a_stream(self):
        pb, hold = self.stubs["product"].pb, threading.Event()

        def asked():
            yield pb.QuotePricesRequest(product_id=HONEY, quantity=1)
            hold.wait(20)

        stream = self.stubs["product"].call(self.channels["catalogue"], "QuotePrices", asked())
        self.assertEqual(next(stream).quantity, 1)
        stream.cancel()
        with self.assertRaises(grpc.RpcError) as caught:
            next(stream)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.CANCELLED)
        hold.set()

    def test_c_calls_python(self):
        user = self.customer("ada", 100000)
        order = self.stubs["order"].pb
        line = order.PlaceOrderLine(product_id=HONEY, quantity=3)
        placed = self.call("order", "order", "PlaceOrder", "PlaceOrderRequest", user_id=user, lines=[line],
                           idempotency_key="o-ada").order
        self.assertEqual(placed.state, order.ORDER_STATE_CONFIRMED)
        self.assertEqual(placed.total.minor_units, 3 * PYTHON_PRICE)

    def test_c_hears_what_python_refuses(self):
        user = self.customer("ben", 100000)
        order = self.stubs["order"].pb
        line = order.PlaceOrderLine(product_id="backgammon-set", quantity=1)
        try:
            placed = self.call("order", "order", "PlaceOrder", "PlaceOrderRequest", user_id=user, lines=[line],
                               idempotency_key="o-ben").order
            said = placed.failure_reason
            self.assertEqual(placed.state, order.ORDER_STATE_FAILED)
        except grpc.RpcError as error:
            said = error.details()
        self.assertIn("Python sells honey", said)

    def test_c_sends_python_its_trace(self):
        user = self.customer("eve", 100000)
        order = self.stubs["order"].pb
        trace = "0af7651916cd43dd8448eb211c80319c"
        place = order.PlaceOrderRequest(user_id=user, lines=[order.PlaceOrderLine(product_id=HONEY, quantity=1)],
                                        idempotency_key="o-eve")
        self.stubs["order"].call(self.channels["order"], "PlaceOrder", place,
                                 metadata=(("traceparent", "00-%s-b7ad6b7169203331-01" % trace),))
        heard, deadline = [], time.monotonic() + 20  # the line goes from Python to weft up to the file
        while not heard and time.monotonic() < deadline:
            time.sleep(0.01)
            with open(os.path.join(os.environ["WORK"], "shop.log"), encoding="utf-8") as log:
                heard = re.findall("python heard 00-%s-([0-9a-f]{16})-01" % trace, log.read())
        self.assertEqual(len(heard), 1)
        self.assertNotEqual(heard[0], "b7ad6b7169203331")


def outside():
    """Makes the messages, starts the mesh, runs the tests inside it."""
    work = tempfile.mkdtemp(prefix="weft-shop-python-")
    try:
        protos = [os.path.join(folder, f) for top in ("proto/shop",) for folder, _, files in os.walk(os.path.join(ROOT, top))
                  for f in files if f.endswith(".proto")]
        subprocess.run(["protoc", "-I" + os.path.join(ROOT, "proto"), "-I/usr/include", "--python_out=" + work,
                        "/usr/include/protobuf-c/protobuf-c.proto", *protos], check=True)
        mesh = os.path.join(work, "mesh.yaml")
        with open(mesh, "w", encoding="utf-8") as out:
            out.write(MESH)
        env = dict(os.environ, PYTHONPATH=work, SUITE=os.path.abspath(__file__), WORK=work)
        run = [os.path.join(BUILD, "bin", "weft"), "up", "--quiet", "--log-file", os.path.join(work, "shop.log"), "--state-dir",
               os.path.join(work, "state"), mesh, "--", "/usr/bin/python3", os.path.abspath(__file__), "inside"]
        return subprocess.run(run, env=env, stdin=subprocess.DEVNULL, timeout=200, check=False).returncode
    finally:
        shutil.rmtree(work)


def inside():
    result = unittest.main(argv=sys.argv[:1], exit=False, verbosity=2).result
    bad = len(result.failures) + len(result.errors)
    print("%d passed, %d failed" % (result.testsRun - bad, bad))
    return 1 if bad or not result.testsRun else 0


if __name__ == "__main__":
    sys.exit({"serve": serve, "inside": inside}.get((sys.argv[1:] or [""])[0], outside)())
