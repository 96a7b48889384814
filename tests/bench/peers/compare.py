# SPDX-License-Identifier: Apache-2.0
"""Runs a model in the engine and in its peers, by turns."""

import argparse
import pathlib
import statistics
import sys
from collections.abc import Mapping

import numpy

import figures
import machine
import models
import turns

PROGRAMS = machine.ROOT / "build/bin"
# Of a result: this share of itself, and this share of the greatest.
RELATIVE, OF_GREATEST = 1e-3, 1e-4
# Of the samples of a kernel, the slowest: what interrupted it was not its own.
DROPPED = 0.05


def add_arguments(parser: argparse.ArgumentParser, bench: str,
                  seconds: float) -> None:
    """What every command that compares takes."""
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=seconds,
                        help="length of a turn, about")
    parser.add_argument("--collection", type=pathlib.Path,
                        default=machine.ROOT.parent / "shared",
                        help="a folder with tools/make_models.py")
    parser.add_argument("--out", type=pathlib.Path,
                        help="folder of the results; by default "
                        f"tests/bench/results/{bench}/CPU, or build/bench/"
                        f"{bench} if something is named")


def collection(folder: pathlib.Path) -> models.Collection:
    """The known models, others made with what lies in `folder`."""
    return models.Collection(machine.ROOT / "build/bench/models", PROGRAMS,
                             folder / "tools/make_models.py")


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


def start(model: models.Model, threads: int, kernels: bool
          ) -> tuple[dict[str, turns.Runner], dict[str, str]]:
    """The engines that can run the model, and what the others say."""
    runners, errors = {}, {}
    for name, command in commands(model, threads).items():
        if kernels and name == "quern":
            command = [*command, "--kernels"]
        try:
            runners[name] = turns.Runner(command)
        except turns.RunnerError as error:
            errors[name] = str(error)
            print(f"{model.name}: {name}: {error}", file=sys.stderr)
    return runners, errors


def kernels_of(said: list[dict]) -> list[dict]:
    """The kernels that a runner told the times of, over all rounds."""
    found = []
    for turn in zip(*(answer.get("kernels", []) for answer in said),
                    strict=True):
        us = [ns * 1e-3 for kernel in turn for ns in kernel["ns"]]
        found.append({"name": turn[0]["name"], "samples": len(us),
                      "median_us": statistics.median(us),
                      "trimmed_cv": trimmed_cv(us)})
    return found


def trimmed_cv(values: list[float]) -> float:
    return figures.cv(figures.trimmed(values, DROPPED))


def yardstick(runner: turns.Runner, rounds: list[list[int]]) -> dict:
    """The best rate of each round: G operations or GB in a second."""
    work = runner.introduction["work"]
    return {"round_rates": [work / min(samples) for samples in rounds]}


def measure(model: models.Model, beside: Mapping[str, turns.Runner], options,
            work: pathlib.Path, least: int = 3, kernels: bool = False) -> dict:
    """The engines' figures, and those of the runners beside them: the loop
    "calibration" and yardsticks."""
    runners, errors = start(model, options.threads, kernels)
    try:
        said = turns.answers({**beside, **runners}, options.rounds,
                             options.seconds, least)
        results = {name: outputs(runner, model, work / "outputs" / model.name
                                 / name) for name, runner in runners.items()}
    finally:
        for runner in runners.values():
            runner.close()
    times = {name: [turn["ns"] for turn in said[name]] for name in said}
    loop = times["calibration"]
    engines = {name: {**runner.introduction,
                      **figures.summary(times[name], 1e-6)}
               for name, runner in runners.items()}
    peers = [name for name in engines if name != "quern"]
    return {"name": model.name,
            "bytes": model.path.stat().st_size,
            "work": model.work,
            "engines": {**engines,
                        **{name: {"error": text}
                           for name, text in errors.items()}},
            "kernels": kernels_of(said.get("quern", [])),
            "best_peer": min(peers, default=None,
                             key=lambda name: engines[name]["median"]),
            "ratios": {name: figures.ratios(times[name], times["quern"])
                       for name in peers if "quern" in engines},
            "calibration": {
                **figures.summary(loop, 1e-6),
                "trimmed_cv": trimmed_cv([ns for turn in loop for ns in turn])},
            "yardsticks": {name: yardstick(beside[name], times[name])
                           for name in beside if name != "calibration"},
            "agreement": agreement(results)}


def versions(measured: list[dict]) -> dict[str, str]:
    return {name: engine["version"] for model in measured
            for name, engine in model["engines"].items()
            if "version" in engine}
