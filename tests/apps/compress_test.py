#!/usr/bin/env python3
"""eigenscale-train with penalties and eigenscale-compress as users run them."""

import json
import math
import os
import shutil
import struct
import subprocess

import program
import training


def read_json(path):
    with open(path) as file:
        return json.load(file)


def safetensors(path):
    """Header and bytes of a file."""
    with open(path, "rb") as file:
        length = struct.unpack("<Q", file.read(8))[0]
        return json.loads(file.read(length)), file.read()


class CompressTest(training.TrainingTest):
    def model(self, *options, network="cnn:6,12", ranks=2):
        """Trains a network with penalties; the folder it is in."""
        self.train("--network", network, "--learning-rate", 0.02, *options, ranks=ranks)
        return self.path("run")

    def compress(self, *options, output="small", ranks=2, code=0):
        run = program.run("eigenscale-compress", "--model", self.path("run"), "--output",
                          self.path(output), *options, ranks=ranks)
        self.assertEqual(run.code, code, run.errors)
        return run

    def need_onnx(self):
        if not program.writes_onnx():
            self.skipTest("this build does not write ONNX")

    def layers_by_epoch(self):
        with open(self.path("run/metrics.jsonl")) as file:
            lines = [json.loads(line) for line in file]
        return [line["layers"] for line in lines if line["phase"] == "epoch"]

    def measured(self):
        return ["--validation-data", self.path("test.npy"), "--validation-labels",
                self.path("test-labels.npy")]

    def test_a_sparse_network_becomes_small_and_stays_the_same(self):
        folder = self.model("--group-sparsity", 0.1, "--epochs", 6)
        layers = self.layers_by_epoch()[-1]
        live = {layer["name"]: layer["live"] for layer in layers}
        self.assertLess(sum(live.values()), 18)
        with open(os.path.join(folder, "report.html")) as file:
            self.assertIn("Live neurons", file.read())
        sizes, figures = [], []
        for ranks in (1, 2, 3):
            self.compress(*self.measured(), "--overwrite", ranks=ranks)
            summary = read_json(self.path("small/summary.json"))
            metrics = summary["metrics"]
            self.assertLess(metrics["parameters"], metrics["before"]["parameters"])
            self.assertLess(metrics["flops"], metrics["before"]["flops"])
            self.assertLessEqual(metrics["difference"]["removal"], 1e-5)
            self.assertEqual(metrics["accuracy"], metrics["before"]["accuracy"])
            # Layers may lose more than is dead: what nobody reads.
            for layer in metrics["layers"]:
                self.assertLessEqual(layer["kept"], live[layer["name"]])
            sizes.append([layer["kept"] for layer in metrics["layers"]])
            figures.append([metrics["difference"], metrics["accuracy"]])
        self.assertEqual(sizes, [sizes[0]] * 3)
        # Verified on the same samples, however many ranks there are.
        for difference, accuracy in figures[1:]:
            self.assertEqual(accuracy, figures[0][1])
            self.assertEqual(difference, figures[0][0])
        with open(self.path("small/report.html")) as file:
            self.assertIn("Before and after", file.read())

    def test_survivors_do_not_depend_on_the_number_of_ranks(self):
        found = []
        for ranks in (1, 2, 4):
            self.train("--network", "cnn:6,12", "--group-sparsity", 0.02, "--nuclear-norm", 0.05,
                       "--precision", "double", "--overwrite", ranks=ranks)
            found.append(self.layers_by_epoch())
        self.assertEqual(found[1], found[0])
        self.assertEqual(found[2], found[0])
        self.assertLess(found[0][-1][1]["live"], 12)
        self.assertLess(found[0][-1][1]["rank"], found[0][-1][1]["live"])

    def test_dead_neurons_leave_while_training(self):
        options = ["--network", "mlp:40,24", "--group-sparsity", 0.02, "--epochs", 6,
                   "--precision", "double"]
        self.train(*options)
        whole = read_json(self.path("run/summary.json"))["metrics"]
        last = self.layers_by_epoch()[-1]
        self.train(*options, "--shrink-every", 2, "--overwrite")
        shrunk = read_json(self.path("run/summary.json"))["metrics"]
        # Zeros that are not there any more: sums of fewer terms, in another order.
        self.assertAlmostEqual(shrunk["loss"], whole["loss"], delta=1e-8)
        self.assertEqual([layer["live"] for layer in self.layers_by_epoch()[-1]],
                         [layer["live"] for layer in last])
        self.assertLess(shrunk["parameters"], whole["parameters"])
        self.assertEqual(self.layers_by_epoch()[-1][0]["neurons"],
                         self.layers_by_epoch()[3][0]["live"])

        # Stopped after the first shrinking and gone on, it is the same run.
        with open(self.path("run/model.safetensors"), "rb") as file:
            expected = file.read()
        self.train(*options, "--shrink-every", 2, "--time-limit", 1e-9, output="again", code=75)
        for _ in range(30):
            run = self.train(*options, "--shrink-every", 2, "--checkpoint-every", 5, "--resume",
                             "--time-limit", 0.3, output="again", code=None)
            if run.code == 0:
                break
            self.assertEqual(run.code, 75, run.errors)
        with open(self.path("again/model.safetensors"), "rb") as file:
            self.assertEqual(file.read(), expected)

    def test_low_rank_layers_are_factorised(self):
        self.model("--nuclear-norm", 0.15, "--epochs", 6, network="mlp:48,48")
        self.compress("--energy", 0.99, *self.measured())
        metrics = read_json(self.path("small/summary.json"))["metrics"]
        self.assertTrue(any(layer["factorized"] for layer in metrics["ranks"]))
        self.assertLess(metrics["parameters"], metrics["before"]["parameters"])
        self.assertIn("factorization", metrics["difference"])

    def test_a_smaller_network_can_be_trained_on(self):
        self.model()
        self.compress("--keep-neurons", 0.5, *self.measured(), output="pruned")
        pruned = read_json(self.path("pruned/summary.json"))["metrics"]
        self.compress("--keep-neurons", 0.5, *self.measured(), "--fine-tune-epochs", 4,
                      "--data", self.path("train.npy"), "--labels", self.path("train-labels.npy"),
                      "--batch-size", 32)
        tuned = read_json(self.path("small/summary.json"))["metrics"]
        self.assertLess(tuned["loss"], pruned["loss"])
        self.assertEqual(tuned["parameters"], pruned["parameters"])
        self.compress(output="again", code=0)  # the folder it writes is a model again

    def test_samples_are_scaled_as_in_training(self):
        values, _ = training.textures(60, 2)
        program.write_npy(self.path("test.npy"), (60, 1, 8, 8), [100 * v for v in values])
        values, _ = training.textures(240, 1)
        program.write_npy(self.path("train.npy"), (240, 1, 8, 8), [100 * v for v in values])
        self.model("--scale", 0.01)
        model = read_json(self.path("run/model.json"))
        self.assertEqual((model["scale"], model["precision"]), (0.01, "float"))
        header, _ = safetensors(self.path("run/model.safetensors"))
        self.assertEqual(header["__metadata__"]["scale"], "0.01")
        self.assertEqual(json.loads(header["__metadata__"]["input"]), [1, 8, 8])
        trained = read_json(self.path("run/summary.json"))["metrics"]
        self.compress(*self.measured())
        summary = read_json(self.path("small/summary.json"))
        self.assertEqual(summary["metrics"]["before"]["accuracy"], trained["accuracy"])
        self.assertEqual(summary["warnings"], [])
        self.assertEqual(read_json(self.path("small/model.json"))["scale"], 0.01)
        run = self.compress(*self.measured(), "--scale", 0.5, output="other")
        self.assertIn("trained with --scale 0.01; this run has --scale 0.5", run.errors)
        # Training on from its own model.json without the scale is noticed, too.
        shutil.copy(self.path("run/model.json"), self.path("again.json"))
        run = self.train("--network", self.path("again.json"), "--epochs", 1, output="again")
        self.assertIn("trained with --scale 0.01; this run has --scale 1", run.errors)

    def test_fine_tuning_that_harms_is_discarded(self):
        self.model()
        self.compress("--keep-neurons", 0.5, *self.measured(), output="pruned")
        data = ["--data", self.path("train.npy"), "--labels", self.path("train-labels.npy")]
        run = self.compress("--keep-neurons", 0.5, *self.measured(), *data, "--fine-tune-epochs", 1,
                            "--learning-rate", 30, "--batch-size", 32)
        self.assertIn("fine-tuning raised the loss", run.errors)
        warnings = read_json(self.path("small/summary.json"))["warnings"]
        self.assertEqual(len(warnings), 1)
        self.assertIn("Lower --learning-rate 30", warnings[0])
        def kept():
            with open(self.path("pruned/model.safetensors"), "rb") as pruned:
                with open(self.path("small/model.safetensors"), "rb") as small:
                    self.assertEqual(pruned.read(), small.read())
        kept()
        # One step of 240 samples ends in numbers that are not finite, several in one that says so.
        for batch in (240, 32):
            run = self.compress("--keep-neurons", 0.5, *self.measured(), *data, "--overwrite",
                                "--fine-tune-epochs", 1, "--learning-rate", 1e38,
                                "--batch-size", batch)
            self.assertIn("fine-tuning ended in a loss that is not finite", run.errors)
            kept()

    def test_another_runtime_computes_the_same_from_onnx(self):
        self.need_onnx()
        python = "/usr/bin/python3"  # the one that Debian's packages are for
        peer = os.path.join(os.path.dirname(os.path.abspath(__file__)), "onnx_peer.py")
        if subprocess.run([python, "-c", "import cv2, onnx, torch"], stderr=subprocess.DEVNULL,
                          check=False).returncode != 0:
            self.skipTest("needs python3-onnx, python3-opencv and python3-torch")
        for network in ("mlp:12,9", "cnn:6,12", "resnet18", "lenet"):
            with self.subTest(network=network):
                options = ["--network", network, "--epochs", 1, "--overwrite"]
                if network == "lenet":
                    self.write_large_images()
                self.train(*options)
                self.compress("--export", "onnx", "--overwrite")
                found = subprocess.run([python, peer, self.path("small")], text=True,
                                       stdout=subprocess.PIPE, check=True).stdout
                # Single precision on both sides: sums of a few thousand terms.
                self.assertLess(float(found), 1e-4)

    def write_large_images(self):
        """LeNet needs more pixels than 8 x 8."""
        for name, count in (("train", 240), ("test", 60)):
            values, _ = training.textures(count, 1)
            wide = []
            for i in range(count):
                image = values[64 * i:64 * (i + 1)]
                for row in range(28):
                    wide += [image[8 * (row % 8) + column % 8] for column in range(28)]
            program.write_npy(self.path(name + ".npy"), (count, 1, 28, 28), wide)

    def test_wrong_options(self):
        self.model()
        cases = [(["--energy", 0], 2, "--energy is 0; expected more than 0 and at most 1"),
                 (["--energy", 1.5], 2, "--energy is 1.5"),
                 (["--energy", "nan"], 2, "--energy is nan"),
                 (["--keep-neurons", 2], 2, "--keep-neurons is 2"),
                 (["--fine-tune-epochs", 1], 2, "needs --data and --labels"),
                 (["--validation-data", self.path("test.npy")], 2, "belong together"),
                 (["--device", "cuda"], 2, "--device cuda")]
        for options, code, message in cases:
            with self.subTest(options=options):
                run = self.compress(*options, code=code)
                self.assertEqual(len(run.messages), 1, run.errors)
                self.assertIn(message, run.messages[0])
                self.assertFalse(os.path.exists(self.path("small/summary.json")))
        run = self.compress("--overwrite", output="run", code=2)
        self.assertIn("is read and lies in --output", run.messages[0])
        self.assertTrue(os.path.exists(self.path("run/model.safetensors")))

    def test_models_that_cannot_be_used(self):
        folder = self.model()
        weights, specification = (os.path.join(folder, name)
                                  for name in ("model.safetensors", "model.json"))
        with open(weights, "rb") as file:
            good = file.read()
        network = read_json(specification)
        header, data = safetensors(weights)
        start = header["layers.conv1.weight"]["data_offsets"][0]
        nan = bytearray(good)
        at = len(good) - len(data) + start
        nan[at:at + 4] = struct.pack("<f", float("nan"))
        other = json.loads(json.dumps(network))
        other["layers"][0]["outputs"] += 1
        for layer in other["layers"]:
            layer.pop("inputs", None)
        cases = [("NaN", bytes(nan), network, "'layers.conv1.weight' holds a value that is not finite"),
                 ("cut off", good[:-10], network, "model.safetensors"),
                 ("other weights", good, other, "its tensors do not fit the network"),
                 ("no network", good, [1, 2], "not a network"),
                 ("no number", good, dict(network, scale=math.inf), "model.json' is not JSON"),
                 ("no float", good, dict(network, scale=1e39), "which single precision holds"),
                 ("missing", None, network, "model.safetensors")]
        for name, content, layers, message in cases:
            with self.subTest(name):
                os.remove(weights) if os.path.exists(weights) else None
                if content is not None:
                    with open(weights, "wb") as file:
                        file.write(content)
                with open(specification, "w") as file:
                    json.dump(layers, file)
                run = self.compress(code=3)
                self.assertEqual(len(run.messages), 1, run.errors)
                self.assertIn(message, run.messages[0])
        run = program.run("eigenscale-compress", "--model", self.path("nowhere"), "--output",
                          self.path("small"))
        self.assertEqual(run.code, 3, run.errors)
        self.assertIn("nowhere", run.messages[0])

    def write_perceptron(self, code, hidden, weights):
        """Two inputs, hidden layers of 8 neurons, two outputs, all of constant (bias, weight)."""
        layers, tensors = [], {}
        sizes = [2, *[8] * hidden, 2]
        for i, (bias, weight) in enumerate(weights):
            name = f"linear{i + 1}"
            layers += [{"type": "linear", "name": name, "outputs": sizes[i + 1]}, {"type": "relu"}]
            tensors[f"layers.{name}.weight"] = ([sizes[i + 1], sizes[i]], weight)
            tensors[f"layers.{name}.bias"] = ([sizes[i + 1]], bias)
        header, data = {}, b""
        for name, (shape, value) in tensors.items():
            values = struct.pack("<" + code, value) * math.prod(shape)
            header[name] = {"dtype": {"f": "F32", "d": "F64"}[code], "shape": shape,
                            "data_offsets": [len(data), len(data) + len(values)]}
            data += values
        text = json.dumps(header).encode()
        os.makedirs(self.path("run"), exist_ok=True)
        with open(self.path("run/model.safetensors"), "wb") as file:
            file.write(struct.pack("<Q", len(text)) + text + data)
        with open(self.path("run/model.json"), "w") as file:
            json.dump({"input": [2], "layers": layers[:-1],
                       "precision": {"f": "float", "d": "double"}[code]}, file)

    def test_numbers_that_overflow_end_the_run(self):
        # Constant neurons of 1e30 become a bias of 8e60. Of a matrix of 1.7e308 every value can be
        # held, the singular value 8 times as large cannot. Weights of 1e300 are no single ones.
        zero, huge = (0.0, 0.0), (0.0, 1.7e308)
        cases = [("folded", "f", [(1e30, 0.0), (0.0, 1e30)], [],
                  "'layers.linear2.bias' of the network without these neurons"),
                 ("factorised", "d", [zero, huge, huge], ["--keep-neurons", 1, "--energy", 0.5],
                  "of the factorised network holds values that are not finite"),
                 ("answers", "d", [(0.0, 1e200), (0.0, 1e200)], [], "the answer of the model in"),
                 ("loss", "d", [(1e30, 1e-3), (0.0, 1e30)],
                  [*self.points(), "--keep-neurons", 1],
                  "the loss of the smaller network on --validation-data is not finite"),
                 ("exported", "d", [(0.0, 1e-300), (0.0, 1e300)],
                  ["--export", "onnx"], "of the network in single precision")]
        for name, code, weights, options, message in cases:
            with self.subTest(name):
                if name == "exported":
                    self.need_onnx()
                self.write_perceptron(code, len(weights) - 1, weights)
                run = self.compress(*options, output=name, code=4)
                self.assertEqual(len(run.messages), 1, run.errors)
                self.assertIn(message, run.messages[0])
                self.assertIn("Nothing was written", run.messages[0])
                left = os.listdir(self.path(name))
                for file in ("model.safetensors", "model.json", "model.onnx", "summary.json",
                             "report.html"):
                    self.assertNotIn(file, left)

    def points(self):
        """Ten points of the plane and their classes, as options."""
        program.write_npy(self.path("points.npy"), (10, 2), [float(i) for i in range(20)])
        program.write_npy(self.path("classes.npy"), (10,), [i % 2 for i in range(10)], "q")
        return ["--validation-data", self.path("points.npy"), "--validation-labels",
                self.path("classes.npy")]

    def test_whitening_cannot_be_exported(self):
        self.need_onnx()
        self.model("--normalization", "zca")
        run = self.compress("--export", "tflite", code=2)
        self.assertIn("--export is 'tflite'", run.messages[0])
        run = self.compress("--export", "onnx", code=3)
        self.assertIn("ONNX has no operator for norm1", run.messages[0])
        self.compress()

    def test_penalties_that_are_wrong_or_too_strong(self):
        cases = [(["--group-sparsity", -1], "--group-sparsity is -1"),
                 (["--sparse-mix", 2], "--sparse-mix"),
                 (["--prox-every", "often"], "--prox-every is 'often'"),
                 (["--layer-sparsity", "conv1"], "--layer-sparsity has 'conv1'"),
                 (["--layer-sparsity", "conv1=1e999"], "--layer-sparsity has 'conv1=1e999'"),
                 (["--layer-sparsity", "conv1=nan"], "--layer-sparsity has 'conv1=nan'"),
                 (["--layer-sparsity", "dense9=1"], "no layer whose neurons can be removed")]
        for options, message in cases:
            with self.subTest(options=options):
                run = self.train(*options, "--output", self.path("wrong"), code=2,
                                 ranks=2 if "dense9=1" in options else 1)  # one needs the network
                self.assertIn(message, run.messages[0])
        run = self.train("--group-sparsity", 10, "--epochs", 1)
        self.assertIn("would remove all 6 neurons of layer conv1", run.errors)
        summary = read_json(self.path("run/summary.json"))
        self.assertTrue(any("strongest one stays" in text for text in summary["warnings"]))


if __name__ == "__main__":
    program.main()
