#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares quernd with ONNX Runtime behind a minimal gRPC server in Python.

The overhead of a request is its time at the client less the engine's time, for
a model of one kernel on tensors of 4 KB. Throughput is answers in a second from
a number of clients, each of which waits for its answer. The servers take turns;
the one that waits is stopped.
"""

import argparse
import dataclasses
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

import numpy
import onnx
from grpc_tools import protoc

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))
import figures
import machine
import turns

PROGRAMS = machine.ROOT / "build/bin"
CLIENTS = (1, 4, 16)
# The models whose throughput is measured: name, input, shape.
SMALL = (("mlp", "features", (1, 64)), ("demo_cnn", "image", (1, 3, 64, 64)))
ONE_KERNEL = ("one_kernel", "x", (1, 1024))
TITLES = {"quern": "quernd", "onnxruntime": "ONNX Runtime, Python"}


@dataclasses.dataclass
class Case:
    """One row of the results: what is sent how, and by how many clients."""
    model: tuple[str, str, tuple[int, ...]]
    transport: str
    clients: int

    def name(self) -> str:
        return f"{self.model[0]}, {self.transport}, {self.clients}"


class Server:
    """A daemon that is stopped unless it has its turn."""

    def __init__(self, command: list):
        self._process = subprocess.Popen([str(word) for word in command],
                                         stdout=subprocess.PIPE, text=True)
        line = self._process.stdout.readline()
        words = [word.partition("=") for word in line.split()]
        self.addresses = {name: value for name, _, value in words if value}
        if "grpc" not in self.addresses:
            self._process.kill()
            raise SystemExit(f"bench serving: {command[0]} is not ready")
        turns.pause(self._process)

    def __enter__(self):
        turns.resume(self._process)
        return self

    def __exit__(self, *_):
        turns.pause(self._process)

    def close(self) -> None:
        turns.resume(self._process)
        self._process.terminate()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev bench serving",
                                     description=__doc__)
    parser.add_argument("--threads", type=int, default=2,
                        help="of the engines")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.5,
                        help="length of a turn")
    parser.add_argument("--out", type=pathlib.Path,
                        help="folder of the results; by default "
                        "tests/bench/results/serving/CPU")
    return parser.parse_args()


def write_one_kernel(path: pathlib.Path) -> None:
    """y = relu(x + b) of 1024 floats: one kernel, tensors of 4 KB."""
    name, input_name, shape = ONE_KERNEL
    kind = onnx.TensorProto.FLOAT
    bias = onnx.numpy_helper.from_array(
        numpy.linspace(-1, 1, shape[1], dtype="f4"), "b")
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Add", [input_name, "b"], ["sum"]),
         onnx.helper.make_node("Relu", ["sum"], ["y"])], name,
        [onnx.helper.make_tensor_value_info(input_name, kind, shape)],
        [onnx.helper.make_tensor_value_info("y", kind, shape)], [bias])
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())


def write_repository(folder: pathlib.Path) -> None:
    for name, _, _ in (ONE_KERNEL, *SMALL):
        path = folder / name / "1/model.onnx"
        path.parent.mkdir(parents=True)
        if name == ONE_KERNEL[0]:
            write_one_kernel(path)
        else:
            subprocess.run([PROGRAMS / "quern-make-model", name, path],
                           check=True)


def write_stubs(folder: pathlib.Path) -> None:
    """What protoc makes of the protocol for the server in Python."""
    folder.mkdir()
    status = protoc.main(
        ["protoc", f"-I{machine.ROOT}", f"--python_out={folder}",
         f"--grpc_python_out={folder}",
         *(str(machine.ROOT / "proto/inference" / name)
           for name in ("grpc_service.proto", "model_config.proto"))])
    if status != 0:
        raise SystemExit("bench serving: protoc failed")


def write_data(folder: pathlib.Path) -> None:
    folder.mkdir()
    random = numpy.random.default_rng(1)
    for name, _, shape in (ONE_KERNEL, *SMALL):
        random.uniform(-1, 1, shape).astype("f4").tofile(folder / name)


def start_servers(work: pathlib.Path, threads: int) -> dict[str, Server]:
    server = pathlib.Path(__file__).with_name("onnxruntime_server.py")
    return {
        "quern": Server([
            PROGRAMS / "quernd", "--model-repository", work / "models",
            "--cache-dir", work / "cache", "--threads", threads,
            "--grpc-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0",
            "--metrics-address", "127.0.0.1:0", "--log-level", "warning"]),
        "onnxruntime": Server([sys.executable, server, work / "stubs",
                               work / "models", threads])}


def ask(server: Server, case: Case, seconds: float, work: pathlib.Path,
        save: pathlib.Path | None = None) -> dict:
    """What serving-client says about one turn of a server."""
    name, input_name, shape = case.model
    command = [PROGRAMS / "serving-client", "--transport", case.transport,
               "--address", server.addresses[case.transport], "--model", name,
               "--input", input_name, "--shape", ",".join(map(str, shape)),
               "--data", work / "data" / name, "--clients", str(case.clients),
               "--seconds", str(seconds)]
    if save:
        command += ["--save", save]
    with server:
        answer = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    return json.loads(answer.stdout)


def by_turns(servers: dict[str, Server], case: Case, options,
             work: pathlib.Path) -> dict[str, list[dict]]:
    """What the client says, by server and round."""
    print(f"serving {case.name()}", file=sys.stderr)
    able = {name: server for name, server in servers.items()
            if case.transport in server.addresses}
    said = {name: [] for name in able}
    for _ in range(options.rounds):
        for name, server in able.items():
            said[name].append(ask(server, case, options.seconds, work))
    return said


def overhead(said: dict[str, list[dict]]) -> dict:
    """Microseconds of requests without the engine's, by server."""
    rest = {name: [[total - engine for total, engine in
                    zip(turn["total_ns"], turn["engine_ns"], strict=True)]
                   for turn in turns] for name, turns in said.items()}
    return {"us": {name: {**figures.summary(rounds, 1e-3),
                          "p50_by_round": [statistics.median(r) * 1e-3
                                           for r in rounds]}
                   for name, rounds in rest.items()},
            "request_us": {
                name: figures.summary([t["total_ns"] for t in turns], 1e-3)
                for name, turns in said.items()},
            "ratios": {name: figures.ratios(rest[name], rest["quern"])
                       for name in rest if name != "quern"}}


