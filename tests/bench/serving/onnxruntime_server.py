# SPDX-License-Identifier: Apache-2.0
"""onnxruntime_server.py STUBS REPOSITORY THREADS: the least server of a peer.

ModelInfer of the V2 protocol for the models of a repository, f32 tensors as raw
contents, and the time that the engine took in each answer, as quernd gives it.
STUBS is the folder with the code that protoc makes.
"""

import concurrent.futures
import pathlib
import sys
import time

import grpc
import numpy
import onnxruntime

sys.path.append(sys.argv[1])
from proto.inference import grpc_service_pb2 as messages
from proto.inference import grpc_service_pb2_grpc as services

# More than there are clients, so that none waits for a thread.
WORKERS = 32


def open_session(model: pathlib.Path, threads: int):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options,
                                        providers=["CPUExecutionProvider"])


class Inference(services.GRPCInferenceServiceServicer):
    def __init__(self, repository: pathlib.Path, threads: int):
        self._sessions = {
            folder.name: open_session(folder / "1/model.onnx", threads)
            for folder in repository.iterdir()}

    def ModelInfer(self, request, context):
        session = self._sessions[request.model_name]
        feeds = {tensor.name: numpy.frombuffer(raw, numpy.float32)
                 .reshape(tensor.shape)
                 for tensor, raw in zip(request.inputs,
                                        request.raw_input_contents)}
        begin = time.perf_counter_ns()
        outputs = session.run(None, feeds)
        execute_ns = time.perf_counter_ns() - begin
        response = messages.ModelInferResponse(
            model_name=request.model_name, model_version="1", id=request.id)
        response.parameters["quern_execute_ns"].int64_param = execute_ns
        for spec, value in zip(session.get_outputs(), outputs):
            response.outputs.add(name=spec.name, datatype="FP32",
                                 shape=value.shape)
            response.raw_output_contents.append(value.tobytes())
        return response


def main() -> None:
    repository, threads = pathlib.Path(sys.argv[2]), int(sys.argv[3])
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(WORKERS))
    services.add_GRPCInferenceServiceServicer_to_server(
        Inference(repository, threads), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(f"ready grpc=127.0.0.1:{port}", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
