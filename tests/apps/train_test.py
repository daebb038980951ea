"""eigenscale-train as a user runs it: what it writes, stopping and going on, bad input."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import unittest

import program
import training

OPTIONS, INPUT, NUMERICAL, OUTPUT, STOPPED = 2, 3, 4, 6, 75
ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


def blocks_of_docs(language):
    """The code blocks in that language of docs/training.md."""
    with open(os.path.join(ROOT, "docs", "training.md")) as file:
        return re.findall(f"```{language}\n(.*?)```", file.read(), re.DOTALL)


class Train(training.TrainingTest):
    def test_writes_model_metrics_summary_and_report(self):
        run = self.train()
        summary = self.summary()
        self.assertEqual(summary["program"], "eigenscale-train")
        self.assertEqual(summary["ranks"], 2)
        self.assertGreater(summary["metrics"]["accuracy"], 0.9)
        # 6 x 9 + 2 x 6, 8 x 6 x 9 + 2 x 8, 8 x 3 + 3
        self.assertEqual(summary["metrics"]["parameters"], 66 + 448 + 27)
        self.assertIn("total", summary["seconds"])
        for key in ("forward", "backward", "exposed", "alone", "bound"):
            self.assertGreaterEqual(summary["communication"][key], 0)
        self.assertGreaterEqual(summary["communication"]["total"]["bytes"],
                                summary["communication"]["train"]["bytes"], "what studies draw")
        epochs = [line for line in self.metrics() if line["phase"] == "epoch"]
        self.assertEqual([line["epoch"] for line in epochs], [1, 2, 3, 4])
        self.assertAlmostEqual(max(line["validation_accuracy"] for line in epochs),
                               summary["metrics"]["accuracy"], places=12)
        steps = [line for line in self.metrics() if line["phase"] == "train"]
        self.assertEqual([line["step"] for line in steps], list(range(1, 33)))
        for key in ("loss", "error", "learning_rate", "gradient_norm", "samples_per_second",
                    "exposed_communication", "memory_bytes"):
            self.assertIn(key, steps[0])
        self.assertIn("cannot be faster", run.output + run.errors)
        with open(self.path("run/report.html")) as file:
            report = file.read()
        for text in ("Loss", "Error", "Learning rate", "Where the time went", "<svg"):
            self.assertIn(text, report)

    def test_ranks_change_rounding_only(self):
        self.train("--precision", "double", output="one", ranks=1)
        losses = [line["loss"] for line in self.metrics("one") if line["phase"] == "train"]
        for ranks in (2, 3):
            self.train("--precision", "double", output=f"np{ranks}", ranks=ranks)
            other = [line["loss"] for line in self.metrics(f"np{ranks}")
                     if line["phase"] == "train"]
            for a, b in zip(losses, other, strict=True):
                self.assertAlmostEqual(a, b, delta=1e-9 * (1 + a))

    def test_every_network_and_layer_trains(self):
        for network, more in (("mlp:20", ()), ("lenet", ()), ("cnn:6,8", ("--normalization", "zca")),
                              ("cnn:8", ("--normalization", "zca", "--groups", 2,
                                         "--gradient-rule", "taylor")),
                              ("cnn:6", ("--normalization", "pca-denoise")),
                              ("cnn:6", ("--normalization", "none", "--optimizer", "adam",
                                         "--learning-rate", 0.01)),
                              ("cnn:6", ("--precision", "bfloat16", "--crop", 1, "--flip"))):
            self.train("--network", network, "--epochs", 2, "--overwrite", *more)
            first, last = [line["training_loss"] for line in self.metrics()
                           if line["phase"] == "epoch"]
            self.assertLess(last, first, (network, more))

    def test_specification_of_the_docs(self):
        with open(self.path("net.json"), "w") as file:
            (block,) = blocks_of_docs("json")
            file.write(block.replace("28, 28", "8, 8"))
        self.train("--network", self.path("net.json"))
        self.assertGreater(self.summary()["metrics"]["accuracy"], 0.9)
        # A run's own model.json is one, too.
        shutil.copy(self.path("run/model.json"), self.path("again.json"))
        self.train("--network", self.path("again.json"), output="again")
        self.assertEqual(self.model("again"), self.model())

    def test_model_in_python_by_the_lines_of_the_docs(self):
        python = "/usr/bin/python3"
        if subprocess.run([python, "-c", "import torch"], stderr=subprocess.DEVNULL,
                          check=False).returncode != 0:
            self.skipTest("needs Debian's python3-torch")
        lines, module = blocks_of_docs("python")
        self.assertLessEqual(len(lines.splitlines()), 6)
        script = lines + module + """
