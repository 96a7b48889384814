#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""peers_test.py BIN: turns of the engine's runner, and the table of results."""

import array
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))
import report
import turns

BIN = pathlib.Path(sys.argv[1])
BATCH = 3


def state(pid: int) -> str:
    """One letter: T is stopped."""
    stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[0]


class Runner(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.model = self.folder / "mlp.onnx"
        subprocess.run([BIN / "quern-make-model", "mlp", self.model],
                       check=True)
        self.write_inputs("features")

    def write_inputs(self, name: str) -> None:
        (self.folder / "x").write_bytes(
            array.array("f", [0.5] * BATCH * 64).tobytes())
        (self.folder / "inputs.json").write_text(json.dumps(
            [{"name": name, "dims": [BATCH, 64], "file": "x"}]))

    def start(self, *flags: object) -> turns.Runner:
        runner = turns.Runner([BIN / "peers-runner", "--threads", 2, *flags])
        self.addCleanup(runner.close)
        return runner

    def start_model(self) -> turns.Runner:
        return self.start("--model", self.model, "--inputs", self.folder)

    def test_a_model_runs_as_often_as_asked(self):
        runner = self.start_model()
        self.assertEqual(runner.introduction["engine"], "quern")
        self.assertGreater(runner.introduction["load_ms"], 0)
        times = runner.times(1, 5)
        self.assertEqual(len(times), 5)
        self.assertGreater(min(times), 0)

    def test_results_are_written_with_their_dimensions(self):
        runner = self.start_model()
        runner.times(0, 1)
        self.assertEqual(runner.ask(f"save {self.folder}"),
                         {"dims": [[BATCH, 10]]})
        values = array.array("f", (self.folder / "0.bin").read_bytes())
        self.assertEqual(len(values), BATCH * 10)
        self.assertAlmostEqual(sum(values), BATCH, places=4)

    def test_a_runner_is_stopped_between_turns(self):
        runner = self.start_model()
        runner.times(0, 1)
        self.assertEqual(state(runner.pid), "T")

    def test_what_is_not_understood_is_an_error_and_the_runner_goes_on(self):
        runner = self.start_model()
        for line in ("run", "run 1", "run -1 2", "dance", "save"):
            with self.assertRaisesRegex(turns.RunnerError, "expected"):
                runner.ask(line)
        self.assertEqual(len(runner.times(0, 1)), 1)

    def test_a_model_that_cannot_run_says_why(self):
        self.write_inputs("another")
        with self.assertRaisesRegex(turns.RunnerError, "features"):
            self.start_model()
        self.model.write_bytes(b"no model")
        with self.assertRaises(turns.RunnerError):
            self.start_model()

    def test_a_runner_that_dies_is_an_error(self):
        with self.assertRaisesRegex(turns.RunnerError, "status 3"):
            turns.Runner(["sh", "-c", "exit 3"])

    def test_turns_are_taken_by_all_runners(self):
        loop = self.start("--calibrate")
        self.assertGreater(loop.introduction["peak_gflops_a_thread"], 0)
        self.assertGreater(loop.introduction["read_gb_per_s_a_thread"], 0)
        times = turns.take({"loop": loop, "model": self.start_model()},
                           rounds=2, seconds=0.01)
        self.assertEqual([len(rounds) for rounds in times.values()], [2, 2])
        self.assertTrue(all(len(samples) >= 3 for rounds in times.values()
                            for samples in rounds))


    def test_a_runner_tells_the_times_of_kernels_when_asked(self):
        self.assertNotIn("kernels", self.start_model().run(0, 1))
        runner = self.start("--model", self.model, "--inputs", self.folder,
                            "--kernels")
        said = runner.run(2, 5)
        self.assertGreater(len(said["kernels"]), 0)
        for kernel in said["kernels"]:
            self.assertEqual(len(kernel["ns"]), 5)
            self.assertGreater(min(kernel["ns"]), 0)

    def test_the_second_load_compiles_nothing_if_kernels_are_kept(self):
        flags = ("--model", self.model, "--inputs", self.folder, "--cache",
                 self.folder / "cache")
        first = self.start(*flags).introduction
        second = self.start(*flags).introduction
        self.assertGreater(first["compiled"], 0)
        self.assertEqual(second["compiled"], 0)
        self.assertEqual([name for name, _ in first["pass_ms"]][:2],
                         ["validate", "import"])

    def test_yardsticks_say_how_much_they_do(self):
        for kind, arrays in (("read", 1), ("copy", 2), ("add", 3)):
            runner = self.start("--yardstick", kind, "--bytes", 64 << 20)
            work = runner.introduction["work"]
            self.assertAlmostEqual(work / (arrays * 64 << 20), 1, delta=1e-3)
            self.assertGreater(min(runner.times(0, 2)), 0)
        runner = self.start("--yardstick", "flops")
        self.assertGreater(runner.introduction["work"], 1e6)
        with self.assertRaisesRegex(turns.RunnerError, "flops, read, copy"):
            self.start("--yardstick", "guess")


class Report(unittest.TestCase):
    def test_an_engine_that_cannot_is_named_with_its_reason(self):
        figures = {"median": 2.0, "p99": 3.0, "cv": 0.1}
        results = {
            "command": "./dev bench peers", "rounds": 3, "threads": 2,
            "machine": {"commit": "abc", "cpu": "a CPU", "cores": 2},
            "calibration": {"peak_gflops_a_thread": 100,
                            "read_gb_per_s_a_thread": 20},
            "versions": {"onnxruntime": "1"},
            "models": [{
                "name": "net",
                "work": {"flop": 4e9, "read_bytes": 1, "written_bytes": 1},
                "best_peer": "onnxruntime",
                "engines": {"quern": figures,
                            "onnxruntime": {**figures, "median": 5.0},
                            "openvino": {"error": "no such op\nand more"}},
                "ratios": {"onnxruntime": {"median": 2.5, "min": 2.4,
                                           "max": 2.6}},
                "calibration": figures, "agreement": {"verdict": "agree"}}]}
        text = report.markdown(results)
        self.assertIn("| net | 2.00 / 3.00 / 10.0% | 5.00 / 3.00 / 10.0% | no |"
                      " 2000 GF/s | 2.50 (2.40 to 2.60) | 10.0% / 1.50 | agree |\n", text)
        self.assertTrue(text.endswith("- net, OpenVINO: no such op\n"), text)
        self.assertIn("ONNX Runtime 2.50", report.picture(results))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
