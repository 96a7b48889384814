# SPDX-License-Identifier: Apache-2.0
"""What the harnesses share: a quernd of their own, callers, figures."""

import argparse
import collections
import contextlib
import dataclasses
import http.client
import json
import os
import pathlib
import pickle
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time

import grpc
import numpy as np
from tritonclient.grpc import service_pb2 as v2
from tritonclient.grpc import service_pb2_grpc as v2_grpc

TIMEOUT_S = 60
NEIGHBOUR_NICENESS = -10
NEIGHBOUR_PAUSE_S = 0.02
CLIENTS = 64  # Of a crowd.
MANY_CONNECTIONS = 10_000


def arguments(description: str, **defaults) -> argparse.Namespace:
    """The command line: BIN, and a number for each of `defaults`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("bin", type=pathlib.Path,
                        help="the folder of the programs")
    for name, default in defaults.items():
        parser.add_argument("--" + name, type=type(default), default=default)
    return parser.parse_args()


def expect(condition: bool, what: str) -> None:
    if not condition:
        raise AssertionError(f"expected {what}")


def channel_to(address: str) -> grpc.Channel:
    """A connection of its own."""
    return grpc.insecure_channel(address, options=[
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_receive_message_length", -1)])


class Daemon:
    """A quernd that serves a repository of its own, with an empty cache.

    `models` are names to kinds of quern-make-model.
    """

    def __init__(self, programs: pathlib.Path, models: dict, *flags: str):
        self.programs = programs
        self._folder = tempfile.TemporaryDirectory(prefix="quern-soak-")
        self.folder = pathlib.Path(self._folder.name)
        (self.folder / "models").mkdir()
        for name, kind in models.items():
            self.make_model(name, kind, seed=1)
        self._log = open(self.folder / "log", "w")
        self.process = subprocess.Popen(
            [programs / "quernd", "--model-repository", self.folder / "models",
             "--cache-dir", self.folder / "cache", "--grpc-address",
             "127.0.0.1:0", "--http-address", "127.0.0.1:0",
             "--metrics-address", "127.0.0.1:0", *flags],
            stdout=subprocess.PIPE, stderr=self._log, text=True)
        line = self.process.stdout.readline()
        words = dict(w.split("=", 1) for w in line.split() if "=" in w)
        if not line.startswith("quernd ready"):
            raise RuntimeError(f"quernd did not start:\n{self.log()}")
        self.address = words["grpc"]
        self.http_address = words["http"]
        self.metrics_address = words["metrics"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self._log.close()
        self._folder.cleanup()

    def make_model(self, name: str, kind: str, seed: int) -> None:
        """Puts a model into the repository by one rename."""
        path = self.folder / "models" / name / "1" / "model.onnx"
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.folder / "fresh.onnx"
        subprocess.run([self.programs / "quern-make-model", kind, fresh,
                        "--seed", str(seed)], check=True)
        fresh.rename(path)

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def stub(self) -> v2_grpc.GRPCInferenceServiceStub:
        """One over a connection of its own."""
        return v2_grpc.GRPCInferenceServiceStub(self.channel())

    def channel(self) -> grpc.Channel:
        return channel_to(self.address)

    def resident_mib(self) -> float:
        for line in open(f"/proc/{self.process.pid}/status"):
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise RuntimeError("quernd is gone")

    def stop(self, timeout_s: float) -> float:
        """Ends it by SIGTERM; the seconds that took."""
        begin = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"expected quernd to end within {timeout_s} s") from None
        expect(code == 0, f"quernd to end with 0, got {code}\n{self.log()}")
        return time.monotonic() - begin


def request(model: str, values: np.ndarray, name: str) -> v2.ModelInferRequest:
    message = v2.ModelInferRequest(model_name=model)
    tensor = message.inputs.add(name=name, datatype="FP32")
    tensor.shape.extend(values.shape)
    message.raw_input_contents.append(values.astype(np.float32).tobytes())
    return message


def mlp_request(model: str, batch: int = 3) -> v2.ModelInferRequest:
    values = np.arange(batch * 64, dtype=np.float32) * 7 % 19 / 19 - 0.5
    return request(model, values.reshape(batch, 64), "features")


def cnn_request(model: str) -> v2.ModelInferRequest:
    values = np.arange(3 * 64 * 64, dtype=np.float32) * 7 % 19 / 19 - 0.5
    return request(model, values.reshape(1, 3, 64, 64), "image")


@dataclasses.dataclass
class Call:
    """One request: when it began and ended, and how."""
    begin: float
    end: float
    code: grpc.StatusCode
    answer: bytes  # Of the first output; empty if there is none.
    message: str = ""


def call(stub, message: v2.ModelInferRequest) -> Call:
    begin = time.monotonic()
    try:
        answer = stub.ModelInfer(message, timeout=TIMEOUT_S)
        return Call(begin, time.monotonic(), grpc.StatusCode.OK,
                    answer.raw_output_contents[0])
    except grpc.RpcError as error:
        return Call(begin, time.monotonic(), error.code(), b"",
                    error.details())


class Callers:
    """Threads that send one message after the other until stop()."""

    def __init__(self, daemon: Daemon, message, threads: int,
                 pause_s: float = 0, until_error: bool = False):
        self._stopped = threading.Event()
        self._calls = [[] for _ in range(threads)]
        self._threads = [
            threading.Thread(target=self._run, args=(
                daemon, message, calls, pause_s, until_error))
            for calls in self._calls]
        for thread in self._threads:
            thread.start()

    def _run(self, daemon, message, calls, pause_s, until_error):
        with daemon.channel() as channel:
            stub = v2_grpc.GRPCInferenceServiceStub(channel)
            while not self._stopped.is_set():
                calls.append(call(stub, message))
                if until_error and calls[-1].code != grpc.StatusCode.OK:
                    return
                if pause_s:
                    self._stopped.wait(pause_s)

    def calls(self) -> list[Call]:
        """Those that have ended so far."""
        return [c for calls in self._calls for c in list(calls)]

    def stop(self) -> list[Call]:
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        return self.calls()


def hold_idle(open_one, end: float) -> collections.Counter:
    """Connections that say nothing until then, as many as there may be."""
    sockets = []
    try:
        while len(sockets) < connections_each():
            sockets.append(open_one())
    except OSError:
        pass
    time.sleep(max(0, end - time.monotonic()))
    for connection in sockets:
        connection.close()
    return collections.Counter(connections=len(sockets))


def connections_each() -> int:
    """What each of CLIENTS may open, so that they have MANY_CONNECTIONS.

    Fewer where this process or the daemon may not have so many files open.
    """
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, min(MANY_CONNECTIONS, files - 1000) // CLIENTS)


class OverHttp:
    """Asks a perceptron over HTTP, on one connection or on a new one each."""

    def __init__(self, address: str, model: str, keep: bool):
        message = mlp_request(model)
        data = message.raw_input_contents[0]
        text = json.dumps({
            "inputs": [{"name": "features", "datatype": "FP32",
                        "shape": list(message.inputs[0].shape),
                        "parameters": {"binary_data_size": len(data)}}],
            "parameters": {"binary_data_output": True}}).encode()
        self._body = text + data
        self._headers = {"Inference-Header-Content-Length": str(len(text))}
        self._path = f"/v2/models/{model}/infer"
        self._connection = http.client.HTTPConnection(address,
                                                      timeout=TIMEOUT_S)
        self._keep = keep

    def call(self) -> Call:
        begin = time.monotonic()
        try:
            answer = self._ask()
        except ConnectionError:
            # A server may close a connection that lies idle.
            self._connection.close()
            answer = self._ask()
        except TimeoutError:
            self._connection.close()
            return Call(begin, time.monotonic(),
                        grpc.StatusCode.DEADLINE_EXCEEDED, b"",
                        f"silent for {TIMEOUT_S} s")
        end = time.monotonic()
        if not self._keep:
            self._connection.close()
        if answer.status == 200:
            size = int(answer.headers["Inference-Header-Content-Length"])
            return Call(begin, end, grpc.StatusCode.OK, self.body[size:])
        return Call(begin, end, grpc.StatusCode.UNAVAILABLE, b"",
                    f"{answer.status} {self.body.decode()}")

    def _ask(self) -> http.client.HTTPResponse:
        self._connection.request("POST", self._path, self._body, self._headers)
        answer = self._connection.getresponse()
        self.body = answer.read()
        return answer


class OverGrpc:
    """Asks a perceptron over gRPC, on one connection."""

    def __init__(self, address: str, model: str):
        self._stub = v2_grpc.GRPCInferenceServiceStub(channel_to(address))
        self._message = mlp_request(model)

    def call(self) -> Call:
        return call(self._stub, self._message)


class Neighbour:
    """Asks a perceptron now and then, from a process of its own.

    So what else this process does is not in its figures. `ways` are those of
    WAYS by which it asks, in turns.
    """

    def __init__(self, daemon: Daemon, model: str, ways: tuple = ("grpc",),
                 pause_s: float = NEIGHBOUR_PAUSE_S):
        self._process = subprocess.Popen(
            [sys.executable, __file__, daemon.address, daemon.http_address,
             model, ",".join(ways), str(pause_s)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._process.stdout.readline()  # It has had its first answers.

    def stop(self) -> list[Call]:
        return [call for calls in self.stop_ways().values() for call in calls]

    def stop_ways(self) -> dict[str, list[Call]]:
        out, _ = self._process.communicate()
        expect(self._process.returncode == 0, "a neighbour that ends well")
        return {way: [Call(begin, end, grpc.StatusCode[code], answer, message)
                      for begin, end, code, answer, message in calls]
                for way, calls in pickle.loads(out).items()}


WAYS = {
    "grpc": lambda grpc_at, http_at, model: OverGrpc(grpc_at, model),
    "http": lambda grpc_at, http_at, model: OverHttp(http_at, model, True),
    # A connection for each request.
    "new": lambda grpc_at, http_at, model: OverHttp(http_at, model, False),
}


def be_a_neighbour(grpc_address: str, http_address: str, model: str, ways: str,
                   pause_s: str) -> None:
    # Where it may. Others' clients have processors of their own.
    with contextlib.suppress(PermissionError):
        os.nice(NEIGHBOUR_NICENESS)
    ended = threading.Event()
    threading.Thread(
        target=lambda: (sys.stdin.read(), ended.set())).start()
    clients = {way: WAYS[way](grpc_address, http_address, model)
               for way in ways.split(",")}
    calls = {way: [] for way in clients}
    asked = False
    while not ended.is_set():
        for way, client in clients.items():
            calls[way].append(client.call())
            ended.wait(float(pause_s))
        if not asked:
            asked = True
            print("asked", flush=True)
    sys.stdout.buffer.write(pickle.dumps({
        way: [(c.begin, c.end, c.code.name, c.answer, c.message) for c in own]
        for way, own in calls.items()}))


def quantile_ms(calls: list[Call], q: float) -> float:
    """A quantile of the latencies, in milliseconds."""
    return float(np.quantile([c.end - c.begin for c in calls], q)) * 1e3


def figures(calls: list[Call]) -> str:
    if not calls:
        return "no requests"
    return (f"{len(calls)} requests, p50 {quantile_ms(calls, .5):.2f} ms, "
            f"p99 {quantile_ms(calls, .99):.2f} ms, "
            f"max {quantile_ms(calls, 1):.2f} ms")


def check_answers(calls: list[Call], answers: set[bytes],
                  refusals: tuple = ()) -> None:
    """Every call has one of `answers` or was refused with one of `refusals`."""
    for one in calls:
        if one.code == grpc.StatusCode.OK:
            expect(one.answer in answers, "a right answer, got another")
        else:
            expect(one.code in refusals,
                   f"an answer, got {one.code}: {one.message}")


if __name__ == "__main__":
    be_a_neighbour(*sys.argv[1:])
