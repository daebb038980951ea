"""eigenscale-cluster where samples are many: landmarks, the subspace model, and new data."""

import json
import os

import program

SAMPLES = 20000


class Landmarks(program.ProgramTest):
    def generate(self, name, samples, *options):
        run = program.run("eigenscale-generate", "--samples", samples, "--ambient-dim", 9,
                          "--subspace-dim", 6, "--clusters", 5, "--noise", 0, *options,
                          "--output", self.path(name))
        self.assertEqual(run.code, 0, run.errors)
        return self.path(name, "data.npy"), self.path(name, "labels.npy")

    def cluster(self, *options, ranks=2, code=0):
        run = program.run("eigenscale-cluster", *options, ranks=ranks)
        self.assertEqual(run.code, code, run.errors)
        return run

    def summary(self, output):
        with open(os.path.join(output, "summary.json")) as file:
            return json.load(file)

    def bytes_of(self, *parts):
        with open(self.path(*parts), "rb") as file:
            return file.read()

    def test_labels_of_landmarks_reach_all_rows_and_new_ones(self):
        data, labels = self.generate("data", SAMPLES)
        self.cluster("--data", data, "--labels", labels, "--clusters", 5, "--output",
                     self.path("run"))
        summary = self.summary(self.path("run"))
        self.assertGreaterEqual(summary["metrics"]["accuracy"], 0.9999)
        for name in ("kmeans_baseline", "random_start", "landmarks_alone"):
            self.assertEqual(set(summary["metrics"][name]), {"accuracy", "nmi", "ari"})
        self.assertLess(summary["metrics"]["kmeans_baseline"]["accuracy"], 0.5)
        self.assertEqual(summary["choices"]["landmarks"], 2000)
        self.assertEqual(summary["choices"]["subspace_dim"], 6)
        shape, found = program.read_npy(self.path("run", "labels.npy"))
        self.assertEqual(shape, (SAMPLES,))
        self.assertEqual(list(dict.fromkeys(found)), list(range(5)), "numbered by appearance")
        shape, _ = program.read_npy(self.path("run", "embedding.npy"))
        self.assertEqual(shape, (SAMPLES, 5))
        self.assertEqual(program.read_npy(self.path("run", "residuals.npy"))[0], (SAMPLES,))

        # The model labels the same file again to the byte, on any number of ranks.
        for ranks in (1, 3):
            again = f"again-{ranks}"
            self.cluster("--assign", self.path("run"), "--data", data, "--labels", labels,
                         "--output", self.path(again), ranks=ranks)
            for name in ("labels.npy", "residuals.npy", "embedding.npy"):
                self.assertEqual(self.bytes_of("run", name), self.bytes_of(again, name), name)
            self.assertEqual(self.summary(self.path(again))["metrics"]["accuracy"],
                             summary["metrics"]["accuracy"])

        # Rows of several files stand behind each other.
        _, values = program.read_npy(data)
        _, classes = program.read_npy(labels)
        parts = []
        for part, begin, end in (("a", 0, 7001), ("b", 7001, SAMPLES)):
            program.write_npy(self.path(part + ".npy"), (end - begin, 9),
                              values[9 * begin:9 * end])
            program.write_npy(self.path(part + "-labels.npy"), (end - begin,),
                              classes[begin:end], "q")
            parts += ["--data", self.path(part + ".npy"), "--labels",
                      self.path(part + "-labels.npy")]
        self.cluster("--assign", self.path("run"), *parts, "--output", self.path("parts"))
        self.assertEqual(self.bytes_of("run", "labels.npy"), self.bytes_of("parts", "labels.npy"))
        self.assertEqual(self.summary(self.path("parts"))["metrics"]["accuracy"],
                         summary["metrics"]["accuracy"])
        with open(self.path("parts", "configuration.ini")) as file:
            self.assertEqual(sum(line.startswith("data=") for line in file), 2)

        # What the model decides cannot be said again.
        for option in (("--subspace-dim", 5), ("--scale", 0.5), ("--affine",),
                       ("--precision", "double"), ("--refine", "none"), ("--landmarks", 300)):
            run = self.cluster("--assign", self.path("run"), "--data", data, *option, "--output",
                               self.path("refused"), code=2)
            self.assertIn(f"{option[0]} is that of the model", run.errors)

        # As many ranks as you like find the same labels.
        self.cluster("--data", data, "--clusters", 5, "--output", self.path("three"), ranks=3)
        self.assertEqual(self.bytes_of("run", "labels.npy"), self.bytes_of("three", "labels.npy"))

        # A model of another width, and a run without a model.
        run = program.run("eigenscale-generate", "--samples", 100, "--ambient-dim", 7,
                          "--subspace-dim", 2, "--clusters", 2, "--output", self.path("narrow"))
        self.assertEqual(run.code, 0, run.errors)
        narrow = self.path("narrow", "data.npy")
        run = self.cluster("--assign", self.path("run"), "--data", narrow, "--output",
                           self.path("refused"), code=3)
        self.assertIn("have 7 numbers", run.errors)
        self.assertIn("9", run.messages[0])
        self.cluster("--data", narrow, "--clusters", 2, "--output", self.path("full"))
        run = self.cluster("--assign", self.path("full"), "--data", narrow, "--output",
                           self.path("refused"), code=3)
        self.assertIn("subspaces.safetensors", run.errors)
        self.assertFalse(os.path.exists(self.path("refused")))

    def test_lengths_whose_squares_are_no_numbers(self):
        data, _ = self.generate("data", 3000)
        _, values = program.read_npy(data)
        found = set()
        for power in (0, 100, -100):  # of two: the directions stay the same to the bit
            program.write_npy(data, (3000, 9), [value * 2.0 ** power for value in values])
            self.cluster("--data", data, "--clusters", 5, "--landmarks", 600, "--output",
                         self.path(f"run{power}"))
            found.add(self.bytes_of(f"run{power}", "labels.npy"))
        self.assertEqual(len(found), 1)

    def test_wrong_numbers_of_landmarks_and_zero_rows(self):
        data, _ = self.generate("data", 3000)
        common = ("--data", data, "--output", self.path("run"))
        run = self.cluster(*common, "--clusters", 5, "--landmarks", 4, code=2)
        self.assertIn("--landmarks is 4", run.errors)
        run = self.cluster(*common, "--clusters", 5, "--landmarks", 3001, code=3)
        self.assertIn("has 3000 samples", run.errors)
        run = self.cluster(*common, "--clusters", 5, "--landmarks", 300, "--subspace-dim", 9,
                           code=3)
        self.assertIn("--subspace-dim is 9", run.errors)
        run = self.cluster(*common, "--clusters", 5, "--landmarks", 300, "--refine", "none", code=2)
        self.assertIn("--refine none", run.errors)
        self.assertFalse(os.path.exists(self.path("run")))

        _, values = program.read_npy(data)
        program.write_npy(data, (3000, 9), values[:9 * 1500] + values[:9] * 1000 + [0.0] * 9 * 500)
        run = self.cluster(*common, "--clusters", 5, "--landmarks", 600, "--subspace-dim", 6)
        warnings = " ".join(self.summary(self.path("run"))["warnings"])
        self.assertIn("500 rows are all zeros", warnings)
        self.assertIn("copies of others", warnings)
        program.write_npy(data, (3000, 9), values[:27] * 1000)
        run = self.cluster("--data", data, "--clusters", 5, "--landmarks", 600, "--subspace-dim", 6,
                           "--output", self.path("other"), code=3)
        self.assertIn("3 distinct", run.errors)


if __name__ == "__main__":
    program.main()
