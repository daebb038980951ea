"""A small training problem and runs of eigenscale-train on it, for the tests of this folder."""

import json
import os
import random
import signal
import subprocess
import time

import program

CLASSES, SIDE = 3, 8


def textures(count, seed):
    """Noisy 1 x 8 x 8 images of lines, columns and a chess board, and their labels."""
    draw = random.Random(seed)
    values, labels = [], []
    for i in range(count):
        label = i % CLASSES
        labels.append(label)
        for row in range(SIDE):
            for column in range(SIDE):
                bright = (row, column, row + column)[label] % 2 == 0
                values.append(draw.gauss(1.0 if bright else 0.0, 0.5))
    return values, labels


class TrainingTest(program.ProgramTest):
    """Writes training and validation data; `options` are those of a run on them."""

    def setUp(self):
        super().setUp()
        self.write_data("train", 240, 1)
        self.write_data("test", 60, 2)

    def write_data(self, name, count, seed):
        values, labels = textures(count, seed)
        program.write_npy(self.path(name + ".npy"), (count, 1, SIDE, SIDE), values)
        program.write_npy(self.path(name + "-labels.npy"), (count,), labels, "q")

    def options(self, *more, output="run"):
        return ["--data", self.path("train.npy"), "--labels", self.path("train-labels.npy"),
                "--validation-data", self.path("test.npy"),
                "--validation-labels", self.path("test-labels.npy"),
                "--network", "cnn:6,8", "--batch-size", 32, "--epochs", 4, "--learning-rate", 0.05,
                "--log-every", 1, "--progress", "never", "--output", self.path(output), *more]

    def train(self, *more, output="run", ranks=None, code=0, **keywords):
        """Runs to the end; options given twice count once, the last time."""
        ranks = ranks or program.enough_ranks(code)
        run = program.run("eigenscale-train", *last_of_each(self.options(*more, output=output)),
                          ranks=ranks, launcher=ranks > 1, **keywords)
        if code is not None:
            self.assertEqual(run.code, code, run.errors)
        return run

    def start(self, *more, output="run", ranks=2):
        """Starts a run that goes on in the background."""
        options = map(str, last_of_each(self.options(*more, output=output)))
        with open(self.path("log"), "a") as log:
            job = subprocess.Popen(
                [program.MPIEXEC, "--oversubscribe", "--bind-to", "none", "-np", str(ranks),
                 os.path.join(program.APPS, "eigenscale-train"), *options],
                stdout=log, stderr=log, start_new_session=True)
        self.addCleanup(end, job)
        return job

    def log(self):
        with open(self.path("log")) as file:
            return file.read()

    def model(self, output="run"):
        with open(self.path(output + "/model.safetensors"), "rb") as file:
            return file.read()

    def summary(self, output="run"):
        with open(self.path(output + "/summary.json")) as file:
            return json.load(file)

    def metrics(self, output="run"):
        with open(self.path(output + "/metrics.jsonl")) as file:
            return [json.loads(line) for line in file]

    def checkpoints(self, output="run"):
        folder = self.path(output + "/checkpoints")
        names = os.listdir(folder) if os.path.isdir(folder) else []
        return sorted(name for name in names if name.startswith("step-"))

    def wait_for(self, condition, seconds=60, pause=0.02):
        limit = time.monotonic() + seconds
        while not condition():
            self.assertLess(time.monotonic(), limit, "waited in vain")
            time.sleep(pause)


def last_of_each(options):
    """Command lines may say an option once."""
    result, order, i = {}, [], 0
    while i < len(options):
        name = options[i]
        has_value = i + 1 < len(options) and not str(options[i + 1]).startswith("--")
        if name not in result:
            order.append(name)
        result[name] = [options[i + 1]] if has_value else []
        i += 2 if has_value else 1
    return [word for name in order for word in [name, *result[name]]]


def end(job):
    """Leaves nothing of a job behind."""
    if job.poll() is None:
        os.killpg(job.pid, signal.SIGKILL)
    job.wait()
