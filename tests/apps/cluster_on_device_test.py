"""eigenscale-cluster --device cuda with the double of a device in the place of a GPU."""

import json
import random

import on_device
import program

STOPPED = 75
# What may cross between host and device.
SITES = {
    "to_device": {"rows", "bases", "row numbers"},
    "to_host": {"sampled rows", "labels", "residuals", "embedding", "moments", "cluster sizes",
                "totals of a pass", "checks"}}
# "directions" are the whitening of latents.
ENCODER = {"to_device": {"encoder", "batch", "directions"},
           "to_host": {"encoder", "loss", "checks", "gradient norm", "files"}}

TRAINED = {"to_device": {"encoder"},
           "to_host": {"loss", "files", "latents", "coefficients"}}
CONVOLUTION = ("--encoder", "conv", "--image-shape", "1x4x4", "--encoder-channels", "4,8",
               "--encoder-kernels", "3,3", "--pretrain-batch", 64, "--pretrain-epochs", 2)


class ClusterOnDevice(on_device.DeviceTest):
    SAMPLES, FEATURES, CLUSTERS, DIMENSION, LANDMARKS = 660, 16, 3, 2, 90
    FEW = 62

    def setUp(self):
        super().setUp()
        draw = random.Random(5)
        bases = [[[draw.gauss(0, 1) for _ in range(self.FEATURES)] for _ in range(self.DIMENSION)]
                 for _ in range(self.CLUSTERS)]
        values, labels = [], []
        for i in range(self.SAMPLES):
            labels.append(i % self.CLUSTERS)
            factors = [draw.gauss(0, 1) for _ in range(self.DIMENSION)]
            values += [sum(f * b[j] for f, b in zip(factors, bases[labels[-1]])) +
                       draw.gauss(0, 0.02) for j in range(self.FEATURES)]
        values[self.FEATURES * 7:self.FEATURES * 8] = [0.0] * self.FEATURES  # no direction at all
        program.write_npy(self.path("x.npy"), (self.SAMPLES, self.FEATURES), values)
        program.write_npy(self.path("y.npy"), (self.SAMPLES,), labels, "q")

    def options(self, *more):
        return ("--data", self.path("x.npy"), "--labels", self.path("y.npy"), "--clusters",
                self.CLUSTERS, "--landmarks", self.LANDMARKS, "--landmark-draws", 1, "--subspace-dim", self.DIMENSION, *more)

    def pair(self, *more, ranks=2, sites=None, options=None, bound=2e-6, **keywords):
        """Runs on the host and on the device; what they leave must be the same."""
        options = (options or self.options)(*more, "--overwrite")
        self.run_on("cpu", "cluster", *options, ranks=ranks, output="host")
        self.run_on("cuda", "cluster", *options, ranks=ranks, output="device", **keywords)
        self.assert_same("host", "device", more, bound)
        summary = self.summary("device")
        for direction, allowed in SITES.items():
            more_allowed = (sites or {}).get(direction, set())
            self.assertLessEqual(set(summary["transfers"][direction]), allowed | more_allowed)
        return summary

    def assert_same(self, one, other, what, bound=2e-6):
        """The labels; residuals and projections of unit vectors up to a few roundings of a float
        (2^-24), since lengths are summed in another order."""
        self.assertEqual(self.difference("labels.npy", one, other), 0, what)
        self.assertLess(self.difference("residuals.npy", one, other), bound, what)
        self.assertLess(self.difference("embedding.npy", one, other), bound, what)
        metrics, others = (self.summary(output)["metrics"] for output in (one, other))
        self.assertEqual(metrics["accuracy"], others["accuracy"], what)

    def test_labels_are_those_of_the_host_on_any_number_of_ranks(self):
        for ranks in (1, 2, 3, 4):
            summary = self.pair(ranks=ranks)
            self.assertGreater(summary["metrics"]["accuracy"], 0.95)

    def test_whatever_the_rows_and_the_model_are(self):
        for more in (("--affine",), ("--precision", "double", "--no-ablation")):
            self.pair(*more, ranks=3)

    def test_what_crosses_is_what_it_must_be(self):
        summary = self.pair("--no-ablation", ranks=3)
        transfers, passes = summary["transfers"], summary["choices"]["passes"]
        moments = 8 * self.FEATURES**2 * self.CLUSTERS
        # Rows are held there: they cross once.
        self.assertEqual(transfers["to_device"]["rows"]["bytes"],
                         4 * self.SAMPLES * self.FEATURES)
        self.assertEqual(transfers["to_host"]["moments"]["bytes"], passes * moments)
        self.assertEqual(transfers["to_host"]["embedding"]["bytes"],
                         4 * self.SAMPLES * self.CLUSTERS)
        self.assertEqual(transfers["to_host"]["totals of a pass"]["bytes"],
                         passes * 3 * 8 * (self.CLUSTERS + 3))

    def test_more_rows_than_a_piece(self):
        run = program.run("eigenscale-generate", "--kind", "subspaces", "--samples", 70001,
                          "--ambient-dim", 64, "--subspace-dim", 3, "--clusters", 4, "--noise",
                          0.02, "--output", self.path("data"), "--progress", "never", ranks=1)
        self.assertEqual(run.code, 0, run.errors)

        def options(*more):
            return ("--data", self.path("data", "data.npy"), "--labels",
                    self.path("data", "labels.npy"), "--clusters", 4, "--landmarks", 200,
                    "--landmark-draws", 1, "--subspace-dim", 3, "--no-ablation", *more)
        # 4,096 products of floats are one sum (cluster/subspace_sums.cpp), of which each order has
        # other roundings: 2^-24 times the root of their number.
        self.pair(ranks=1, options=options, bound=1e-5)

    def test_new_rows_are_labelled_by_a_model(self):
        self.run_on("cpu", "cluster", *self.options("--affine"), output="model")
        for device in ("cpu", "cuda"):
            self.run_on(device, "cluster", "--data", self.path("x.npy"), "--labels",
                        self.path("y.npy"), "--assign", self.path("model"), ranks=3,
                        output="assigned-" + device)
        self.assert_same("assigned-cpu", "assigned-cuda", "assign")

    def test_an_encoder_is_trained_and_used_there(self):
        encoder = ("--encoder", "mlp", "--encoder-channels", "12,8", "--pretrain-batch", 64,
                   "--pretrain-epochs", 2, "--no-ablation")
        for ranks in (1, 2):
            summary = self.pair(*encoder, "--whiten-features", 0.5, ranks=ranks, sites=ENCODER)
            self.assertIn("directions", summary["transfers"]["to_device"])
        summary = self.pair(*CONVOLUTION, "--no-ablation", sites=ENCODER)
        self.assertEqual(summary["choices"]["whiten_features"], 0, "too few landmarks a cluster")

    def test_features_lie_behind_curves_there(self):
        # Learned on the host, from a sample: the same there and here, to the bit.
        self.pair("--encoder", "curves", "--no-ablation", sites={"to_device": {"encoder"}})

    def test_through_the_memory_of_the_host(self):
        self.pair(devices=1, sites={direction: {"collectives"} for direction in SITES})

    def test_goes_on_from_a_snapshot_of_the_host(self):
        self.run_on("cpu", "cluster", *self.options(), output="whole")
        self.run_on("cpu", "cluster", *self.options("--time-limit", 0.001), code=STOPPED)
        self.run_on("cuda", "cluster", *self.options("--resume"))
        self.assert_same("whole", "run", "resume")

    def few(self, *more):
        """Few samples, whose coefficients are trained."""
        for name, width, code in (("x", self.FEATURES, "f"), ("y", 1, "q")):
            values = program.read_npy(self.path(name + ".npy"))[1][:self.FEW * width]
            shape = (self.FEW, width) if name == "x" else (self.FEW,)
            program.write_npy(self.path(f"few-{name}.npy"), shape, values, code)
        return ("--data", self.path("few-x.npy"), "--labels", self.path("few-y.npy"), "--clusters",
                self.CLUSTERS, "--subspace-dim", self.DIMENSION, "--finetune-steps", 6, *more)

    def losses(self, output):
        """Of every epoch and step."""
        with open(self.path(output, "metrics.jsonl")) as file:
            lines = [json.loads(line) for line in file]
        return [line["loss"] for line in lines if line["phase"] in ("pretrain", "finetune")]

    # A sum of two addends has one order: what one and two ranks compute is the same in every bit.
    def trained_pair(self, *more, ranks):
        options = self.few(*more, *(("--precision", "double") if ranks > 2 else ()), "--overwrite")
        for device, output in (("cpu", "host"), ("cuda", "device")):
            self.run_on(device, "cluster", *options, ranks=ranks, output=output)
        host, device = self.losses("host"), self.losses("device")
        self.assertGreaterEqual(len(host), 6)
        for one, other in zip(host, device, strict=True):
            self.assertAlmostEqual(one, other, delta=0 if ranks <= 2 else 1e-9 * (1 + one))
        self.assertEqual(self.difference("labels.npy"), 0, more)
        self.assertLessEqual(self.difference("embedding.npy"), 0 if ranks <= 2 else 1e-6, more)
        self.assertEqual(self.summary("host")["metrics"], self.summary("device")["metrics"])
        summary = self.summary("device")
        for direction, allowed in SITES.items():
            self.assertLessEqual(set(summary["transfers"][direction]),
                                 allowed | ENCODER[direction] | TRAINED[direction])
        return summary

    def test_trained_coefficients_are_those_of_the_host(self):
        for ranks, more in ((1, CONVOLUTION), (2, CONVOLUTION + ("--norm", "l1")),
                            (3, CONVOLUTION + ("--no-ablation",)), (4, ("--no-ablation",))):
            transfers = self.trained_pair("--self-expression", "full", *more,
                                          ranks=ranks)["transfers"]
            size = 4 if ranks <= 2 else 8
            self.assertEqual(transfers["to_host"]["coefficients"]["bytes"], size * self.FEW**2)

    def test_trained_codes_on_landmarks_are_those_of_the_host(self):
        codes = ("--self-expression", "landmark", "--landmarks", 20)
        for ranks, more in ((2, CONVOLUTION + ("--norm", "l1")), (3, ())):
            transfers = self.trained_pair(*codes, *more, ranks=ranks)["transfers"]
            size = 4 if ranks <= 2 else 8
            self.assertEqual(transfers["to_host"]["coefficients"]["bytes"], size * 20 * self.FEW)

    def test_an_encoder_is_tuned_on_landmarks_there(self):
        sites = {direction: ENCODER[direction] | TRAINED[direction] for direction in SITES}
        self.pair("--self-expression", "full", "--finetune-steps", 4, "--no-ablation",
                  "--whiten-features", 0.5, *CONVOLUTION, sites=sites)
        self.assertEqual(self.losses("host"), self.losses("device"))

    def test_trained_coefficients_go_on_from_a_snapshot_of_the_host(self):
        options = self.few("--self-expression", "full", "--no-ablation", *CONVOLUTION)
        self.run_on("cpu", "cluster", *options, output="whole")
        self.run_on("cpu", "cluster", *options, "--time-limit", 0.001, code=STOPPED)
        self.run_on("cuda", "cluster", *options, "--time-limit", 0.001, "--resume", code=STOPPED)
        self.run_on("cuda", "cluster", *options, "--resume")
        self.assertEqual(self.losses("whole"), self.losses("run"))
        self.assertEqual(self.difference("labels.npy", "whole", "run"), 0)


if __name__ == "__main__":
    program.main()
