# SPDX-License-Identifier: Apache-2.0
"""The code of README.md does what it says."""

import contextlib
import io
import pathlib
import re
import unittest

from daemon import ServedTestCase

README = pathlib.Path(__file__).parent.parent / "README.md"


class ReadmeTest(ServedTestCase):
    def test_its_blocks_run_one_after_the_other(self):
        text = README.read_text()
        blocks = list(re.finditer(r"```python\n(.*?)```", text, re.DOTALL))
        self.assertGreater(len(blocks), 5)
        names = {}
        for block in blocks:
            # Lines of errors are those of the file.
            line = text.count("\n", 0, block.start(1))
            code = compile("\n" * line + block.group(1), str(README), "exec")
            with contextlib.redirect_stdout(io.StringIO()):
                exec(code, names)

    def test_it_is_short(self):
        self.assertLessEqual(len(README.read_text().splitlines()), 150)


if __name__ == "__main__":
    unittest.main()
