"""eigenscale-cluster end to end: what it leaves behind, and that it clusters."""

import json
import os
import re

import program


class Cluster(program.ProgramTest):
    def check_run(self, output, samples, clusters):
        with open(os.path.join(output, "summary.json")) as file:
            summary = json.load(file)
        for key in ("schema_version", "program", "version", "ranks", "device", "metrics", "seconds",
                    "peak_memory_bytes", "choices"):
            self.assertIn(key, summary)
        self.assertEqual(summary["program"], "eigenscale-cluster")
        self.assertGreater(summary["seconds"]["total"], 0)
        for key in ("max_rank", "sum"):
            self.assertGreater(summary["peak_memory_bytes"][key], 0)
        shape, labels = program.read_npy(os.path.join(output, "labels.npy"))
        self.assertEqual(shape, (samples,))
        seen = []
        for label in labels:
            if label not in seen:
                seen.append(label)
        self.assertEqual(seen, list(range(len(seen))), "numbered by first appearance")
        shape, _ = program.read_npy(os.path.join(output, "embedding.npy"))
        self.assertEqual(shape, (samples, clusters))
        with open(os.path.join(output, "report.html")) as file:
            page = file.read()
        self.assertIn("<svg", page)
        self.assertIsNone(re.search(r'(src|href)="https?:', page), "self-contained")
        return summary

    def test_subspaces_without_an_encoder(self):
        values, labels = program.subspace_points(60)
        program.write_npy(self.path("data.npy"), (60, 12), values)
        # Labels are names, however large, and -1 is none.
        labels = [(20240101, -3, 2**62)[label] for label in labels]
        labels[::7] = [-1] * len(labels[::7])
        program.write_npy(self.path("labels.npy"), (60,), labels, "q")
        for method in ("full", "closed-form"):
            output = self.path(method)
            run = program.run("eigenscale-cluster", "--data", self.path("data.npy"), "--labels",
                              self.path("labels.npy"), "--clusters", 3, "--subspace-dim", 2,
                              "--self-expression", method, "--latents", "linear", "--output",
                              output, ranks=3)
            self.assertEqual(run.code, 0, run.errors)
            summary = self.check_run(output, 60, 3)
            self.assertEqual(summary["warnings"],
                             ["--latents changes nothing: it is of --encoder conv"])
            metrics = summary["metrics"]
            self.assertEqual(metrics["accuracy"], 1)
            for name in ("without_post_processing", "shallow_baseline"):
                self.assertEqual(set(metrics[name]), {"accuracy", "nmi", "ari"})

    def test_every_choice_of_norm_and_assignment_runs(self):
        values, labels = program.subspace_points(40)
        program.write_npy(self.path("data.npy"), (40, 12), values)
        program.write_npy(self.path("labels.npy"), (40,), labels, "q")
        for norm in ("l1", "l2"):
            for assignment in ("discretize", "kmeans"):
                output = self.path(norm + assignment)
                run = program.run(
                    "eigenscale-cluster", "--data", self.path("data.npy"), "--labels",
                    self.path("labels.npy"), "--clusters", 3, "--subspace-dim", 2, "--norm", norm,
                    "--label-assignment", assignment, "--output", output)
                self.assertEqual(run.code, 0, run.errors)
                self.assertGreater(self.check_run(output, 40, 3)["metrics"]["accuracy"], 0.9)

    def test_multilayer_encoder_and_effective_configuration(self):
        values, _ = program.subspace_points(40)
        program.write_npy(self.path("data.npy"), (40, 12), values)
        first = self.path("first")
        run = program.run("eigenscale-cluster", "--data", self.path("data.npy"), "--clusters", 3,
                          "--encoder", "mlp", "--encoder-channels", "16,6", "--pretrain-epochs", 20,
                          "--finetune-steps", 10, "--output", first)
        self.assertEqual(run.code, 0, run.errors)
        self.check_run(first, 40, 3)
        # The effective configuration repeats the run.
        second = self.path("second")
        run = program.run("eigenscale-cluster", "--config", os.path.join(first, "configuration.ini"),
                          "--output", second)
        self.assertEqual(run.code, 0, run.errors)
        with open(os.path.join(first, "embedding.npy"), "rb") as one:
            with open(os.path.join(second, "embedding.npy"), "rb") as other:
                self.assertEqual(one.read(), other.read())

    def test_orl_from_the_authors_weights(self):
        self.need_data()
        run = program.run(
            "eigenscale-cluster", "--preset", "orl", "--data", os.path.join(program.DATA, "orl.npy"),
            "--labels", os.path.join(program.DATA, "orl-labels.npy"), "--clusters", 40,
            "--pretrained", os.path.join(program.DATA, "orl-pretrained.safetensors"),
            "--output", self.path("run"), timeout=600)
        self.assertEqual(run.code, 0, run.errors)
        metrics = self.check_run(self.path("run"), 400, 40)["metrics"]
        # Others' runs from these weights lie at .845 to .855; one seed may fall a point below.
        self.assertGreater(metrics["accuracy"], 0.835)

    def test_what_cannot_fit_is_refused_before_work(self):
        # 2^31 coefficients are more than one rank can index, whatever memory there is.
        program.write_npy(self.path("many.npy"), (47000, 2), [i % 101 for i in range(94000)])
        run = program.run("eigenscale-cluster", "--data", self.path("many.npy"), "--clusters", 3,
                          "--self-expression", "full", "--output", self.path("run"), ranks=1,
                          timeout=30)
        self.assertEqual(run.code, 2, run.errors)
        self.assertRegex(run.messages[0], r"47,000 samples .* need .* GiB on each of 1 rank; .* is there\. "
                         r".*ranks would do")
        self.assertFalse(os.path.exists(os.path.join(self.path("run"), "summary.json")))

    def test_values_that_are_equal_but_for_rounding_are_drawn(self):
        values = [1.0 if j == i // 3 else 0.0 for i in range(60) for j in range(20)]
        program.write_npy(self.path("equal.npy"), (60, 20), values)
        run = program.run("eigenscale-cluster", "--data", self.path("equal.npy"), "--clusters", 3,
                          "--self-expression", "full", "--output", self.path("run"), ranks=1,
                          timeout=60)
        self.assertEqual(run.code, 0, run.errors)

    def test_trace_holds_all_ranks(self):
        values, _ = program.subspace_points(30)
        program.write_npy(self.path("data.npy"), (30, 12), values)
        run = program.run("eigenscale-cluster", "--data", self.path("data.npy"), "--clusters", 3,
                          "--trace", "--output", self.path("run"), ranks=3)
        self.assertEqual(run.code, 0, run.errors)
        with open(self.path("run/trace.json")) as file:
            events = json.load(file)["traceEvents"]
        self.assertEqual({event["pid"] for event in events}, {0, 1, 2})


if __name__ == "__main__":
    program.main()