def throughput(said: dict[str, list[dict]]) -> dict:
    """Answers in a second, by server."""
    rates = {name: [[turn["answers"] / turn["seconds"]] for turn in turns]
             for name, turns in said.items()}
    return {"per_second": {name: figures.summary(rounds, 1)
                           for name, rounds in rates.items()},
            "request_us": {
                name: figures.summary([t["total_ns"] for t in turns], 1e-3)
                for name, turns in said.items()},
            "ratio": figures.ratios(rates["quern"], rates["onnxruntime"])}


def same_answers(servers: dict[str, Server], work: pathlib.Path) -> bool:
    """Whether the servers, over each transport, give the same results."""
    for model in (ONE_KERNEL, *SMALL):
        results = []
        for name, server in servers.items():
            for transport in ("grpc", "http"):
                if transport in server.addresses:
                    save = work / f"{name}-{transport}"
                    ask(server, Case(model, transport, 1), 0.01, work, save)
                    results.append(numpy.fromfile(save, "f4"))
        if not all(value.size and value.shape == results[0].shape
                   and numpy.allclose(value, results[0], 1e-3, 1e-5)
                   for value in results):
            return False
    return True


def measure(options, work: pathlib.Path) -> dict:
    write_repository(work / "models")
    write_stubs(work / "stubs")
    write_data(work / "data")
    servers = start_servers(work, options.threads)
    try:
        return {
            "agree": same_answers(servers, work),
            "overhead": [
                {"transport": transport, **overhead(by_turns(
                    servers, Case(ONE_KERNEL, transport, 1), options, work))}
                for transport in ("grpc", "http")],
            "throughput": [
                {"model": model[0], "clients": clients, **throughput(by_turns(
                    servers, Case(model, "grpc", clients), options, work))}
                for model in SMALL for clients in CLIENTS]}
    finally:
        for server in servers.values():
            server.close()


def overhead_rows(results: dict) -> list[list[str]]:
    number = figures.number
    return [[f"{TITLES[name]}, {row['transport']}", number(us["median"]),
             f"{number(min(us['p50_by_round']))} to "
             f"{number(max(us['p50_by_round']))}", number(us["p99"]),
             number(row["request_us"][name]["median"])]
            for row in results["overhead"] for name, us in row["us"].items()]


def throughput_rows(results: dict) -> list[list[str]]:
    return [[row["model"], str(row["clients"]),
             *(figures.number(row["per_second"][name]["median"])
               for name in TITLES),
             figures.spread(row["ratio"])] for row in results["throughput"]]


def markdown(results: dict) -> str:
    about = results["machine"]
    return (
        f"# Serving\n\n`{results['command']}` at {about['commit']}, "
        f"{results['rounds']} rounds, {results['threads']} threads.\n"
        f"{about['cpu']}, {about['cores']} cores; loopback. The answers "
        f"{'agree' if results['agree'] else 'DISAGREE'}.\n\n"
        f"## Overhead\n\nMicroseconds of a request that are not the engine's: "
        f"one kernel, tensors of 4 KB,\none client.\n\n"
        + figures.table(["server", "p50", "p50 by round", "p99",
                         "p50 of the request"], overhead_rows(results))
        + "\n## Throughput\n\nAnswers in a second over gRPC, and the ratio "
        "round by round: median (least to\ngreatest); above 1 quernd is "
        "faster.\n\n"
        + figures.table(["model", "clients", *TITLES.values(), "ratio"],
                        throughput_rows(results)))


def main() -> int:
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="quern-bench-") as work:
        measured = measure(options, pathlib.Path(work))
    results = {"command": machine.command("serving", sys.argv[1:]),
               "machine": machine.describe(), "rounds": options.rounds,
               "threads": options.threads, **measured}
    folder = options.out or (machine.ROOT / "tests/bench/results/serving"
                             / results["machine"]["id"])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (folder / "results.md").write_text(markdown(results))
    print(markdown(results))
    print(f"written to {folder}", file=sys.stderr)
    return 0 if results["agree"] else 1


if __name__ == "__main__":
    sys.exit(main())
