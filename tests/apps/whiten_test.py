"""eigenscale-whiten: what it writes whitens, on any number of ranks, and bad input is refused."""

import glob
import json
import os
import random
import signal
import subprocess
import time
import unittest

import program

FASHION = "/usr/share/datasets/fashion-mnist/t10k-images-idx3-ubyte.gz"
OPTIONS, INPUT, NUMERICAL = 2, 3, 4


def correlated(samples, features, mean=0.0, seed=1):
    """Rows with a common part, so that the covariance is far from diagonal."""
    draw = random.Random(seed)
    values = []
    for _ in range(samples):
        common = draw.gauss(0, 3)
        values += [mean + common * ((j % 3) - 1) + draw.gauss(0, 1 + j % 4)
                   for j in range(features)]
    return values


class Whiten(program.ProgramTest):
    def whiten(self, data, *options, ranks=2, name="run"):
        output = self.path(name)
        run = program.run("eigenscale-whiten", "--data", data, "--output", output, *options,
                          ranks=ranks, timeout=600)
        self.assertEqual(run.code, 0, run.errors)
        with open(os.path.join(output, "summary.json")) as file:
            return output, json.load(file)

    def checked(self, bound, data, *options, **keywords):
        output, summary = self.whiten(data, "--check", *options, **keywords)
        self.assertLess(summary["metrics"]["covariance_error"], bound)
        # Both are of the order n 2^-52.
        self.assertLess(summary["metrics"]["residual"], 1e-10)
        self.assertLess(summary["metrics"]["orthogonality"], 1e-10)
        return output, summary

    def test_whitened_samples_are_white(self):
        samples, features = 400, 7
        data = self.path("x.npy")
        values = correlated(samples, features, mean=50)
        program.write_npy(data, (samples, features), values, "d")
        output, _ = self.checked(1e-8, data, "--epsilon", 0)
        shape, white = program.read_npy(os.path.join(output, "whitened.npy"))
        self.assertEqual(shape, (samples, features))
        rows = [white[i * features:(i + 1) * features] for i in range(samples)]
        for a in range(features):
            self.assertAlmostEqual(sum(row[a] for row in rows) / samples, 0, places=10)
            for b in range(features):
                covariance = sum(row[a] * row[b] for row in rows) / samples
                self.assertAlmostEqual(covariance, 1.0 if a == b else 0.0, places=8)
        # The transform maps a centred sample to its whitened one.
        _, transform = program.read_npy(os.path.join(output, "transform.npy"))
        _, mean = program.read_npy(os.path.join(output, "mean.npy"))
        for b in range(features):
            expected = sum((values[a] - mean[a]) * transform[a * features + b]
                           for a in range(features))
            self.assertAlmostEqual(white[b], expected, places=10)

    def test_tiny_and_huge_data(self):
        for scale in (1e-70, 1e-8, 1e70):
            data = self.path(f"x{scale}.npy")
            program.write_npy(data, (60, 12), [scale * x for x in correlated(60, 12)], "d")
            self.checked(1e-8, data, name=f"run{scale}")

    def test_ranks_do_not_change_the_result(self):
        samples, features = 101, 37
        data = self.path("x.npy")
        program.write_npy(data, (samples, features), correlated(samples, features, 10), "d")
        for method in ("zca", "pca"):
            reference = None
            for ranks in (1, 2, 3, 4):
                output, _ = self.checked(1e-8, data, "--method", method, ranks=ranks,
                                         name=f"{method}{ranks}")
                result = [program.read_npy(os.path.join(output, name))[1]
                          for name in ("whitened.npy", "transform.npy", "eigenvalues.npy")]
                reference = reference or result
                for mine, other in zip(result, reference):
                    self.assertEqual(len(mine), len(other))
                    # Rounding of the eigenvectors, 1e-15, over the gaps of this spectrum.
                    self.assertLess(max(abs(a - b) for a, b in zip(mine, other)), 1e-9)

    def test_repeated_runs_are_bit_identical(self):
        data = self.path("x.npy")
        program.write_npy(data, (60, 20), correlated(60, 20))
        contents = []
        for name in ("one", "two"):
            output, _ = self.whiten(data, name=name, ranks=3)
            with open(os.path.join(output, "whitened.npy"), "rb") as file:
                contents.append(file.read())
        self.assertEqual(*contents)

    def test_components_and_hdf5(self):
        data = self.path("x.npy")
        program.write_npy(data, (90, 12), correlated(90, 12))
        output, summary = self.checked(1e-6, data, "--method", "pca", "--components", 4,
                                       "--format", "h5")
        self.assertEqual(summary["choices"]["components"], 4)
        # What was written is read back: white already, so its spectrum is flat.
        again, _ = self.whiten(os.path.join(output, "whitened.h5:whitened"), name="again")
        self.assertTrue(os.path.exists(os.path.join(again, "whitened.h5")))
        _, values = program.read_npy(os.path.join(again, "eigenvalues.npy"))
        self.assertEqual(len(values), 4)
        for value in values:
            self.assertAlmostEqual(value, 1, places=4)

    @unittest.skipUnless(os.path.exists(FASHION), "needs dataset-fashion-mnist")
    def test_real_images(self):
        output, _ = self.checked(1e-4, FASHION)
        with open(os.path.join(output, "report.html")) as file:
            self.assertIn("Leading components", file.read())

    def test_components_without_the_covariance(self):
        samples, features, kept = 300, 40, 3
        data = self.path("x.npy")
        draw = random.Random(6)
        # Standard deviations that halve: four blocks of 13 columns hold all 40 directions.
        values = [100 + draw.gauss(0, 0.7 ** j) for _ in range(samples) for j in range(features)]
        program.write_npy(data, (samples, features), values)
        exact, _ = self.whiten(data, "--method", "pca", "--components", kept, name="exact")
        _, variances = program.read_npy(os.path.join(exact, "eigenvalues.npy"))
        _, expected = program.read_npy(os.path.join(exact, "whitened.npy"))
        for ranks in (1, 2, 3):
            output, summary = self.whiten(
                data, "--method", "pca", "--components", kept, "--solver", "randomized", "--check",
                ranks=ranks, name=f"pca{ranks}")
            self.assertIn("Krylov", summary["choices"]["solver"])
            self.assertLess(summary["metrics"]["covariance_error"], 1e-4)
            _, found = program.read_npy(os.path.join(output, "eigenvalues.npy"))
            for mine, other in zip(found, variances):
                self.assertLess(abs(mine - other), 1e-5 * variances[0])
            _, white = program.read_npy(os.path.join(output, "whitened.npy"))
            # A direction may come with either sign. Floats at a mean of 100: 6e-6 of a deviation
            # of 0.5, over gaps of the spectrum.
            difference = max(abs(abs(a) - abs(b)) for a, b in zip(white, expected))
            self.assertLess(difference, 1e-3)

        output, summary = self.whiten(data, "--components", kept, "--solver", "randomized",
                                      "--check", name="zca")
        self.assertFalse(os.path.exists(os.path.join(output, "transform.npy")))
        shape, vectors = program.read_npy(os.path.join(output, "components.npy"))
        self.assertEqual(shape, (features, kept))
        _, variances = program.read_npy(os.path.join(output, "eigenvalues.npy"))
        _, mean = program.read_npy(os.path.join(output, "mean.npy"))
        _, white = program.read_npy(os.path.join(output, "whitened.npy"))
        epsilon = summary["choices"]["epsilon"]
        rest = (summary["choices"]["rest_variance"] + epsilon) ** -0.5
        for row in (0, samples - 1):
            centred = [values[row * features + j] - mean[j] for j in range(features)]
            expected = [rest * value for value in centred]
            for k in range(kept):
                along = sum(centred[j] * vectors[j * kept + k] for j in range(features))
                scale = (variances[k] + epsilon) ** -0.5 - rest
                for j in range(features):
                    expected[j] += scale * along * vectors[j * kept + k]
            for j in range(features):
                self.assertAlmostEqual(white[row * features + j], expected[j], delta=1e-3)

    def test_components_of_a_wide_spectrum(self):
        # Deviations 1, 0.07, 0.005: rounding of single precision in the product with the transform
        # would be blown up 200 times, so that product is in double.
        samples, features = 200, 30
        data = self.path("x.npy")
        draw = random.Random(8)
        program.write_npy(data, (samples, features),
                          [draw.gauss(0, 200.0 ** (-j / 2)) if j < 3 else 0.0
                           for _ in range(samples) for j in range(features)])
        for method in ("pca", "zca"):
            _, summary = self.whiten(data, "--method", method, "--components", 3, "--solver",
                                     "randomized", "--epsilon", 1e-12, "--check", name=method)
            self.assertEqual(summary["choices"]["product"], "double")
            # The variances come of products in single precision: 2^-24 of the largest, over 1/40,000.
            self.assertLess(summary["metrics"]["covariance_error"], 5e-3)

    def test_precision_follows_the_spectrum(self):
        for name, decay, options, precision in (("narrow", 0.97, (), "float"),
                                                ("narrow", 0.97, ("--precision", "double"), "double"),
                                                ("wide", 0.7, (), "double"),
                                                ("wide", 0.7, ("--epsilon", 1), "float")):
            run = program.run("eigenscale-generate", "--kind", "spectrum", "--samples", 900,
                              "--ambient-dim", 40, "--law", "geometric", "--decay", decay,
                              "--mean", 50, "--output", self.path(name), "--overwrite")
            self.assertEqual(run.code, 0, run.errors)
            # What whitening is asked for, whichever precision that takes.
            _, summary = self.checked(1e-4, self.path(name, "data.npy"), *options,
                                      name=f"{name}-{len(options)}-{precision}")
            self.assertEqual(summary["choices"]["covariance"], precision)
            self.assertEqual(summary["choices"]["covariance_rounding"] > 0, precision == "float")
            self.assertLess(summary["choices"]["covariance_rounding"], 1e-5)

    def test_many_features_with_a_large_mean(self):
        samples, features = 2050, 2000
        draw = random.Random(3).randbytes(samples * features)
        data = self.path("wide.npy")
        program.write_npy(data, (samples, features), (1e4 + byte / 64 for byte in draw), "d")
        self.checked(1e-8, data)


