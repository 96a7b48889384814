#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Says what odd shapes lose beside the round ones next to them.

For each pair the engine runs both by turns; efficiency is operations, or bytes
where memory bounds both, in a second of the best turn's median, since others on
the machine make turns slower and never faster. Ends with 1 if one has less than
85 % of its neighbour's.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import onnx

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))
import figures
import machine
import shapes

QUERN = machine.ROOT / "build/bin/quern"


def seconds(model: pathlib.Path, runs: int, cache: pathlib.Path) -> float:
    """The median time of a run."""
    out = subprocess.run(
        [QUERN, "bench", model, "--inputs", "random", "--runs", str(runs),
         "--json", "--cache-dir", cache], check=True, stdout=subprocess.PIPE)
    return json.loads(out.stdout)["engine_ms"]["median"] * 1e-3


def measure(pair: shapes.Pair, options, work: pathlib.Path) -> dict:
    files = []
    for operation in (pair.odd, pair.round):
        files.append(work / f"{operation.name}.onnx")
        if not files[-1].exists():
            onnx.save(operation.model(), files[-1])
    times = [[seconds(file, options.runs, work / "cache") for file in files]
             for _ in range(options.rounds)]
    odd, near = (min(side) for side in zip(*times, strict=True))
    return {"odd": pair.odd.name, "round": pair.round.name,
            "bound": pair.bound, "share": pair.share(odd, near),
            "shares": [pair.share(*turn) for turn in times],
            "odd_ms": odd * 1e3, "round_ms": near * 1e3}


def row(found: dict) -> list[str]:
    number = figures.number
    return [found["odd"], found["round"], number(found["odd_ms"]),
            number(found["round_ms"]), f"{found['share']:.2f}",
            f"{min(found['shares']):.2f} to {max(found['shares']):.2f}",
            "PASS" if found["share"] >= shapes.LEAST_SHARE else "BELOW"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--out", type=pathlib.Path,
                        help="folder of the results; by default "
                        "tests/bench/results/odd/CPU")
    options = parser.parse_args()
    about = machine.describe()
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for pair in shapes.pairs():
            results.append(measure(pair, options, pathlib.Path(folder)))
            print(" | ".join(row(results[-1])), flush=True)
    text = figures.table(
        ["odd shape", "round shape", "odd ms", "round ms", "share", "spread",
         ""], [row(found) for found in results])
    out = options.out or machine.ROOT / "tests/bench/results/odd" / about["id"]
    out.mkdir(parents=True, exist_ok=True)
    (out / "results.json").write_text(json.dumps(
        {"machine": about, "command": machine.command("odd", sys.argv[1:]),
         "pairs": results}, indent=1) + "\n")
    (out / "results.md").write_text(
        f"# Odd shapes beside round ones\n\n{about['cpu']}, {about['cores']} "
        "cores. Efficiency of the odd shape as a part of the round one's.\n\n"
        f"{text}\n")
    below = [found["odd"] for found in results
             if found["share"] < shapes.LEAST_SHARE]
    print(f"odd: {len(results) - len(below)} of {len(results)} pass" +
          "".join(f"\nBELOW {name}" for name in below))
    return 1 if below else 0


if __name__ == "__main__":
    sys.exit(main())
