"""The checker finds each kind of planted violation, and nothing in a house that is in order."""

import os
import tempfile
import unittest

import check_structure

GOOD = {
    "src/eigenscale/core/a.h": "#pragma once\n#include <string>\n",
    "src/eigenscale/comm/environment.cpp":
        '#include <mpi.h>\n#include "eigenscale/core/a.h"\n// not MPI_COMM_WORLD here\n'
        'auto world = MPI_COMM_WORLD;\nauto name = "OMPI_COMM_WORLD_SIZE";\n',
    "src/eigenscale/train/b.cpp":
        '#include "eigenscale/train/b.h"\n#include "eigenscale/core/a.h"\n'
        '// #include "eigenscale/cluster/c.h"\n/*\n#include "eigenscale/compress/d.h"\n*/\n'
        'auto text = "http://x";\n',
    "src/eigenscale/train/b.h": "// why\n#pragma once\n",
    "apps/program.cpp": '#include "eigenscale/train/b.h"\n',
    "tests/train/b_test.cpp": '#include "eigenscale/train/b.h"\n#include "support/mpi_test.h"\n',
}


class CheckStructure(unittest.TestCase):
    def violations(self, **planted):
        """What is found in the good house with some files put in or replaced."""
        with tempfile.TemporaryDirectory() as root:
            for path, text in {**GOOD, **planted.get("files", {})}.items():
                full = os.path.join(root, path)
                os.makedirs(os.path.dirname(full), exist_ok=True)
                with open(full, "w", encoding="utf-8") as file:
                    file.write(text)
            return check_structure.check(root)

    def expect_one(self, path, text, *words):
        found = self.violations(files={path: text})
        self.assertEqual(len(found), 1, found)
        for word in (path, *words):
            self.assertIn(word, found[0])

    def test_order_is_not_reported(self):
        self.assertEqual(self.violations(), [])

    def test_every_pair_of_rooms(self):
        allowed = {
            "core": "",
            "comm": "core",
            "linalg": "core comm",
            "data": "core comm",
            "report": "core comm",
            "spectral": "core comm linalg data report",
            "nn": "core comm linalg data report spectral",
            "train": "core comm linalg data report spectral nn",
            "cluster": "core comm linalg data report spectral nn train",
            "compress": "core comm linalg data report spectral nn train",
        }
        for room, below in allowed.items():
            for other in allowed:
                path = f"src/eigenscale/{room}/planted.cpp"
                found = self.violations(files={path: f'#include "eigenscale/{other}/x.h"\n'})
                expected = 0 if other == room or other in below.split() else 1
                self.assertEqual(len(found), expected, f"{room} includes {other}: {found}")

    def test_arrow_up_names_file_line_and_direction(self):
        self.expect_one("src/eigenscale/nn/x.cpp", '\n  # include <eigenscale/train/b.h>\n',
                        ":2:", "above")
        self.expect_one("src/eigenscale/data/x.cpp", '#include "eigenscale/linalg/x.h"\n', "beside")

    def test_a_path_around_the_arrows(self):
        self.expect_one("src/eigenscale/nn/x.cpp", '#include "../train/b.h"\n', "from src/")
        self.expect_one("src/eigenscale/attic/x.cpp", "", "attic")
        self.expect_one("src/eigenscale/nn/x.cpp", '#include "eigenscale/attic/x.h"\n', "attic")

    def test_core_knows_neither_mpi_nor_tensors(self):
        for header in ("mpi.h", "torch/torch.h", "ATen/ATen.h", "c10/util/Half.h"):
            self.expect_one("src/eigenscale/core/x.cpp", f"#include <{header}>\n", header)

    def test_world_is_named_once(self):
        self.expect_one("src/eigenscale/nn/x.cpp", "f(MPI_COMM_WORLD);\n", "MPI_COMM_WORLD")
        self.expect_one("apps/x.cpp", "f(MPI_COMM_WORLD);\n", "MPI_COMM_WORLD")
        self.expect_one("src/eigenscale/comm/environment.cpp",
                        "f(MPI_COMM_WORLD, MPI_COMM_WORLD);\n", "2 times")
        self.expect_one("src/eigenscale/comm/environment.cpp", "// MPI_COMM_WORLD\n", "0 times")

    def test_length(self):
        for path in ("src/eigenscale/nn/x.cpp", "apps/x.cpp", "tests/x.py"):
            self.assertEqual(self.violations(files={path: "\n" * 400}), [])
            self.expect_one(path, "\n" * 401, "401 lines")

    def test_guard(self):
        self.expect_one("src/eigenscale/nn/x.h", "// #pragma once\n", "#pragma once")


if __name__ == "__main__":
    unittest.main()