class BadInput(program.ProgramTest):
    def refuse(self, code, expected, data, *options, ranks=2):
        output = self.path("run")
        begin = time.monotonic()
        run = program.run("eigenscale-whiten", "--data", data, "--output", output, *options,
                          ranks=ranks)
        self.assertEqual(run.code, code, run.errors)
        self.assertEqual(len(run.messages), 1, run.errors)
        for text in expected:
            self.assertIn(text, run.messages[0])
        self.assertLess(time.monotonic() - begin, 30)
        self.assertEqual(glob.glob(os.path.join(output, "*.npy")), [])
        self.assertFalse(os.path.exists(os.path.join(output, "summary.json")))

    def data(self, samples, features, values):
        path = self.path("x.npy")
        program.write_npy(path, (samples, features), values)
        return path

    def test_more_features_than_memory(self):
        data = self.data(3, 400000, [float(i % 7) for i in range(3 * 400000)])
        self.refuse(OPTIONS, ["400,000 features", "GiB", "ranks"], data)

    def test_whitened_samples_that_are_not_finite(self):
        self.refuse(NUMERICAL, ["not finite", "--epsilon"], self.data(5, 9, correlated(5, 9)),
                    "--epsilon", 1e-120)

    def test_a_check_that_fails(self):
        data = self.path("deficient.npy")
        program.write_npy(data, (5, 9), correlated(5, 9), "d")
        self.refuse(NUMERICAL, ["--check: covariance_error is", "--epsilon"], data,
                    "--epsilon", 1e-30, "--check")

    def test_fewer_samples_than_features_without_epsilon(self):
        self.refuse(INPUT, ["--epsilon"], self.data(5, 9, correlated(5, 9)), "--epsilon", 0)

    def test_constant_feature_without_epsilon(self):
        values = correlated(50, 4)
        values[2::4] = [5.0] * 50
        self.refuse(INPUT, ["1 of 4", "--epsilon"], self.data(50, 4, values), "--epsilon", 0)

    def test_constant_data(self):
        self.refuse(INPUT, ["x.npy", "constant"], self.data(6, 3, [2.0] * 18))

    def test_one_sample(self):
        self.refuse(INPUT, ["x.npy", "two samples"], self.data(1, 3, [1.0, 2.0, 3.0]))

    def test_not_a_number(self):
        values = correlated(20, 4)
        values[-2] = float("nan")
        self.refuse(INPUT, ["x.npy", "row 19"], self.data(20, 4, values), ranks=3)

    def test_options(self):
        data = self.data(20, 4, correlated(20, 4))
        self.refuse(OPTIONS, ["--method"], data, "--method", "ica")
        self.refuse(OPTIONS, ["--components"], data, "--components", 0)
        self.refuse(INPUT, ["--components", "4 features"], data, "--components", 5)
        self.refuse(INPUT, ["--components", "3 samples"],
                    self.data(3, 4, correlated(3, 4)), "--components", 4)
        self.refuse(OPTIONS, ["--solver randomized", "--components"], data,
                    "--solver", "randomized")
        self.refuse(OPTIONS, ["--epsilon"], data, "--epsilon", -1)
        self.refuse(INPUT, ["--image-shape"], data, "--image-shape", "3x3")
        self.refuse(OPTIONS, ["--image-shape"], data, "--image-shape", "4")
        self.refuse(OPTIONS, ["cuda"], data, "--device", "cuda")

    def test_interrupted_write_leaves_nothing_finished(self):
        samples, features = 60000, 300
        data = self.path("x.npy")
        draw = random.Random(4).randbytes(samples * features)
        program.write_npy(data, (samples, features), draw, "B")
        output = self.path("run")
        command = [program.MPIEXEC, "--oversubscribe", "--bind-to", "none", "-np", "2",
                   os.path.join(program.APPS, "eigenscale-whiten"), "--data", data, "--output",
                   output]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True) as job:
            deadline = time.monotonic() + 60
            # The temporary name of what is being written.
            while not (os.path.isdir(output) and
                       any("whitened" in name for name in os.listdir(output))):
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.002)
            os.killpg(job.pid, signal.SIGKILL)
            job.wait()
        subprocess.run(["pkill", "-9", "-f", output], check=False)
        self.assertFalse(os.path.exists(os.path.join(output, "summary.json")))
        self.assertFalse(os.path.exists(os.path.join(output, "whitened.npy")))
        run = program.run("eigenscale-whiten", "--data", data, "--output", output)
        self.assertEqual(run.code, 0, run.errors)
        shape, _ = program.read_npy(os.path.join(output, "whitened.npy"))
        self.assertEqual(shape, (samples, features))


if __name__ == "__main__":
    program.main()
