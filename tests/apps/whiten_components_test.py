"""eigenscale-whiten --solver randomized, on data whose spectrum is known exactly."""

import glob
import json
import os
import random
import unittest

import program

OPTIONS, INPUT = 2, 3
SAMPLES, FEATURES, KEPT = 300, 2000, 12


class Components(program.ProgramTest):
    def generate(self, *options):
        run = program.run("eigenscale-generate", "--kind", "spectrum", "--samples", SAMPLES,
                          "--ambient-dim", FEATURES, "--mean", 10, *options, "--output",
                          self.path("set"))
        self.assertEqual(run.code, 0, run.errors)
        _, variances = program.read_npy(self.path("set", "variances.npy"))
        _, directions = program.read_npy(self.path("set", "directions.npy"))
        return variances, directions

    def whiten(self, name, *options, ranks=2):
        run = program.run("eigenscale-whiten", "--data", self.path("set", "data.npy"), "--output",
                          self.path(name), "--method", "pca", "--components", KEPT, "--solver",
                          "randomized", *options, ranks=ranks)
        self.assertEqual(run.code, 0, run.errors)
        with open(self.path(name, "summary.json")) as file:
            summary = json.load(file)
        _, found = program.read_npy(self.path(name, "eigenvalues.npy"))
        return summary, found

    def test_any_number_of_ranks_finds_the_spectrum(self):
        variances, directions = self.generate("--law", "power", "--decay", 1.5)
        reference = None
        for ranks in (1, 2, 3, 4):
            summary, found = self.whiten(f"run{ranks}", "--check", ranks=ranks)
            for mine, exact in zip(found, variances):
                self.assertLess(abs(mine - exact), 1e-4 * exact)
            # Products round differently: sums of hundreds of floats, 2^-24 each.
            reference = reference or found
            for mine, other in zip(found, reference):
                self.assertLess(abs(mine - other), 1e-6 * reference[0])
            self.assertLess(summary["metrics"]["covariance_error"], 1e-3)
            self.assertLess(summary["metrics"]["residual"], 1e-2)
            # The first direction is the true one: its variance is 2.8 times the next one's.
            _, transform = program.read_npy(self.path(f"run{ranks}", "transform.npy"))
            first = transform[::KEPT]
            length = sum(x * x for x in first) ** 0.5
            cosine = sum(x * y for x, y in zip(first, directions)) / length
            self.assertAlmostEqual(abs(cosine), 1, places=5)

    def test_repeated_runs_are_bit_identical(self):
        self.generate("--law", "geometric", "--decay", 1, "--rank", 30)
        self.whiten("one", ranks=3)
        self.whiten("two", ranks=3)
        for name in ("whitened.npy", "transform.npy", "eigenvalues.npy"):
            with open(self.path("one", name), "rb") as one, open(self.path("two", name), "rb") as two:
                self.assertEqual(one.read(), two.read())

    def test_passes_and_precision(self):
        variances, _ = self.generate("--law", "power", "--decay", 1)
        errors = []
        for passes in (2, 8):
            summary, found = self.whiten(f"passes{passes}", "--passes", passes)
            self.assertLessEqual(int(summary["choices"]["solver"].split()[0]), passes)
            errors.append(max(abs(a - b) / b for a, b in zip(found, variances)))
        self.assertGreater(errors[0], 1e-3)
        self.assertLess(errors[1], 1e-4)
        _, found = self.whiten("double", "--precision", "double")
        for mine, exact in zip(found, variances):
            self.assertLess(abs(mine - exact), 1e-4 * exact)

    def test_a_few_constant_features(self):
        draw = random.Random(2)
        values = [4.0 if j % 5 == 0 else draw.gauss(0, 2.0 ** -j) for _ in range(80)
                  for j in range(20)]
        data = self.path("constant.npy")
        program.write_npy(data, (80, 20), values)
        run = program.run("eigenscale-whiten", "--data", data, "--output", self.path("run"),
                          "--components", 4, "--solver", "randomized", "--check")
        self.assertEqual(run.code, 0, run.errors)
        with open(self.path("run", "summary.json")) as file:
            self.assertIn("4 of 20 features are constant", json.load(file)["warnings"][0])

    def refuse(self, code, expected, shape, values, *options):
        data = self.path("bad.npy")
        program.write_npy(data, shape, values)
        run = program.run("eigenscale-whiten", "--data", data, "--output", self.path("refused"),
                          *options)
        self.assertEqual(run.code, code, run.errors)
        self.assertEqual(len(run.messages), 1, run.errors)
        for text in expected:
            self.assertIn(text, run.messages[0])
        self.assertEqual(glob.glob(os.path.join(self.path("refused"), "*.npy")), [])

    def test_bad_input(self):
        randomized = ("--solver", "randomized")
        noise = [float((i * 7919) % 101) for i in range(40)]
        self.refuse(INPUT, ["--components is 6", "5 samples", "8 features"], (5, 8), noise,
                    "--components", 6, *randomized)
        self.refuse(INPUT, ["--components is 6", "8 samples", "5 features"], (8, 5), noise,
                    "--components", 6, *randomized)
        self.refuse(INPUT, ["constant"], (8, 5), [3.0] * 40, "--components", 2, *randomized)
        self.refuse(OPTIONS, ["--passes"], (8, 5), noise, "--components", 2, "--passes", 0)
        wide = [float(i % 7) for i in range(3 * 400000)]
        self.refuse(OPTIONS, ["400,000 features", "GiB", "ranks"], (3, 400000), wide,
                    "--solver", "exact", "--components", 2)


if __name__ == "__main__":
    program.main()
