#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares the engine with ONNX Runtime and OpenVINO.

Each engine runs in a process of its own; they take turns on the same inputs,
with the same number of threads, while the others are stopped. A loop of fixed
work takes turns with them and tells how noisy the machine was.
"""

import argparse
import json
import pathlib
import shlex
import sys
import tempfile

import numpy

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))
import figures
import machine
import models
import report
import turns

PROGRAMS = machine.ROOT / "build/bin"
# Of a result: this share of itself, and this share of the greatest.
RELATIVE, OF_GREATEST = 1e-3, 1e-4


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev bench peers",
                                     description=__doc__)
    parser.add_argument("models", nargs="*", metavar="MODEL",
                        help="a name, an ONNX file or a folder with model.onnx;"
                        " all known names by default")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.3,
                        help="length of a turn, about")
    parser.add_argument("--collection", type=pathlib.Path,
                        default=machine.ROOT.parent / "shared",
                        help="a folder with tools/make_models.py")
    parser.add_argument("--out", type=pathlib.Path,
                        help="folder of the results; by default "
                        "tests/bench/results/peers/CPU, or build/bench/peers if"
                        " models are named")
    return parser.parse_args()


def commands(model: models.Model, threads: int) -> dict[str, list]:
    python = pathlib.Path(__file__).with_name("python_runner.py")
    return {"quern": [PROGRAMS / "peers-runner", "--model", model.path,
                      "--inputs", model.inputs, "--threads", threads],
            **{peer: [sys.executable, python, peer, model.path, model.inputs,
                      threads] for peer in ("onnxruntime", "openvino")}}


def outputs(runner: turns.Runner, model: models.Model, folder: pathlib.Path
            ) -> list[numpy.ndarray]:
    folder.mkdir(parents=True)
    dims = runner.ask(f"save {folder}")["dims"]
    return [numpy.fromfile(folder / f"{i}.bin", dtype).reshape(shape)
            for i, (dtype, shape) in enumerate(zip(model.output_dtypes, dims,
                                                   strict=True))]


def distance(value: numpy.ndarray, expected: numpy.ndarray) -> float:
    """The worst difference, as a share of what is allowed; 1 or less is good.
    """
    if value.shape != expected.shape:
        return float("inf")
    if value.size == 0:
        return 0.0
    value, expected = value.astype("f8"), expected.astype("f8")
    greatest = numpy.abs(expected).max()
    allowed = RELATIVE * numpy.abs(expected) + OF_GREATEST * greatest + 1e-30
    worst = (numpy.abs(value - expected) / allowed).max()
    # A NaN that both have is no agreement either.
    return float("inf") if numpy.isnan(worst) else float(worst)


def agreement(results: dict[str, list[numpy.ndarray]]) -> dict:
    """How far each engine is from the first peer that ran."""
    reference = next((name for name in ("onnxruntime", "openvino")
                      if name in results), None)
    compared = {name: max(map(distance, values, results[reference]))
                for name, values in results.items()
                if reference and name != reference}
    good = all(worst <= 1 for worst in compared.values())
    verdict = ("not compared" if not compared else
               "agree" if good else "DISAGREE")
    return {"verdict": verdict, "reference": reference, "worst": compared}


def start(model: models.Model, threads: int
          ) -> tuple[dict[str, turns.Runner], dict[str, str]]:
    """The engines that can run the model, and what the others say."""
    runners, errors = {}, {}
    for name, command in commands(model, threads).items():
        try:
            runners[name] = turns.Runner(command)
        except turns.RunnerError as error:
            errors[name] = str(error)
            print(f"{model.name}: {name}: {error}", file=sys.stderr)
    return runners, errors


def measure(model: models.Model, loop: turns.Runner, options, work) -> dict:
    runners, errors = start(model, options.threads)
    try:
        times = turns.take({"calibration": loop, **runners}, options.rounds,
                           options.seconds)
        results = {name: outputs(runner, model, work / "outputs" / model.name
                                 / name) for name, runner in runners.items()}
    finally:
        for runner in runners.values():
            runner.close()
    engines = {name: {**runner.introduction,
                      **figures.summary(times[name], 1e-6)}
               for name, runner in runners.items()}
    peers = [name for name in engines if name != "quern"]
    return {"name": model.name,
            "bytes": model.path.stat().st_size,
            "engines": {**engines,
                        **{name: {"error": text}
                           for name, text in errors.items()}},
            "best_peer": min(peers, default=None,
                             key=lambda name: engines[name]["median"]),
            "ratios": {name: figures.ratios(times[name], times["quern"])
                       for name in peers if "quern" in engines},
            "calibration": figures.summary(times["calibration"], 1e-6),
            "agreement": agreement(results)}


def versions(measured: list[dict]) -> dict[str, str]:
    return {name: engine["version"] for model in measured
            for name, engine in model["engines"].items()
            if "version" in engine}


def compare(options, work: pathlib.Path) -> dict:
    collection = models.Collection(
        machine.ROOT / "build/bench/models", PROGRAMS,
        options.collection / "tools/make_models.py")
    loop = turns.Runner([PROGRAMS / "peers-runner", "--calibrate", "--threads",
                         options.threads])
    measured = []
    try:
        for name in options.models or collection.names():
            model = collection.get(name, work)
            print(f"comparing on {model.name}", file=sys.stderr)
            measured.append(measure(model, loop, options, work))
    finally:
        loop.close()
    return {"command": "./dev bench peers " + shlex.join(sys.argv[1:]),
            "machine": machine.describe(),
            "threads": options.threads,
            "rounds": options.rounds,
            "versions": versions(measured),
            "calibration": loop.introduction,
            "models": measured}


def write(results: dict, folder: pathlib.Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (folder / "results.md").write_text(report.markdown(results))
    (folder / "results.svg").write_text(report.picture(results))
    print(report.markdown(results))
    print(f"written to {folder}", file=sys.stderr)


def main() -> int:
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="quern-bench-") as work:
        results = compare(options, pathlib.Path(work))
    kept = machine.ROOT / "tests/bench/results/peers"
    write(results, options.out or (
        machine.ROOT / "build/bench/peers" if options.models
        else kept / results["machine"]["id"]))
    return int(any(model["agreement"]["verdict"] == "DISAGREE"
                   for model in results["models"]))


if __name__ == "__main__":
    sys.exit(main())
