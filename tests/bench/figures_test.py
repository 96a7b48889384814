#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks' figures, tables and names of machines mean."""

import unittest
import xml.etree.ElementTree

import figures
import machine


class Figures(unittest.TestCase):
    def test_a_quantile_is_one_of_the_values(self):
        values = list(range(1, 201))
        self.assertEqual(figures.quantile(values[::-1], 0.99), 198)
        self.assertEqual(figures.quantile(values, 1), 200)
        self.assertEqual(figures.quantile([7], 0.99), 7)

    def test_a_summary_is_of_all_rounds_together(self):
        summary = figures.summary([[1000, 3000], [5000, 3000]], 1e-3)
        self.assertEqual(summary["samples"], 4)
        self.assertEqual(summary["median"], 3)
        self.assertEqual(summary["mean"], 3)
        self.assertEqual(summary["p99"], 5)
        self.assertEqual(summary["min"], 1)
        self.assertAlmostEqual(summary["cv"], 2 ** 0.5 / 3)

    def test_a_summary_tells_rounds_apart(self):
        summary = figures.summary([[1000, 3000, 9000], [5000]], 1e-3)
        self.assertEqual(summary["round_medians"], [3, 5])

    def test_what_is_trimmed_is_the_slowest_and_no_more_than_the_share(self):
        values = [9, *range(1, 40)]
        self.assertEqual(figures.trimmed(values, 0.05),
                         sorted(values)[:-2])
        self.assertEqual(figures.trimmed(values[:19], 0.05),
                         sorted(values[:19]))

    def test_ratios_are_of_medians_in_the_same_round(self):
        # A machine that is twice as slow in the second round changes nothing.
        peer = [[20, 22, 90], [40, 44, 60]]
        ours = [[10, 11, 12], [22, 22, 22]]
        ratio = figures.ratios(peer, ours)
        self.assertEqual(ratio["rounds"], [2, 2])
        self.assertEqual(figures.spread(ratio), "2.00 (2.00 to 2.00)")
        ratio = figures.ratios([[1], [3], [2]], [[1], [1], [1]])
        self.assertEqual((ratio["median"], ratio["min"], ratio["max"]),
                         (2, 1, 3))

    def test_rounds_that_one_side_lacks_are_no_ratio(self):
        with self.assertRaises(ValueError):
            figures.ratios([[1], [1]], [[1]])

    def test_numbers_have_three_digits(self):
        self.assertEqual([figures.number(value) for value in
                          (0, 0.012345, 0.5, 1, 12.345, 123.4, 12345.6)],
                         ["0", "0.0123", "0.500", "1.00", "12.3", "123",
                          "12346"])

    def test_a_table_is_markdown(self):
        self.assertEqual(figures.table(["model", "ms"], [["mlp", "1.5"]]),
                         "| model | ms |\n| --- | ---: |\n| mlp | 1.5 |\n")

    def test_bars_are_as_long_as_their_values(self):
        picture = xml.etree.ElementTree.fromstring(figures.bars(
            "a < b", [("one", [("x", 1), ("y", 4)]), ("two", [("x", 2)])]))
        space = "{http://www.w3.org/2000/svg}"
        lengths = [float(bar.get("width"))
                   for bar in picture.findall(f"{space}rect")[1:]]
        self.assertEqual(lengths, [120, 480, 240])
        self.assertIn("a < b", [text.text for text in
                                picture.findall(f"{space}text")])


class Machine(unittest.TestCase):
    def test_commands_name_no_folder_of_this_machine(self):
        self.assertEqual(machine.command("peers", []), "./dev bench peers")
        self.assertEqual(
            machine.command("peers", ["gemm", "--out=/tmp/a b", "--collection",
                                      "/home/me/nets", f"{machine.ROOT}/x"]),
            "./dev bench peers gemm '--out=.../a b' --collection .../nets x")

    def test_an_id_says_what_matters_for_vectors(self):
        facts = machine.cpu_facts(
            "vendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 17\n"
            "flags\t\t: fpu avx2 avx512f\n\nvendor_id\t: Another\n")
        self.assertEqual(machine.cpu_id(facts, 2),
                         "amd-family25-model17-avx512-2cores")
        facts["flags"] += " amx_tile"
        self.assertEqual(machine.cpu_id(facts, 8),
                         "amd-family25-model17-amx-8cores")

    def test_an_id_needs_no_vendor(self):
        self.assertRegex(machine.cpu_id({"CPU implementer": "0x41"}, 4),
                         r"^[a-z0-9_]+-4cores$")


if __name__ == "__main__":
    unittest.main()
