"""docs/options.md is what the programs' --help says."""

import os
import sys
import unittest

import program

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
sys.path.insert(0, os.path.join(ROOT, "docs"))
import write_options  # noqa: E402


class OptionsPage(unittest.TestCase):
    @unittest.skipUnless(program.writes_onnx(), "this build has not all options")
    def test_the_page_is_what_the_programs_say(self):
        with open(os.path.join(ROOT, "docs", "options.md"), encoding="utf-8") as file:
            written = file.read()
        self.maxDiff = None
        self.assertEqual(written, write_options.page(program.APPS),
                         "run docs/write_options.py and commit docs/options.md")


if __name__ == "__main__":
    unittest.main()
