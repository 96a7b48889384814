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
import sys
import tempfile

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))
import compare
import machine
import models
import report
import turns

GROUPS = (*models.OPERATION_GROUPS, "models")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev bench peers",
                                     description=__doc__)
    parser.add_argument("models", nargs="*", metavar="MODEL",
                        help=f"a group ({', '.join(GROUPS)}), a name, an ONNX "
                        "file or a folder with model.onnx; all groups by "
                        "default")
    compare.add_arguments(parser, "peers", seconds=0.3)
    return parser.parse_args()


def measure(options, work: pathlib.Path) -> dict:
    collection = compare.collection(options.collection)
    loop = turns.Runner([compare.PROGRAMS / "peers-runner", "--calibrate",
                         "--threads", options.threads])
    measured = []
    try:
        for name in collection.names(options.models):
            model = collection.get(name, work)
            print(f"comparing on {model.name}", file=sys.stderr)
            measured.append(compare.measure(model, {"calibration": loop},
                                            options, work))
    finally:
        loop.close()
    return {"command": machine.command("peers", sys.argv[1:]),
            "machine": machine.describe(),
            "threads": options.threads,
            "rounds": options.rounds,
            "versions": compare.versions(measured),
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
        results = measure(options, pathlib.Path(work))
    kept = machine.ROOT / "tests/bench/results/peers"
    write(results, options.out or (
        machine.ROOT / "build/bench/peers" if options.models
        else kept / results["machine"]["id"]))
    return int(any(model["agreement"]["verdict"] == "DISAGREE"
                   for model in results["models"]))


if __name__ == "__main__":
    sys.exit(main())
