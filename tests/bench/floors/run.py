#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures whether the engine reaches its floors: one line for each row.

Each row names a quantity, the worst of what it was measured on, its floor, the
peer that it was compared with, the least and the greatest of the rounds, and
PASS, BELOW, or SKIP with a reason. Ends with 1 if a row is BELOW, and with 2 if
the run tells nothing: the machine's FMA peak was not what is known of its kind,
outputs differ, or a kernel seemed faster than the machine (WRONG).
"""

import argparse
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve()
sys.path += [str(HERE.parents[1]), str(HERE.parents[1] / "peers")]
import compare
import figures
import judge
import machine
import models
import probes
import table
import turns

# The turns of large models have at least so many runs: with 7 rounds, 99 % of
# them are not all.
LEAST_RUNS = 15


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev bench floors",
                                     description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW",
                        help="a name in the first column of what is printed; "
                        "all by default")
    compare.add_arguments(parser, "floors", seconds=0.15)
    return parser.parse_args()


class Bench:
    """Measures what rows ask for, each thing once."""

    def __init__(self, options, work: pathlib.Path):
        self._begin = time.monotonic()
        self._options = options
        self._work = work
        self._collection = compare.collection(options.collection)
        self._loop = self._loops("--calibrate")
        self._flops = self._loops("--yardstick", "flops")
        self._models = {}  # By name: ready to run.
        self.peaks = []  # G operations in a second, before each model.
        self.models = {}  # By name: figures, or why there are none.
        self.probes = {}  # By probe and name, likewise.

    def close(self) -> None:
        self._loop.close()
        self._flops.close()

    def run(self, rows: list[table.Row]) -> None:
        wanted = {}  # The rows that a model is measured for.
        for row in rows:
            for name in self.names(row):
                wanted.setdefault(name, []).append(row)
        for name, its_rows in wanted.items():
            quantities = [judge.QUANTITIES[row.quantity] for row in its_rows]
            if any(not quantity.probe for quantity in quantities):
                self.models[name] = self._attempt(name, self._compare,
                                                  quantities)
            for probe in dict.fromkeys(q.probe for q in quantities if q.probe):
                self.probes[probe, name] = self._attempt(name, self._probe,
                                                         probe)

    def minutes(self) -> float:
        """Since it began."""
        return (time.monotonic() - self._begin) / 60

    def names(self, row: table.Row) -> list[str]:
        return self._collection.names(row.models)

    def line(self, row: table.Row, cpu_class: str) -> judge.Line:
        probe = judge.QUANTITIES[row.quantity].probe
        found = [self.probes[probe, name] if probe else self.models[name]
                 for name in self.names(row)]
        return judge.line(row, [each for each in found
                                if not isinstance(each, str)], cpu_class,
                          [each for each in found if isinstance(each, str)])

    def _loops(self, *flags: object) -> turns.Runner:
        return turns.Runner([compare.PROGRAMS / "peers-runner", *flags,
                             "--threads", self._options.threads])

    def _attempt(self, name: str, measure, what) -> dict | str:
        """The figures, or why they cannot be had."""
        if name not in self._collection.names():
            return (f"not measured: there is no generator of {name} "
                    "(--collection)")
        if name not in self._models:
            self._models[name] = self._collection.get(name, self._work)
        elapsed = time.monotonic() - self._begin
        print(f"{elapsed:5.0f} s  measuring {name}", file=sys.stderr)
        self._note_peak()
        try:
            return measure(self._models[name], what)
        except (turns.RunnerError, subprocess.SubprocessError) as error:
            return f"not measured: {name}: {error}"

    def _note_peak(self) -> None:
        best = min(self._flops.times(2, 20))
        self.peaks.append(self._flops.introduction["work"] / best)

    def _compare(self, model: models.Model,
                 quantities: list[judge.Quantity]) -> dict:
        kinds = {quantity.yardstick(model.work) for quantity in quantities
                 if quantity.yardstick}
        yardsticks = {kind: self._yardstick(kind, model.work)
                      for kind in sorted(kinds)}
        least = LEAST_RUNS if model.name in table.LARGE_MODELS else 3
        try:
            return compare.measure(
                model, {"calibration": self._loop, **yardsticks},
                self._options, self._work, least, kernels=True)
        finally:
            for runner in yardsticks.values():
                runner.close()

    def _yardstick(self, kind: str, work: dict[str, int]) -> turns.Runner:
        """On sets as large as the model's."""
        size = work["read_bytes"] if kind == "read" else work.get(
            "written_bytes", 1 << 20)
        return self._loops("--yardstick", kind, "--bytes", size)

    def _probe(self, model: models.Model, probe: str) -> dict:
        return probes.PROBES[probe](model, self._options)


