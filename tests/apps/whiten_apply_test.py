"""eigenscale-whiten --apply: new rows by a finished run's transform."""

import json
import os
import random
import unittest

import program

OPTIONS, INPUT = 2, 3
FEATURES = 14


def rows(samples, seed, mean=30.0):
    """Correlated rows of falling deviation."""
    draw = random.Random(seed)
    values = []
    for _ in range(samples):
        common = draw.gauss(0, 2)
        values += [mean + common * ((j % 3) - 1) + draw.gauss(0, 0.8 ** j)
                   for j in range(FEATURES)]
    return values


class Apply(program.ProgramTest):
    def run_program(self, name, data, *options, ranks=2):
        return program.run("eigenscale-whiten", "--data", data, "--output", self.path(name),
                           *options, ranks=ranks)

    def whiten(self, name, data, *options, ranks=2):
        run = self.run_program(name, data, *options, ranks=ranks)
        self.assertEqual(run.code, 0, run.errors)
        with open(self.path(name, "summary.json")) as file:
            return json.load(file)

    def content(self, name, file):
        with open(self.path(name, file), "rb") as opened:
            return opened.read()

    def data(self, name, samples, seed, code="f", **keywords):
        path = self.path(name)
        program.write_npy(path, (samples, FEATURES), rows(samples, seed, **keywords), code)
        return path

    def test_its_own_data_come_out_to_the_bit(self):
        few = ("--components", 3, "--solver", "randomized")
        data = {code: self.data(f"{code}.npy", 203, 1, code) for code in "fd"}
        for code, method, options in (
                ("f", "zca", ()), ("d", "pca", ()), ("f", "pca", ("--components", 4)),
                ("f", "zca", ("--scale", 0.37, *few)), ("f", "pca", few), ("d", "zca", few)):
            with self.subTest(code=code, method=method, options=options):
                self.whiten("run", data[code], "--method", method, *options, "--overwrite")
                summary = self.whiten("again", data[code], "--apply", self.path("run"),
                                      "--overwrite")
                self.assertEqual(self.content("run", "whitened.npy"),
                                 self.content("again", "whitened.npy"))
                self.assertLess(summary["metrics"]["largest_mean"], 1e-3)
                # Of a zca without the covariance the rest is white on the average only.
                self.assertAlmostEqual(summary["metrics"]["mean_variance"], 1, places=2)

    def test_new_data_on_any_number_of_ranks(self):
        data = self.data("old.npy", 90, 1, "d")
        new = self.data("new.npy", 31, 2, "d", mean=33.0)
        self.whiten("run", data, ranks=2)
        _, transform = program.read_npy(self.path("run", "transform.npy"))
        _, mean = program.read_npy(self.path("run", "mean.npy"))
        _, values = program.read_npy(new)
        expected = [sum((values[i * FEATURES + a] - mean[a]) * transform[a * FEATURES + b]
                        for a in range(FEATURES)) for i in range(31) for b in range(FEATURES)]
        for ranks in (1, 2, 3, 4):
            summary = self.whiten(f"new{ranks}", new, "--apply", self.path("run"), ranks=ranks)
            shape, found = program.read_npy(self.path(f"new{ranks}", "whitened.npy"))
            self.assertEqual(shape, (31, FEATURES))
            # Sums of 14 products of at most some hundred: 2^-53 of them each.
            self.assertLess(max(abs(a - b) for a, b in zip(found, expected)), 1e-10)
            # A shift of all features by 3 shows.
            self.assertGreater(summary["metrics"]["largest_mean"], 0.5)

    def test_hdf5_and_other_types(self):
        data = self.data("old.npy", 90, 1)
        method = ("--method", "pca", "--components", 5)
        self.whiten("run", data, *method, "--format", "h5")
        self.whiten("plain", data, *method)
        self.whiten("npy", data, "--apply", self.path("run"))
        self.assertEqual(self.content("plain", "whitened.npy"), self.content("npy", "whitened.npy"))
        # The same numbers as doubles, by a transform that was made of floats.
        _, values = program.read_npy(data)
        double = self.path("double.npy")
        program.write_npy(double, (90, FEATURES), values, "d")
        self.whiten("doubles", double, "--apply", self.path("run"))
        _, found = program.read_npy(self.path("npy", "whitened.npy"))
        shape, expected = program.read_npy(self.path("doubles", "whitened.npy"))
        self.assertEqual(shape, (90, 5))
        # Products of floats: 14 * 2^-24 of what is added, some 10 for a variance of 1.
        self.assertLess(max(abs(a - b) for a, b in zip(found, expected)), 1e-4)

    def test_a_configuration_repeats(self):
        data = self.data("old.npy", 60, 1)
        self.whiten("run", data)
        self.whiten("one", data, "--apply", self.path("run"))
        run = program.run("eigenscale-whiten", "--config", self.path("one", "configuration.ini"),
                          "--output", self.path("two"))
        self.assertEqual(run.code, 0, run.errors)
        self.assertEqual(self.content("one", "whitened.npy"), self.content("two", "whitened.npy"))

    def refuse(self, code, expected, data, *options):
        run = self.run_program("refused", data, *options)
        self.assertEqual(run.code, code, run.errors)
        self.assertEqual(len(run.messages), 1, run.errors)
        for text in expected:
            self.assertIn(text, run.messages[0])
        self.assertFalse(os.path.exists(self.path("refused")))

    def test_what_does_not_fit_is_refused(self):
        data = self.data("old.npy", 60, 1)
        self.whiten("run", data)
        narrow = self.path("narrow.npy")
        program.write_npy(narrow, (20, 7), rows(10, 3))
        apply = ("--apply", self.path("run"))
        self.refuse(INPUT, ["narrow.npy", "7 numbers", "14 features"], narrow, *apply)
        self.refuse(INPUT, ["summary.json", "finished run"], data, "--apply", self.path("none"))
        for option in (("--method", "zca"), ("--components", 3), ("--solver", "auto"),
                       ("--epsilon", 1), ("--scale", 1), ("--image-shape", "2x7"), ("--check",)):
            self.refuse(OPTIONS, [option[0], "--apply"], data, *apply, *option)

        # A run that only applied has no transform of its own.
        self.whiten("applied", data, *apply)
        self.refuse(INPUT, ["applied", "transform"], data, "--apply", self.path("applied"))
        # An array that is gone, one that is not the run's, and a run that was cut off.
        os.remove(self.path("run", "transform.npy"))
        self.refuse(INPUT, ["transform"], data, *apply)
        program.write_npy(self.path("run", "mean.npy"), (3,), [1.0, 2.0, 3.0], "d")
        self.refuse(INPUT, ["mean.npy", "found shape 3", "expected 14"], data, *apply)
        with open(self.path("run", "summary.json"), "r+") as file:
            file.truncate(40)
        self.refuse(INPUT, ["summary.json"], data, *apply)
        os.remove(self.path("run", "summary.json"))
        self.refuse(INPUT, ["summary.json", "finished run"], data, *apply)

    def test_its_own_directory_is_no_output(self):
        data = self.data("old.npy", 60, 1)
        self.whiten("run", data)
        run = self.run_program("run", data, "--apply", self.path("run"), "--overwrite")
        self.assertEqual(run.code, OPTIONS, run.errors)
        self.assertTrue(os.path.exists(self.path("run", "transform.npy")))


if __name__ == "__main__":
    program.main()
