"""eigenscale-cluster where samples are many: landmarks, the subspace model, and new data."""

import json
import os

import program

SAMPLES = 20000


class Landmarks(program.ProgramTest):
    def generate(self, name, samples, *options):
        shape = options or ("--ambient-dim", 9, "--subspace-dim", 6)
        run = program.run("eigenscale-generate", "--samples", samples, *shape, "--clusters", 5,
                          "--noise", 0, "--output", self.path(name))
        self.assertEqual(run.code, 0, run.errors)
        return self.path(name, "data.npy"), self.path(name, "labels.npy")

    def cluster(self, *options, ranks=None, code=0):
        ranks = ranks or program.enough_ranks(code)
        run = program.run("eigenscale-cluster", *options, ranks=ranks, launcher=ranks > 1)
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
        self.cluster("--data", data, "--labels", labels, "--clusters", 5, "--ablation-samples", 997,
                     "--output", self.path("run"))
        summary = self.summary(self.path("run"))
        self.assertGreaterEqual(summary["metrics"]["accuracy"], 0.9999)
        for name in ("kmeans_baseline", "random_start", "landmarks_alone"):
            self.assertEqual(set(summary["metrics"][name]), {"accuracy", "nmi", "ari"})
            right = 997 * summary["metrics"][name]["accuracy"]
            self.assertAlmostEqual(right, round(right), places=6, msg="of as many as asked for")
        self.assertLess(summary["metrics"]["kmeans_baseline"]["accuracy"], 0.5)
        self.assertEqual(summary["choices"]["samples"], SAMPLES)
        self.assertEqual(summary["choices"]["landmarks"], 2000)
        self.assertEqual(summary["choices"]["subspace_dim"], 6)
        self.assertEqual(summary["choices"]["whiten_features"], 0, "rows as the file has them")
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
                       ("--precision", "double"), ("--refine", "none"), ("--landmarks", 300),
                       ("--whiten-features", 0)):
            run = self.cluster("--assign", self.path("run"), "--data", data, *option, "--output",
                               self.path("refused"), code=2)
            self.assertIn(f"{option[0]} is that of the model", run.errors)

        # Whitening is a linear map: what lies in subspaces does so behind it, and a model has it.
        self.cluster("--data", data, "--labels", labels, "--clusters", 5, "--no-ablation",
                     "--whiten-features", 0.5, "--output", self.path("white"))
        self.assertGreaterEqual(self.summary(self.path("white"))["metrics"]["accuracy"], 0.9999)
        self.cluster("--assign", self.path("white"), "--data", data, "--output",
                     self.path("white-again"), ranks=3)
        for name in ("labels.npy", "residuals.npy", "embedding.npy"):
            self.assertEqual(self.bytes_of("white", name), self.bytes_of("white-again", name))
        self.assertNotEqual(self.bytes_of("white", "residuals.npy"),
                            self.bytes_of("run", "residuals.npy"))
        run = self.cluster("--data", data, "--clusters", 5, "--whiten-features", 0.5,
                           "--self-expression", "full", "--output", self.path("refused"), code=2)
        self.assertIn("--whiten-features is for the subspace model", run.errors)

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
        os.remove(self.path("run", "summary.json"))
        run = self.cluster("--assign", self.path("run"), "--data", data, "--output",
                           self.path("refused"), code=3)
        self.assertIn("has not finished", run.errors)
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
        run = self.cluster("--data", data, "--clusters", 5, "--refine", "none", "--output",
                           self.path("other"), code=3)
        self.assertIn("3 distinct", run.errors)
        self.assertFalse(os.path.exists(self.path("other", "summary.json")))

    def test_ranks_without_a_start_outwait_the_others(self):
        data, _ = self.generate("data", 4000)
        # Two starts on three ranks: the third waits for longer than the limit.
        self.cluster("--data", data, "--clusters", 5, "--landmarks", 3900, "--landmark-draws", 1,
                     "--subspace-dim", 6, "--collective-timeout", 4, "--output", self.path("run"),
                     ranks=3)

    def test_codes_of_all_rows_on_landmarks(self):
        data, labels = self.generate("data", 3000, "--ambient-dim", 20, "--subspace-dim", 3)
        common = ("--data", data, "--labels", labels, "--clusters", 5, "--self-expression",
                  "landmark", "--subspace-dim", 3, "--precision", "double")
        for ranks in (1, 2, 3):
            self.cluster(*common, "--landmarks", 250, "--output", self.path(f"run-{ranks}"),
                         ranks=ranks)
        summary = self.summary(self.path("run-2"))
        self.assertEqual(summary["metrics"]["accuracy"], 1)
        self.assertEqual(summary["choices"]["landmarks"], 250)
        self.assertIn("without_post_processing", summary["metrics"])
        self.assertNotIn("shallow_baseline", summary["metrics"], "would be N x N")
        for ranks in (1, 3):
            self.assertEqual(self.bytes_of("run-2", "labels.npy"),
                             self.bytes_of(f"run-{ranks}", "labels.npy"), ranks)
        self.assertEqual(program.read_npy(self.path("run-2", "embedding.npy"))[0], (3000, 5))
        for options, word in ((("--refine", "subspaces"), "--refine"), (("--affine",), "--affine"),
                              (("--whiten-features", 1), "--whiten-features"),
                              (("--grid", "2x1"), "--grid"), (("--preset", "orl"), "preset"),
                              (("--landmarks", 4), "--landmarks is 4")):
            run = self.cluster(*common, *options, "--output", self.path("refused"), code=2)
            self.assertIn(word, run.errors)
        run = self.cluster(*common, "--landmarks", 3001, "--output", self.path("refused"), code=3)
        self.assertIn("has 3000 samples", run.errors)

    def test_codes_on_all_faces_are_the_full_coefficients(self):
        self.need_data()
        for name, count, clusters in (("orl", 400, 40), ("umist", 480, 20)):
            common = ("--data", os.path.join(program.DATA, name + ".npy"), "--clusters", clusters,
                      "--encoder", "conv", "--image-shape", "1x32x32", "--encoder-channels", "3,3",
                      "--encoder-kernels", "3,3", "--scale", 1 / 255, "--pretrain-epochs", 20,
                      "--finetune-steps", 30, "--precision", "double", "--no-ablation")
            self.cluster(*common, "--self-expression", "full", "--output", self.path(name, "full"))
            self.cluster(*common, "--self-expression", "landmark", "--landmarks", count,
                         "--output", self.path(name, "codes"))
            self.assertEqual(self.bytes_of(name, "full", "labels.npy"),
                             self.bytes_of(name, "codes", "labels.npy"), name)

    def test_an_encoder_trained_on_all_rows(self):
        data, labels = self.generate("data", 4000, "--ambient-dim", 64, "--subspace-dim", 3)
        common = ("--data", data, "--labels", labels, "--clusters", 5, "--landmarks", 300,
                  "--encoder", "conv", "--image-shape", "1x8x8", "--subspace-dim", 3,
                  "--precision", "double", "--no-ablation")
        network = ("--encoder-channels", "6,8", "--encoder-kernels", "3,3", "--latents", "linear")
        self.cluster(*common, *network, "--pretrain-batch", 200, "--pretrain-epochs", 2,
                     "--output", self.path("run"))
        summary = self.summary(self.path("run"))
        self.assertEqual(summary["choices"]["features"], 8 * 2 * 2)
        self.assertEqual(summary["choices"]["whiten_features"], 0.5)
        self.assertEqual(summary["choices"]["pretraining_epochs"], 2)
        weights = self.path("run", "pretrained.safetensors")
        # From its weights, on other numbers of ranks, and as a model: the same labels.
        for ranks in (1, 3):
            self.cluster(*common, *network, "--pretrained", weights, "--output",
                         self.path(f"again-{ranks}"), ranks=ranks)
            self.assertEqual(self.bytes_of("run", "labels.npy"),
                             self.bytes_of(f"again-{ranks}", "labels.npy"), ranks)
        self.cluster("--assign", self.path("run"), "--data", data, "--output", self.path("model"))
        self.assertEqual(self.bytes_of("run", "labels.npy"), self.bytes_of("model", "labels.npy"))

        # Landmarks that are fine-tuned with their coefficients change the encoder for all.
        self.cluster(*common, *network, "--pretrained", weights, "--self-expression", "full",
                     "--finetune-steps", 5, "--output", self.path("tuned"))
        with open(self.path("tuned", "metrics.jsonl")) as file:
            steps = [line for line in map(json.loads, file) if line["phase"] == "finetune"]
        self.assertEqual([line["step"] for line in steps], [1, 2, 3, 4, 5])
        self.assertLess(steps[-1]["loss"], steps[0]["loss"])
        self.assertIn("full on 300", self.summary(self.path("tuned"))["choices"]["self_expression"])
        self.assertNotEqual(self.bytes_of("run", "residuals.npy"),
                            self.bytes_of("tuned", "residuals.npy"))
        self.cluster("--assign", self.path("tuned"), "--data", data, "--output",
                     self.path("tuned-model"))
        self.assertEqual(self.bytes_of("tuned", "residuals.npy"),
                         self.bytes_of("tuned-model", "residuals.npy"))

        # Without a word about the encoder it is the stated one.
        self.cluster(*common, "--pretrain-epochs", 1, "--pretrain-batch", 500, "--output",
                     self.path("default"))
        self.assertEqual(self.summary(self.path("default"))["choices"]["features"], 16)

    def test_curves_straighten_what_a_saturation_bends(self):
        data, labels = self.generate("data", 6000, "--kind", "nonlinear", "--ambient-dim", 9,
                                     "--subspace-dim", 6)
        common = ("--data", data, "--labels", labels, "--clusters", 5, "--landmarks", 600,
                  "--landmark-draws", 1, "--no-ablation", "--precision", "double")
        self.cluster(*common, "--output", self.path("linear"))
        self.assertLess(self.summary(self.path("linear"))["metrics"]["accuracy"], 0.8)
        self.cluster(*common, "--encoder", "curves", "--pretrain-epochs", 3, "--output",
                     self.path("run"))
        summary = self.summary(self.path("run"))
        self.assertIn("--pretrain-epochs changes nothing: it is of --encoder conv or mlp",
                      summary["warnings"])
        self.assertGreaterEqual(summary["metrics"]["accuracy"], 0.999)
        self.assertIn("curves", summary["seconds"])
        with open(self.path("run", "metrics.jsonl")) as file:
            steps = [line for line in map(json.loads, file) if line["phase"] == "curves"]
        self.assertGreater(steps[-1]["log_likelihood"], steps[0]["log_likelihood"])
        self.assertLess(steps[-1]["objective"], 0.01 * steps[0]["objective"])

        for output, has in (("run", True), ("linear", False)):
            self.assertEqual(b"Curves of features" in self.bytes_of(output, "report.html"), has)

        # On any number of ranks, and as a model.
        for ranks in (1, 3, 4):
            self.cluster(*common, "--encoder", "curves", "--output", self.path(f"on-{ranks}"),
                         ranks=ranks)
            # Sums over ranks round otherwise, and hundreds of steps carry that on: rows that lie
            # near two subspaces may change sides. 2 of 10^5 were seen; this is one of 10^3.
            pairs = zip(*(program.read_npy(self.path(output, "labels.npy"))[1]
                          for output in ("run", f"on-{ranks}")))
            self.assertLessEqual(sum(a != b for a, b in pairs), 6, ranks)
        for ranks in (1, 3):
            self.cluster("--assign", self.path("run"), "--data", data, "--output",
                         self.path(f"model-{ranks}"), ranks=ranks)
            for name in ("labels.npy", "residuals.npy", "embedding.npy"):
                self.assertEqual(self.bytes_of("run", name), self.bytes_of(f"model-{ranks}", name))

        for more, word in ((("--self-expression", "landmark"), "for the subspace model"),
                           (("--refine", "none"), "for the subspace model"),
                           (("--preset", "orl"), "--encoder curves"),
                           (("--affine", "--subspace-dim", 9), "have 9 features"),
                           (("--pretrained", labels), "there is none")):
            run = self.cluster("--data", data, "--clusters", 5, "--encoder", "curves", *more,
                               "--output", self.path("refused"),
                               code=3 if "--affine" in more else 2)
            self.assertIn(word, run.errors)
        program.write_npy(self.path("wide.npy"), (20, 257), [1.0] * 20 * 257)
        run = self.cluster("--data", self.path("wide.npy"), "--clusters", 5, "--encoder", "curves",
                           "--output", self.path("refused"), code=3)
        self.assertIn("of at most 256, but the rows of", run.errors)
        self.assertIn("have 257", run.errors)


if __name__ == "__main__":
    program.main()
