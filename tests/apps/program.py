"""Runs the programs under mpirun, and writes and reads .npy files, for the tests of this folder."""

import ast
import array
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

APPS = os.environ.get("EIGENSCALE_APPS", "build/release/apps")
DATA = os.environ.get("EIGENSCALE_TEST_DATA", "")
MPIEXEC = os.environ.get("EIGENSCALE_MPIEXEC", "mpirun")
CODES = {"f": "<f4", "d": "<f8", "B": "|u1", "q": "<i8"}


class Run:
    def __init__(self, process):
        self.code = process.returncode
        self.output = process.stdout
        self.errors = process.stderr
        # mpirun adds its own lines to any non-zero exit.
        self.messages = [line for line in self.errors.splitlines()
                         if line.startswith("eigenscale: ")]


def enough_ranks(code):
    """What the options alone tell (exit code 2) every rank knows, so that one rank shows it as well as
    two, in half of the time. What ranks must agree on asks for two."""
    return 1 if code == 2 else 2


def run(program, *options, ranks=2, timeout=120, environment=None, launcher=True, folder=None):
    command = [os.path.join(os.path.abspath(APPS), program), *map(str, options)]
    if launcher:
        command = [MPIEXEC, "--oversubscribe", "--bind-to", "none", "-np", str(ranks)] + command
    merged = dict(os.environ, **(environment or {}))
    if not launcher:
        # Without a daemon of Open MPI beside it, which takes a quarter of a second to start.
        merged.setdefault("OMPI_MCA_ess_singleton_isolated", "1")
    return Run(subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=timeout, env=merged, cwd=folder, check=False))


def npy_bytes(shape, values, code="f"):
    header = "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }" % (
        CODES[code], "".join(f"{n}, " for n in shape))
    header += " " * (-(len(header) + 11) % 64) + "\n"
    return (b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() +
            array.array(code, values).tobytes())


def write_npy(path, shape, values, code="f"):
    with open(path, "wb") as file:
        file.write(npy_bytes(shape, values, code))


def read_npy(path):
    """Shape and flat list of values of a little-endian C-order file."""
    with open(path, "rb") as file:
        file.seek(8)
        length = struct.unpack("<H", file.read(2))[0]
        header = ast.literal_eval(file.read(length).decode())
        code = {v: k for k, v in CODES.items()}[header["descr"]]
        return header["shape"], array.array(code, file.read()).tolist()


def subspace_points(samples, features=12, clusters=3):
    """Deterministic points of well separated two-dimensional subspaces, with labels."""
    values, labels, state = [], [], 12345
    for i in range(samples):
        label = (i * 7) % clusters
        labels.append(label)
        row = [0.01] * features
        for j in (4 * label, 4 * label + 1):
            state = (1103515245 * state + 12345) % 2147483648
            row[j] = 0.5 + state / 2147483648
        values += row
    return values, labels


def writes_onnx():
    """Whether this build can: not beside a libtorch that brings another protobuf."""
    return re.search(r"ONNX export\s*:?\s*yes", run("eigenscale-info", ranks=1).output) is not None


class ProgramTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="eigenscale-apps-")
        self.addCleanup(shutil.rmtree, self.folder, True)

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def need_data(self):
        if not os.path.isdir(DATA):
            self.skipTest("needs the real test data (EIGENSCALE_TEST_DATA)")


def main():
    result = unittest.main(exit=False).result
    if not result.wasSuccessful():
        sys.exit(1)
    if result.testsRun > 0 and len(result.skipped) == result.testsRun:
        sys.exit(77)