import sys
sys.path.insert(0, %r)
import program
shape, x = program.read_npy("test.npy")
_, y = program.read_npy("test-labels.npy")
print((classify(torch.tensor(x).view(shape)) == torch.tensor(y)).float().mean().item())
""" % os.path.dirname(os.path.abspath(__file__))
        with open(self.path("net.json"), "w") as file:
            json.dump({"input": [1, 8, 8], "layers": [
                {"type": "convolution", "outputs": 6, "kernel": 3}, {"type": "normalization"},
                {"type": "max-pooling", "kernel": 3, "stride": 2, "padding": 1},
                {"type": "residual",
                 "body": [{"type": "convolution", "outputs": 8, "kernel": 3}, {"type": "relu"}],
                 "shortcut": [{"type": "convolution", "outputs": 8, "kernel": 1}]},
                {"type": "residual", "body": [{"type": "convolution", "outputs": 8, "kernel": 3},
                                              {"type": "normalization"}]},
                {"type": "average-pooling"}, {"type": "flatten"},
                {"type": "linear", "outputs": 9}, {"type": "normalization"}, {"type": "relu"},
                {"type": "linear", "outputs": 3}]}, file)
        for network in (self.path("net.json"), "mlp:20"):
            with self.subTest(network):
                self.train("--network", network, "--scale", 0.5, "--epochs", 2, "--overwrite")
                result = subprocess.run([python, "-c", script], cwd=self.folder,
                                        stdout=subprocess.PIPE, text=True, check=True)
                self.assertAlmostEqual(float(result.stdout),
                                       self.summary()["metrics"]["accuracy"], places=6)

    def test_trace_shows_reductions_starting_before_backward_ends(self):
        self.train("--trace", "--network", "mlp:300,300", "--first-bucket", 0.01, "--bucket", 0.1,
                   "--epochs", 1)
        with open(self.path("run/trace.json")) as file:
            events = json.load(file)["traceEvents"]
        for rank in (0, 1):
            own = [event for event in events if event["pid"] == rank]
            backward = [event for event in own if event["name"] == "backward"]
            self.assertEqual(len(backward), 8)
            inside = [message for message in own
                      if message["name"] == "gradient bucket" and message["ph"] == "b"
                      and any(b["ts"] < message["ts"] < b["ts"] + b["dur"] for b in backward)]
            self.assertGreaterEqual(len(inside), len(backward))

    def test_help_is_printed_once(self):
        run = program.run("eigenscale-train", "--help", ranks=2)
        self.assertEqual(run.code, 0)
        self.assertEqual(run.output.count("--learning-rate"), 1)


class StoppingAndGoingOn(training.TrainingTest):
    MORE = ("--network", "cnn:16,32,32", "--epochs", 40, "--checkpoint-every", 5)

    def test_signal_then_resume_is_bit_identical(self):
        self.train(*self.MORE, output="through")
        job = self.start(*self.MORE)
        self.wait_for(lambda: len(self.checkpoints()) > 1)
        job.send_signal(signal.SIGUSR1)
        self.assertEqual(job.wait(60), STOPPED, self.log())
        self.assertIn("stopped on request after step", self.log())
        self.assertFalse(os.path.exists(self.path("run/summary.json")))
        self.assertFalse(os.path.exists(self.path("run/model.safetensors")))
        self.train(*self.MORE, "--resume")
        self.assertEqual(self.model(), self.model("through"))
        # One line for each step, as if nothing had happened.
        steps = [line["step"] for line in self.metrics() if line["phase"] == "train"]
        self.assertEqual(steps, list(range(1, 321)))
        self.assertEqual(self.metrics()[-1]["validation_loss"],
                         self.metrics("through")[-1]["validation_loss"])

    def test_time_limit_then_another_number_of_ranks(self):
        more = ("--network", "cnn:16,32,32", "--epochs", 30, "--precision", "double")
        self.train(*more, output="through")
        run = self.train(*more, "--time-limit", 0.5, code=STOPPED)
        self.assertIn("--resume", run.output + run.errors)
        self.train(*more, "--resume", ranks=3)
        losses = [[line["loss"] for line in self.metrics(name) if line["phase"] == "train"]
                  for name in ("run", "through")]
        for a, b in zip(*losses, strict=True):
            self.assertAlmostEqual(a, b, delta=1e-6 * (1 + b))  # 240 steps of double rounding

    def test_resume_starts_where_there_is_nothing_and_ends_where_all_is_done(self):
        self.train("--resume")
        before = self.model()
        self.train("--resume")
        self.assertEqual(self.model(), before)
        run = self.train(code=OPTIONS, ranks=2)
        self.assertIn("finished run", run.messages[0])

    def test_unfinished_run_is_not_overwritten_in_silence(self):
        self.train("--time-limit", 1e-9, code=STOPPED)
        self.assertIn("--resume", self.train(code=OPTIONS, ranks=2).messages[0])


class BadInput(training.TrainingTest):
    def refuse(self, code, expected, *more, ranks=None):
        run = self.train(*more, code=code, ranks=ranks, timeout=60)
        self.assertEqual(len(run.messages), 1, run.errors)
        for text in expected:
            self.assertIn(text, run.messages[0])
        for name in ("summary.json", "model.safetensors", "report.html"):
            self.assertFalse(os.path.exists(self.path("run/" + name)), name)

    def test_specifications_that_are_none(self):
        layers = [{"type": "flatten"}, {"type": "linear", "outputs": 3}]
        cases = [({"input": [1, 8, 8], "layers": ["relu"]}, 'layers[0] is "relu"'),
                 ({"input": [1, 8, 8], "layers": layers + [{"type": "normalization", "kind": 3}]},
                  "layers[2] has kind 3"),
                 ({"input": [1, 8, 8], "layers": []}, "expected a vector"),
                 ({"input": [1, 8, 8], "layers": [{"type": "flatten"}]}, "no layer with weights"),
                 ({"input": [1, 8, 8], "layers": layers + [
                     {"type": "normalization", "kind": "zca", "gradient_rule": "tailor"}]},
                  'gradient_rule "tailor"'),
                 ("{", "is not JSON")]
        for network, message in cases:
            with self.subTest(message):
                with open(self.path("net.json"), "w") as file:
                    file.write(network if isinstance(network, str) else json.dumps(network))
                self.refuse(INPUT, ["net.json", message], "--network", self.path("net.json"))

    def test_labels_that_are_no_classes(self):
        for label in (120, 10**6, 2**63 - 1):
            program.write_npy(self.path("train-labels.npy"), (240,), [0, 1] * 119 + [0, label], "q")
            self.refuse(INPUT, [f"train-labels.npy' has label {label}", "more than one for every 2",
                                "Number the classes 0 to K - 1"])

    def test_labels_out_of_range(self):
        with open(self.path("net.json"), "w") as file:
            json.dump({"input": [1, 8, 8], "layers": [{"type": "flatten"},
                                                      {"type": "linear", "outputs": 2}]}, file)
        self.refuse(INPUT, ["train-labels.npy' row 2 is label 2", "2 classes apart (0 to 1)"],
                    "--network", self.path("net.json"))
        labels = [0, 1, 2] * 80
        labels[200] = -1
        program.write_npy(self.path("train-labels.npy"), (240,), labels, "q")
        self.refuse(INPUT, ["train-labels.npy' row 200 is -1"])

    def test_validation_labels_that_training_does_not_have(self):
        program.write_npy(self.path("test-labels.npy"), (60,), [0, 1, 5] * 20, "q")
        self.refuse(INPUT, ["test-labels.npy' row 2 is label 5"])

    def test_images_of_different_shapes(self):
        program.write_npy(self.path("test.npy"), (60, 1, 8, 4), training.textures(30, 1)[0])
        self.refuse(INPUT, ["test.npy' have shape 1x8x4", "have 1x8x8"])

    def test_shape_that_contradicts_the_data(self):
        self.refuse(INPUT, ["--image-shape is 3x8x8", "1x8x8"], "--image-shape", "3x8x8")

    def test_labels_of_another_length(self):
        program.write_npy(self.path("train-labels.npy"), (239,), ([0, 1, 2] * 80)[:239], "q")
        self.refuse(INPUT, ["239 labels", "240 samples"])

    def test_batch_smaller_than_the_ranks(self):
        self.refuse(OPTIONS, ["--batch-size is 2", "3 ranks"], "--batch-size", 2, ranks=3)

    def test_loss_that_turns_not_a_number(self):
        self.refuse(NUMERICAL, ["not finite in step", "--learning-rate"],
                    "--learning-rate", 1e30, "--normalization", "none")
        self.assertEqual(self.checkpoints(), [])

    def test_loss_that_turns_later_keeps_the_last_good_checkpoint(self):
        self.train("--epochs", 2, "--schedule", "constant", "--normalization", "none")
        os.remove(self.path("run/model.safetensors"))
        os.remove(self.path("run/report.html"))
        self.refuse(NUMERICAL, ["not finite in step", "The checkpoint of step 16 is intact"],
                    "--resume", "--learning-rate", 1e30, "--schedule", "constant",
                    "--normalization", "none")
        self.assertEqual(self.checkpoints()[-1], "step-0000000016")
        self.train("--resume", "--schedule", "constant", "--normalization", "none")

    def checkpoint(self):
        self.train("--time-limit", 1e-9, code=STOPPED)
        return self.path("run/checkpoints/" + self.checkpoints()[-1])

    def test_checkpoint_of_another_network(self):
        self.checkpoint()
        self.refuse(INPUT, ["is of another run", "outputs"], "--resume", "--network", "cnn:6,9")

    def test_checkpoint_with_a_flipped_byte(self):
        path = os.path.join(self.checkpoint(), "optimizer-momentum.npy")
        with open(path, "r+b") as file:
            file.seek(500)
            byte = file.read(1)[0]
            file.seek(500)
            file.write(bytes([byte ^ 1]))
        self.refuse(INPUT, ["optimizer-momentum.npy", "damaged", "remove '"], "--resume")

    def test_checkpoint_from_a_newer_version(self):
        path = os.path.join(self.checkpoint(), "manifest.json")
        with open(path) as file:
            manifest = json.load(file)
        manifest["version"] = 99
        with open(path, "w") as file:
            json.dump(manifest, file)
        self.refuse(INPUT, ["99", "this version reads"], "--resume")

    def test_full_disk(self):
        os.mkdir(self.path("run"))
        mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", self.path("run")],
                               stderr=subprocess.DEVNULL, check=False)
        if mount.returncode != 0:
            self.skipTest("needs the right to mount a small tmpfs")
        self.addCleanup(subprocess.run, ["umount", self.path("run")], check=True)
        # About 0.9 MB of parameters and as much of moments: the first checkpoint fits, not three.
        self.refuse(OUTPUT, ["No space left on device"], "--network", "mlp:400,300",
                    "--checkpoint-every", 1, "--keep-checkpoints", 10)
        names = self.checkpoints()
        for name in names:  # what is there is whole
            with open(self.path(f"run/checkpoints/{name}/manifest.json")) as file:
                for part, expected in json.load(file)["files"].items():
                    size = os.path.getsize(self.path(f"run/checkpoints/{name}/{part}"))
                    self.assertEqual(size, expected["bytes"])
        shutil.rmtree(self.path("run/checkpoints"), ignore_errors=True)

    def test_cuda_without_a_gpu(self):
        self.refuse(OPTIONS, ["--device cuda"], "--device", "cuda")

    def test_options(self):
        self.refuse(OPTIONS, ["--network is 'resnet19'"], "--network", "resnet19")
        self.refuse(OPTIONS, ["--normalization"], "--normalization", "layer")
        self.refuse(OPTIONS, ["contradict"], "--overwrite", "--resume")
        self.refuse(OPTIONS, ["--epochs"], "--epochs", 0)
        self.refuse(OPTIONS, ["--precision"], "--precision", "half")
        self.refuse(INPUT, ["groups"], "--normalization", "zca", "--groups", 4)


if __name__ == "__main__":
    program.main()