def trouble(bench: Bench, threads: int, cpu_class: str) -> list[str]:
    """Why the run tells nothing."""
    busy = judge.peak_trouble(max(bench.peaks, default=0), threads, cpu_class)
    return [*([busy] if busy else []),
            *(f"{name}: the outputs differ" for name, model
              in bench.models.items() if isinstance(model, dict)
              and model["agreement"]["verdict"] == "DISAGREE")]


def cells(case: judge.Case | None) -> list[str]:
    if case is None:
        return ["-"] * 5
    spread = ("-" if case.spread is None else
              " to ".join(figures.number(abs(each)) if each >= 0 else
                          "-" + figures.number(-each)
                          for each in case.spread))
    value = figures.number(abs(case.value))
    return [case.name, value if case.value >= 0 else f"-{value}",
            figures.number(case.floor), case.peer or "-", spread]


def markdown(results: dict, lines: list[judge.Line]) -> str:
    about = results["machine"]
    reasons = [f"- {line.row.name}, {line.row.quantity}: {line.reason}\n"
               for line in lines if line.reason]
    below = [f"- {line.row.name}, {line.row.quantity}: {case.name} "
             f"{figures.number(abs(case.value))}, "
             f"floor {figures.number(case.floor)}\n"
             for line in lines for case in line.cases
             if judge.case_verdict(case, judge.QUANTITIES[line.row.quantity])
             != judge.PASS]
    return (
        f"# Floors\n\n`{results['command']}` at {about['commit']}, "
        f"{results['rounds']} rounds, {results['threads']} threads, "
        f"{results['minutes']:.0f} minutes.\n{about['cpu']}, {about['cores']} "
        f"cores, floors for {results['cpu_class']}; FMA peak "
        f"{results['peak_gflops']:.0f} GF/s, from "
        f"{min(results['peaks']):.0f} on; load at the start "
        f"{results['load_average']:.2f}.\n\n"
        + figures.table(
            ["row", "quantity", "worst", "value", "floor", "peer", "spread",
             "verdict"],
            [[line.row.name, line.row.quantity, *cells(line.worst),
              line.verdict] for line in lines])
        + "".join(f"\n**{each}**\n" for each in results["trouble"])
        + (f"\n## Not reached\n\n{''.join(below)}" if below else "")
        + (f"\n## Not measured\n\n{''.join(reasons)}" if reasons else ""))


def write(results: dict, lines: list[judge.Line], folder: pathlib.Path
          ) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (folder / "results.md").write_text(markdown(results, lines))
    print(markdown(results, lines))
    print(f"written to {folder}", file=sys.stderr)


def main() -> int:
    options = arguments()
    facts = machine.cpu_facts(pathlib.Path("/proc/cpuinfo").read_text())
    cpu_class = judge.cpu_class(facts)
    try:
        rows = [row for row in table.chosen(options.rows)
                if row.applies(cpu_class)]
    except ValueError as error:
        raise SystemExit(f"bench floors: {error}") from error
    load_average = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="quern-bench-") as work:
        bench = Bench(options, pathlib.Path(work))
        try:
            bench.run(rows)
        finally:
            bench.close()
    lines = [bench.line(row, cpu_class) for row in rows]
    results = {
        "command": machine.command("floors", sys.argv[1:]),
        "machine": machine.describe(), "cpu_class": cpu_class,
        "threads": options.threads, "rounds": options.rounds,
        "minutes": bench.minutes(),
        "load_average": load_average,
        "peak_gflops": max(bench.peaks, default=0), "peaks": bench.peaks,
        "trouble": trouble(bench, options.threads, cpu_class),
        "lines": [dataclasses.asdict(line) for line in lines],
        "models": bench.models,
        "probes": [{"probe": probe, "name": name, "figures": found}
                   for (probe, name), found in bench.probes.items()]}
    write(results, lines, options.out or (
        machine.ROOT / "build/bench/floors" if options.rows
        else machine.ROOT / "tests/bench/results/floors"
        / results["machine"]["id"]))
    return judge.status(lines, results["trouble"])


if __name__ == "__main__":
    sys.exit(main())
