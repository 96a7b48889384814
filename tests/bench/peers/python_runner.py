# SPDX-License-Identifier: Apache-2.0
"""python_runner.py ENGINE MODEL INPUTS THREADS: runs a model in a peer.

Speaks the protocol of turns.py. Inputs are bound once and outputs go to memory
that is there before the run, as for the engine that it is compared with.
"""

import gc
import json
import pathlib
import sys
import time

import numpy

LINE = 64  # Bytes, of a cache.


class OnnxRuntime:
    """ONNX Runtime's CPU provider, with bound inputs and outputs."""

    def __init__(self, model: str, inputs: dict[str, numpy.ndarray],
                 threads: int):
        import onnxruntime  # Each process has one engine in it.
        self.version = onnxruntime.__version__
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"])
        self._binding = self._session.io_binding()
        feeds = {i.name: inputs[i.name] for i in self._session.get_inputs()}
        for name, value in feeds.items():
            self._binding.bind_cpu_input(name, value)
        self.outputs = [aligned(value)
                        for value in self._session.run(None, feeds)]
        for spec, value in zip(self._session.get_outputs(), self.outputs):
            self._binding.bind_output(spec.name, "cpu", 0, value.dtype,
                                      value.shape, value.ctypes.data)

    def run(self) -> None:
        self._session.run_with_iobinding(self._binding)


def aligned(array: numpy.ndarray) -> numpy.ndarray:
    """A copy that begins at a cache line, so that no vector crosses one. Its
    pages are large ones where the system has them, as numpy asks for these."""
    spare = numpy.empty(array.nbytes + LINE, numpy.uint8)
    begin = -spare.ctypes.data % LINE
    copy = spare[begin:begin + array.nbytes].view(array.dtype).reshape(
        array.shape)
    copy[...] = array
    return copy


class OpenVino:
    """OpenVINO's CPU plugin, one stream, tensors in memory of our own.

    Computes in f32 where it would choose a narrower type by itself.
    """

    def __init__(self, model: str, inputs: dict[str, numpy.ndarray],
                 threads: int):
        import openvino  # Each process has one engine in it.
        self.version = openvino.get_version()
        compiled = openvino.Core().compile_model(model, "CPU", {
            "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"})
        self._request = compiled.create_infer_request()
        self._inputs = inputs
        for port in compiled.inputs:
            name = next(name for name in inputs if name in port.names)
            self._request.set_tensor(
                port, openvino.Tensor(inputs[name], shared_memory=True))
        self._request.infer()
        self.outputs = []
        for port in compiled.outputs:
            value = aligned(self._request.get_tensor(port).data)
            self.outputs.append(value)
            self._request.set_tensor(
                port, openvino.Tensor(value, shared_memory=True))

    def run(self) -> None:
        # Without the flag each output would be copied once more.
        self._request.infer(share_outputs=True)


ENGINES = {"onnxruntime": OnnxRuntime, "openvino": OpenVino}


def read_inputs(folder: pathlib.Path) -> dict[str, numpy.ndarray]:
    listed = json.loads((folder / "inputs.json").read_text())
    return {item["name"]: aligned(
        numpy.fromfile(folder / item["file"], item["dtype"])
        .reshape(item["dims"])) for item in listed}


def time_runs(engine, warm_ups: int, count: int) -> dict:
    for _ in range(warm_ups):
        engine.run()
    times = []
    for _ in range(count):
        begin = time.perf_counter_ns()
        engine.run()
        times.append(time.perf_counter_ns() - begin)
    return {"ns": times}


def save(engine, folder: pathlib.Path) -> dict:
    for i, output in enumerate(engine.outputs):
        output.tofile(folder / f"{i}.bin")
    return {"dims": [output.shape for output in engine.outputs]}


def answer(engine, line: str) -> dict:
    verb, _, rest = line.strip().partition(" ")
    if verb == "run":
        warm_ups, count = rest.split()
        return time_runs(engine, int(warm_ups), int(count))
    if verb == "save":
        return save(engine, pathlib.Path(rest))
    return {"error": f"expected run or save, got {line!r}"}


def say(line: dict) -> None:
    print(json.dumps(line), flush=True)


def main() -> int:
    name, model, inputs, threads = sys.argv[1:]
    begin = time.perf_counter()
    try:
        engine = ENGINES[name](model, read_inputs(pathlib.Path(inputs)),
                               int(threads))
    except Exception as error:  # Whatever an engine raises is its answer.
        say({"error": f"{type(error).__name__}: {error}"})
        return 1
    say({"engine": name, "version": engine.version,
         "load_ms": (time.perf_counter() - begin) * 1e3})
    # A collection in the middle of a run would be Python's time.
    gc.disable()
    for line in sys.stdin:
        say(answer(engine, line))
    return 0


if __name__ == "__main__":
    sys.exit(main())
