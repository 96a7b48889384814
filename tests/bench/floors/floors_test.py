#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""When a row of the floors passes, and when a run tells nothing."""

import pathlib
import sys
import unittest

sys.path += [str(pathlib.Path(__file__).resolve().parents[1])]
import judge
import table


def engine(median: float, cv: float = 0.01, p99: float | None = None,
           rounds: tuple[float, ...] = ()) -> dict:
    return {"median": median, "cv": cv, "p99": p99 or median,
            "round_medians": list(rounds or [median])}


def model(ours: dict, peer: dict | None = None, **more) -> dict:
    """Figures of a model, with a peer that is the best one."""
    engines = {"quern": ours, **({"openvino": peer} if peer else {})}
    each = ([there / here for there, here in
             zip(peer["round_medians"], ours["round_medians"])]
            if peer and "error" not in ours else [])
    return {"name": "net", "engines": engines, "kernels": [],
            "best_peer": "openvino" if peer else None,
            "ratios": {"openvino": {"median": sorted(each)[len(each) // 2],
                                    "min": min(each), "max": max(each)}}
            if each else {},
            "calibration": {"median": 1.0, "p99": 1.0, "trimmed_cv": 0.001},
            **more}


def verdict(quantity: str, floor, *models: dict, cpu_class: str = "zen4",
            reasons: tuple[str, ...] = ()) -> str:
    row = table.Row("row", quantity, ("net",), floor)
    return judge.line(row, models, cpu_class, reasons).verdict


class Peers(unittest.TestCase):
    def test_a_ratio_passes_from_its_floor_on(self):
        for ours, expected in ((10, "PASS"), (10.2, "PASS"), (10.4, "BELOW")):
            self.assertEqual(verdict("of the best peer", 0.97,
                                     model(engine(ours), engine(10))), expected)

    def test_a_row_is_as_good_as_its_worst_model(self):
        row = table.Row("row", "of the best peer", ("a", "b"), 1.0)
        good = model(engine(5), engine(10))
        bad = {**model(engine(20), engine(10)), "name": "bad"}
        line = judge.line(row, [good, bad, good], "zen4")
        self.assertEqual((line.verdict, line.worst.name, line.worst.value),
                         ("BELOW", "bad", 0.5))
        self.assertEqual(len(line.cases), 3)

    def test_the_best_of_a_peer_is_its_fastest_round(self):
        unsteady = engine(6, rounds=(4, 6, 8))
        ours = engine(5, rounds=(5, 5, 5))
        self.assertEqual(verdict("of the best peer", 1.0,
                                 model(ours, unsteady)), "PASS")
        self.assertEqual(verdict("of the best peer's best", 1.0,
                                 model(ours, unsteady)), "BELOW")

    def test_a_cv_is_compared_with_the_best_peers(self):
        peer = engine(10, cv=0.05)
        self.assertEqual(verdict("cv", None, model(engine(10, 0.04), peer)),
                         "PASS")
        self.assertEqual(verdict("cv", None, model(engine(10, 0.06), peer)),
                         "BELOW")


def of_peak(median_ms: float) -> dict:
    """A run of 1 G operations on a machine that takes 5 ms for them."""
    return model(engine(median_ms), work={"flop": 1e9},
                 yardsticks={"flops": {"round_rates": [200.0]}})


class Shares(unittest.TestCase):
    def test_a_share_passes_from_its_floor_on(self):
        for ms, expected in ((5.0, "PASS"), (5.4, "PASS"), (5.5, "BELOW")):
            self.assertEqual(verdict("share of FMA peak", 0.92, of_peak(ms)),
                             expected)

    def test_a_floor_is_that_of_the_class_of_cpu(self):
        row = table.Row("row", "share of FMA peak", ("net",),
                        {"zen4": 0.92, "intel-amx": 0.82})
        slow = [of_peak(5.8)]
        self.assertEqual(judge.line(row, slow, "zen4").verdict, "BELOW")
        self.assertEqual(judge.line(row, slow, "intel-amx").verdict, "PASS")
        self.assertFalse(row.applies("other"))

    def test_more_than_the_machine_can_do_is_wrong_whatever_else_there_is(self):
        row = table.Row("row", "share of FMA peak", ("net",), 0.92)
        line = judge.line(row, [of_peak(9), of_peak(4.9), of_peak(5)], "zen4")
        self.assertEqual((line.verdict, line.worst.name), ("WRONG", "net"))
        self.assertGreater(line.worst.value, 1)
        self.assertEqual(judge.status([line], []), 2)

    def test_what_is_read_and_written_is_compared_with_the_same_mix(self):
        rates = {"copy": {"round_rates": [40.0]},
                 "add": {"round_rates": [20.0]}}
        row = table.Row("row", "share of streaming", ("net",), 0.85)
        for read, ms, expected in ((1e8, 10, 0.5), (2e8, 20, 0.75)):
            measured = model(engine(ms), yardsticks=rates, work={
                "read_bytes": read, "written_bytes": 1e8})
            line = judge.line(row, [measured], "zen4")
            self.assertAlmostEqual(line.worst.value, expected)


class Noise(unittest.TestCase):
    def kernel(self, us: float, cv: float, loop_cv: float) -> dict:
        measured = model(engine(10), kernels=[
            {"name": "k", "median_us": us, "trimmed_cv": cv}])
        measured["calibration"]["trimmed_cv"] = loop_cv
        return measured

    def test_a_kernel_may_vary_as_much_as_the_loop_beside_it(self):
        for cv, loop_cv, expected in (
                (0.02, 0.001, "PASS"), (0.021, 0.001, "BELOW"),
                (0.11, 0.10, "PASS"), (0.13, 0.10, "BELOW")):
            self.assertEqual(verdict("cv of kernels", 0.02,
                                     self.kernel(200, cv, loop_cv)), expected)

    def test_short_kernels_are_not_judged(self):
        self.assertEqual(verdict("cv of kernels", 0.02,
                                 self.kernel(99, 0.5, 0.001)), "SKIP")

    def test_a_tail_is_judged_beside_the_loop_and_beside_the_peer(self):
        slow, quick = engine(10, p99=12), engine(10, p99=10.5)
        noisy = {"median": 1.0, "p99": 1.2, "trimmed_cv": 0.001}
        tail, beside = "p99 over median", "p99 over median, beside the best peer"
        self.assertEqual(verdict(tail, 1.1, model(quick)), "PASS")
        self.assertEqual(verdict(tail, 1.1, model(slow)), "BELOW")
        self.assertEqual(verdict(tail, 1.1, model(slow, calibration=noisy)),
                         "PASS")
        self.assertEqual(verdict(beside, None, model(slow, quick)), "BELOW")
        self.assertEqual(verdict(beside, None, model(quick, slow)), "PASS")
        self.assertEqual(verdict(tail, 1.1, model(engine(4.9, p99=9))), "SKIP")


class Runs(unittest.TestCase):
    def test_a_probe_is_judged_by_its_median(self):
        probe = {"name": "net", "cold_ms": [1400, 9000, 1300]}
        self.assertEqual(verdict("cold load, ms", 1500, probe), "PASS")
        self.assertEqual(verdict("cold load, ms", 1350, probe), "BELOW")

    def test_a_cost_below_zero_passes(self):
        self.assertEqual(verdict("cost of statistics", 0.02,
                                 {"name": "net", "cost": [-0.01]}), "PASS")

    def test_what_is_not_measured_does_not_pass(self):
        good = model(engine(5), engine(10))
        bad = model(engine(20), engine(10))
        failed = model({"error": "no such op\nand more"}, engine(10))
        alone = model(engine(5))
        row = table.Row("row", "of the best peer", ("net",), 1.0)
        for measured, reasons, expected in (
                ([], ["no generator"], "SKIP"), ([good], ["why"], "SKIP"),
                ([good, failed], [], "SKIP"), ([good, alone], [], "SKIP"),
                ([bad, failed], [], "BELOW"), ([good], [], "PASS")):
            self.assertEqual(judge.line(row, measured, "zen4",
                                        reasons).verdict, expected)
        self.assertEqual(judge.line(row, [failed], "zen4").reason,
                         "net: no such op")

    def test_a_busy_machine_tells_nothing(self):
        self.assertEqual(judge.peak_trouble(0.96 * 2 * 117.3, 2, "zen4"), "")
        self.assertIn("busy", judge.peak_trouble(0.94 * 2 * 117.3, 2, "zen4"))
        self.assertIn("busy", judge.peak_trouble(0, 2, "intel-amx"))
        self.assertEqual(judge.peak_trouble(1, 2, "other"), "")

    def test_the_status_says_whether_floors_were_reached(self):
        row = table.ROWS[0]
        lines = {each: judge.Line(row, each, None, [])
                 for each in ("PASS", "SKIP", "BELOW", "WRONG")}
        for verdicts, trouble, expected in (
                (("PASS", "SKIP"), [], 0), (("PASS", "BELOW"), [], 1),
                (("PASS", "BELOW", "WRONG"), [], 2), (("PASS",), ["busy"], 2)):
            self.assertEqual(judge.status([lines[each] for each in verdicts],
                                          trouble), expected)

    def test_a_class_of_cpu_is_told_by_features(self):
        zen4 = {"vendor_id": "AuthenticAMD", "cpu family": "25",
                "flags": "fma avx512f"}
        self.assertEqual(judge.cpu_class(zen4), "zen4")
        self.assertEqual(judge.cpu_class({**zen4, "flags": "fma"}), "other")
        self.assertEqual(judge.cpu_class({**zen4, "cpu family": "26"}), "zen5")
        self.assertEqual(judge.cpu_class({**zen4, "cpu family": "23"}), "other")
        self.assertEqual(judge.cpu_class(
            {"vendor_id": "GenuineIntel", "cpu family": "6",
             "flags": "avx512f amx_tile"}), "intel-amx")
        self.assertEqual(judge.cpu_class({}), "other")


class Table(unittest.TestCase):
    def test_every_row_names_a_quantity_and_has_the_floor_that_it_needs(self):
        own_floors = {"cv", "p99 over median, beside the best peer"}
        for row in table.ROWS:
            self.assertIn(row.quantity, judge.QUANTITIES)
            self.assertEqual(row.floor is None, row.quantity in own_floors,
                             row)
            if isinstance(row.floor, dict):
                self.assertLessEqual(set(row.floor), set(table.KNOWN_PEAKS))

    def test_rows_are_chosen_by_name(self):
        self.assertEqual(table.chosen([]), list(table.ROWS))
        self.assertEqual({row.name for row in table.chosen(["gemm", "load"])},
                         {"gemm", "load"})
        with self.assertRaisesRegex(ValueError, "no row 'gem'; there are gemm"):
            table.chosen(["gem"])


if __name__ == "__main__":
    unittest.main()
