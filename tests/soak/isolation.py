#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the load of a big model costs the requests of another one."""

import sys
import threading
import time

import numpy as np
import onnx
from tritonclient.grpc import service_pb2 as v2

import served

THREADS = 2
PAUSE_S = 0.005  # Below what the machine can do, as a service should be.
LAYERS = 128
# Beyond both, others are starved and not merely slower. The compilers have as
# many processors as the requests.
GROSS_FACTOR = 50.0
GROSS_MS = 1000.0


def big_model() -> bytes:
    """A stack of layers, each of a width of its own, hence of its own kernel."""
    nodes, weights = [], []
    width = 64
    for i in range(LAYERS):
        next_width = 65 + 3 * i
        values = np.full((width, next_width), 1 / width, np.float32)
        weights.append(onnx.numpy_helper.from_array(values, f"w{i}"))
        nodes += [
            onnx.helper.make_node("MatMul", [f"x{i}", f"w{i}"], [f"p{i}"]),
            onnx.helper.make_node("Softmax", [f"p{i}"], [f"s{i}"]),
            onnx.helper.make_node("Tanh", [f"s{i}"], [f"x{i + 1}"])]
        width = next_width
    graph = onnx.helper.make_graph(
        nodes, "big",
        [onnx.helper.make_tensor_value_info("x0", 1, ["batch", 64])],
        [onnx.helper.make_tensor_value_info(f"x{LAYERS}", 1,
                                            ["batch", width])],
        weights)
    return onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 17)],
        ir_version=8).SerializeToString()


def main() -> int:
    options = served.arguments(__doc__, seconds=20)
    with served.Daemon(options.bin, {"mlp": "mlp"},
                       "--request-threads", "16") as daemon:
        message = served.mlp_request("mlp")
        right = served.call(daemon.stub(), message)
        load = v2.RepositoryModelLoadRequest(model_name="big")
        load.parameters["config"].string_param = "{}"
        load.parameters["file:1/model.onnx"].bytes_param = big_model()

        callers = served.Callers(daemon, message, THREADS, PAUSE_S)
        time.sleep(options.seconds / 2)
        alone = callers.stop()

        callers = served.Callers(daemon, message, THREADS, PAUSE_S)
        begin = time.monotonic()
        loading = threading.Thread(
            target=daemon.stub().RepositoryModelLoad, args=(load,))
        loading.start()
        loading.join()
        load_s = time.monotonic() - begin
        during = callers.stop()
        daemon.stop(served.TIMEOUT_S)
    served.check_answers(alone + during, {right.answer})
    factor = served.quantile_ms(during, .99) / served.quantile_ms(alone, .99)
    print(f"isolation: alone: {served.figures(alone)}")
    print(f"isolation: while {LAYERS} layers load for {load_s:.1f} s: "
          f"{served.figures(during)}; p99 is {factor:.1f} times that alone")
    served.expect(factor <= GROSS_FACTOR or
                  served.quantile_ms(during, .99) <= GROSS_MS,
                  f"a p99 below {GROSS_FACTOR} times that alone, or "
                  f"{GROSS_MS:.0f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
