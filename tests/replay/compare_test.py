#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""compare.py sees every kind of difference, and none where there is none."""

import contextlib
import io
import pathlib
import tempfile
import unittest

import compare

HEADER = ("level\tsubject\tkernel\tschedule\tshare_of_peak\toperations\t"
          "live_vectors\n")


class Compare(unittest.TestCase):

    def folder(self, files: dict[str, str], rows: str = "") -> pathlib.Path:
        made = tempfile.TemporaryDirectory()
        self.addCleanup(made.cleanup)
        folder = pathlib.Path(made.name)
        for name, content in files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(content)
        (folder / "kernels.tsv").write_text(HEADER + rows)
        return folder

    def outcome(self, base: pathlib.Path, head: pathlib.Path) -> tuple:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            same = compare.compare(base, head)
        return same, out.getvalue()

    def test_equal_folders_are_equal(self):
        row = "avx2\ta\tk\tserial\t0.5\t10\t3\n"
        same, out = self.outcome(self.folder({"avx2/a.txt": "x\n"}, row),
                                 self.folder({"avx2/a.txt": "x\n"}, row))
        self.assertTrue(same)
        self.assertIn("1 texts with 1 kernels, 0 differ", out)

    def test_a_text_that_differs_is_shown(self):
        same, out = self.outcome(self.folder({"avx2/a.txt": "x\n"}),
                                 self.folder({"avx2/a.txt": "y\n"}))
        self.assertFalse(same)
        self.assertIn("1 differ, 1 of avx2", out)
        self.assertIn("-x\n+y", out)

    def test_a_text_of_one_side_is_named(self):
        one = self.folder({"avx2/a.txt": "x\n"})
        two = self.folder({"avx2/a.txt": "x\n", "avx2/b.txt": "x\n"})
        same, out = self.outcome(one, two)
        self.assertFalse(same)
        self.assertIn("new: 1\n  avx2/b.txt", out)
        same, out = self.outcome(two, one)
        self.assertFalse(same)
        self.assertIn("no longer there: 1\n  avx2/b.txt", out)

    def test_estimates_that_moved_are_shown(self):
        _, out = self.outcome(
            self.folder({"avx2/a.txt": "x\n"},
                        "avx2\ta\tk\tserial\t0.5\t10\t3\n"),
            self.folder({"avx2/a.txt": "y\n"},
                        "avx2\ta\tk\ttile\t0.75\t10\t3\n"))
        self.assertIn("avx2 a k: share_of_peak 0.5 -> 0.75, [serial] -> [tile]",
                      out)


if __name__ == "__main__":
    unittest.main()
