#!/usr/bin/env python3
"""Models that eigenscale-compress exports, run by ONNX Runtime on the raw data file.

Needs a virtual environment with onnxruntime, which docs/compression.md says how to make; without it
the test is skipped.
"""

import json
import os
import random
import re
import subprocess

import program
import training

PYTHON = os.environ.get("EIGENSCALE_ONNXRUNTIME_PYTHON",
                        os.path.expanduser("~/.cache/eigenscale/onnxruntime/bin/python"))
HERE = os.path.dirname(os.path.abspath(__file__))
TORCH = "/usr/bin/python3"  # the one that Debian's packages are for
SIDE, COUNT = 12, 300

# Prints the classes of all samples for each batch size.
RUN = """
import json, sys
import numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
x = numpy.load(sys.argv[2]).astype(numpy.float32)
x = x.reshape([-1] + session.get_inputs()[0].shape[1:])
print(json.dumps([numpy.concatenate([session.run(None, {"input": x[i:i + n]})[0].argmax(1)
                                     for i in range(0, len(x), n)]).tolist() for n in (1, 7, 256)]))
"""

# The same by torch, from model.json and model.safetensors.
PEER = """
import json, sys
import numpy, torch
sys.path.insert(0, sys.argv[3])
import onnx_peer
with open(sys.argv[1] + "/model.json") as file:
    model = json.load(file)
x = torch.tensor(numpy.load(sys.argv[2])).float().reshape([-1] + model["input"]) * model["scale"]
with torch.no_grad():
    print(json.dumps(onnx_peer.load(sys.argv[1])(x).argmax(1).tolist()))
"""

# Pooling whose windows reach beyond the border, a residual block, a flatten that is not pooled.
PADDED = {"input": [1, SIDE, SIDE], "layers": [
    {"type": "convolution", "outputs": 6, "kernel": 5, "stride": 1, "padding": 1},
    {"type": "normalization"}, {"type": "relu"},
    {"type": "max-pooling", "kernel": 3, "stride": 2, "padding": 1},
    {"type": "residual", "body": [{"type": "convolution", "outputs": 8, "kernel": 3},
                                  {"type": "normalization"}],
     "shortcut": [{"type": "convolution", "outputs": 8, "kernel": 1}]},
    {"type": "relu"}, {"type": "flatten"}, {"type": "linear", "outputs": 3}]}


def python_has(python, modules):
    return os.path.exists(python) and subprocess.run(
        [python, "-c", "import " + modules], stderr=subprocess.DEVNULL, check=False).returncode == 0


class Onnx(training.TrainingTest):
    def setUp(self):
        info = program.run("eigenscale-info", ranks=1)
        if not re.search(r"ONNX export\s*:?\s*yes", info.output):
            self.skipTest("this build does not write ONNX")
        if not python_has(PYTHON, "numpy, onnxruntime"):
            self.skipTest(f"needs onnxruntime in {PYTHON} (docs/compression.md)")
        super().setUp()

    def write_data(self, name, count, seed):
        """Bytes of 0 to 255: noisy images of lines, columns and a chess board."""
        draw = random.Random(seed)
        values = bytearray()
        for i in range(COUNT):
            for row in range(SIDE):
                for column in range(SIDE):
                    bright = (row, column, row + column)[i % 3] % 2 == 0
                    values.append(max(0, min(255, int(draw.gauss(150 if bright else 90, 60)))))
        program.write_npy(self.path(name + ".npy"), (COUNT, 1, SIDE, SIDE), values, "B")
        program.write_npy(self.path(name + "-labels.npy"), (COUNT,),
                          [i % 3 for i in range(COUNT)], "q")

    def classes(self, folder):
        found = subprocess.run([PYTHON, "-c", RUN, os.path.join(folder, "model.onnx"),
                                self.path("test.npy")], stdout=subprocess.PIPE, text=True,
                               check=True, timeout=120)
        return json.loads(found.stdout)

    def check(self, folder, accuracy):
        alone, odd, all_of_them = self.classes(folder)
        self.assertEqual(alone, all_of_them)
        self.assertEqual(odd, all_of_them)
        self.assertEqual(len(alone), COUNT)
        right = sum(found == i % 3 for i, found in enumerate(alone))
        self.assertEqual(right, round(accuracy * COUNT))
        if python_has(TORCH, "numpy, torch"):
            peer = subprocess.run([TORCH, "-B", "-c", PEER, folder, self.path("test.npy"), HERE],
                                  stdout=subprocess.PIPE, text=True, check=True, timeout=120)
            self.assertEqual(json.loads(peer.stdout), alone)

    def export(self, *options):
        run = program.run("eigenscale-compress", "--model", self.path("run"), "--export", "onnx",
                          "--validation-data", self.path("test.npy"), "--validation-labels",
                          self.path("test-labels.npy"), "--output", self.path("small"), "--overwrite",
                          *options)
        self.assertEqual(run.code, 0, run.errors)
        with open(self.path("small/summary.json")) as file:
            return json.load(file)

    def test_classes_of_raw_bytes_with_the_scale_of_training_only(self):
        with open(self.path("padded.json"), "w") as file:
            json.dump(PADDED, file)
        for network in ("mlp:20", "cnn:6,8", self.path("padded.json")):
            with self.subTest(network=network):
                self.train("--network", network, "--scale", 0.00392157, "--epochs", 3,
                           "--learning-rate", 0.02, "--overwrite")
                accuracy = self.summary()["metrics"]["accuracy"]
                self.assertGreater(accuracy, 0.6)
                summary = self.export()
                # Without --scale the data are those of the training.
                self.assertEqual(summary["metrics"]["before"]["accuracy"], accuracy)
                self.assertEqual(summary["warnings"], [])
                self.check(self.path("small"), summary["metrics"]["accuracy"])

    def test_a_double_model_says_what_becomes_of_it(self):
        self.train("--scale", 0.00392157, "--epochs", 1, "--precision", "double")
        summary = self.export()
        (warning,) = summary["warnings"]
        self.assertIn("in single precision", warning)
        change = summary["metrics"]["difference"]["onnx"]
        self.assertGreater(change, 0)
        self.assertLess(change, 1e-5)
        self.check(self.path("small"), summary["metrics"]["accuracy"])


if __name__ == "__main__":
    program.main()
