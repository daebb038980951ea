"""eigenscale-train --device cuda with the double of a device in the place of a GPU."""

import json
import os

import on_device
import program
import training

OPTIONS, STOPPED = 2, 75
# What may cross between host and device.
SITES = {
    "to_device": {"network", "batch", "evaluation", "files"},
    "to_host": {"loss", "gradient norm", "evaluation", "checks", "model", "files"}}
# Beside these, where there is such an option or value of one: small eigenproblems go through the
# host, ranks agree on numbers, and it is the host that goes on by what a number is.
MORE_SITES = {
    "zca": {"eigenproblems", "eigenvalues", "normalisation"},
    "pca-denoise": {"eigenproblems", "denoising", "scalars"},
    "--group-sparsity": {"penalties"},
    "--communicator": {"collectives"}}


class TrainOnDevice(training.TrainingTest):
    def train(self, *more, output="run", ranks=2, code=0, devices=4, **keywords):
        run = program.run(on_device.double("train"),
                          *training.last_of_each(self.options(*more, output=output)), ranks=ranks,
                          environment=on_device.environment(devices), **keywords)
        self.assertEqual(run.code, code, run.errors)
        return run

    def losses(self, output):
        return [line["loss"] for line in self.metrics(output) if line["phase"] == "train"]

    def pair(self, *more, ranks=2, devices=4):
        """The losses of a run on the host and of one on the device, and their models."""
        self.train(*more, "--overwrite", output="host", ranks=ranks)
        self.train(*more, "--overwrite", "--device", "cuda", output="device", ranks=ranks,
                   devices=devices)
        for direction, allowed in SITES.items():
            allowed = allowed.union(*(MORE_SITES.get(option, set()) for option in more))
            self.assertLessEqual(set(self.summary("device")["transfers"][direction]), allowed)
        return (self.losses("host"), self.losses("device"),
                self.model("host") == self.model("device"))

    # A sum of two addends has one order: what one and two ranks compute is the same in every bit.
    def test_one_and_two_ranks_compute_what_the_host_does(self):
        for ranks in (1, 2):
            for more in ((), ("--optimizer", "adam", "--learning-rate", 0.01,
                              "--sharded-optimizer", "--normalization", "none"),
                         ("--micro-batch", 16, "--gradient-type", "bfloat16")):
                host, device, same_model = self.pair("--epochs", 2, *more, ranks=ranks)
                self.assertEqual(host, device, (ranks, more))
                self.assertTrue(same_model, (ranks, more))

    def test_more_ranks_differ_by_the_order_of_sums_only(self):
        for ranks in (3, 4):
            host, device, same_model = self.pair("--deterministic", "--normalization", "none",
                                                 "--epochs", 2, ranks=ranks)
            self.assertEqual(host, device)
            self.assertTrue(same_model)
            host, device, _ = self.pair("--precision", "double", "--epochs", 2, ranks=ranks)
            for a, b in zip(host, device, strict=True):
                self.assertAlmostEqual(a, b, delta=1e-9 * (1 + a))

    def test_what_lies_behind_a_layer_or_a_step_is_the_same_on_the_device(self):
        for more in (("--precision", "bfloat16"),
                     ("--normalization", "zca"),
                     ("--normalization", "zca", "--gradient-rule", "taylor", "--groups", 2),
                     ("--normalization", "pca-denoise"),
                     ("--group-sparsity", 1e-2, "--nuclear-norm", 1e-2, "--prox-every", 3),
                     ("--group-sparsity", 1e-2, "--nuclear-norm", 1e-2, "--prox-exact"),
                     ("--group-sparsity", 5e-2, "--prox-every", 2, "--shrink-every", 1)):
            host, device, same_model = self.pair("--epochs", 2, *more)
            self.assertEqual(host, device, more)
            self.assertTrue(same_model, more)

    def test_says_where_eigenproblems_are_solved(self):
        run = self.train("--device", "cuda", "--normalization", "zca", "--epochs", 1)
        self.assertIn("eigenproblems of fewer than 160 channels go through the host", run.errors)
        run = self.train("--device", "cuda", "--epochs", 1, "--overwrite")
        self.assertNotIn("eigenproblems", run.errors)

    def test_says_which_gpu_each_rank_has(self):
        run = self.train("--device", "cuda", "--epochs", 1)
        for text in ("rank 0: GPU 0 of", "rank 1: GPU 1 of", "PCI 0000:10:00.0",
                     "tensors travel by NCCL"):
            self.assertIn(text, run.errors)
        self.assertEqual(self.summary()["device"], "cuda")
        self.assertIn("rank 1: GPU 1", self.summary()["choices"]["devices"])

    def test_gradients_travel_while_backward_computes(self):
        self.train("--device", "cuda", "--epochs", 1, "--trace", "--first-bucket", 0.0001,
                   "--bucket", 0.0001)
        with open(self.path("run/trace.json")) as file:
            events = json.load(file)["traceEvents"]
        backward = [(e["ts"], e["ts"] + e["dur"]) for e in events
                    if e.get("name") == "backward" and e["pid"] == 0]
        begun = [e["ts"] for e in events
                 if e.get("name") == "gradient bucket" and e["pid"] == 0 and e["ph"] == "b"]
        within = [t for t in begun if any(begin < t < end for begin, end in backward)]
        self.assertTrue(backward)
        # The first steps do not know the order of readiness yet.
        self.assertGreater(len(within), len(begun) / 2)

    def test_through_the_memory_of_the_host(self):
        host, device, same_model = self.pair("--communicator", "auto", devices=1)
        self.assertEqual(host, device)
        self.assertTrue(same_model)
        (warning,) = [w for w in self.summary("device")["warnings"] if "share" in w]
        self.assertIn("ranks 0 and 1 share the GPU at PCI 0000:00:00.0", warning)
        run = self.train("--device", "cuda", "--communicator", "mpi", output="mpi")
        self.assertIn("tensors travel by MPI", run.errors)
        self.assertEqual(self.losses("mpi"), host)

    def test_goes_on_from_a_checkpoint_of_the_host(self):
        self.train(output="whole")
        self.train("--time-limit", 0.001, code=STOPPED)
        self.train("--resume", "--device", "cuda")
        self.assertEqual(self.model("run"), self.model("whole"))

    def test_what_cannot_be_is_refused(self):
        for more, text in ((("--communicator", "nccl"), "ranks 0 and 1 share"),
                           (("--communicator", "nccl", "--precision", "double"), "share")):
            run = self.train("--device", "cuda", *more, code=OPTIONS, devices=1)
            self.assertIn(text, run.errors)
            self.assertFalse(os.path.exists(self.path("run")), more)
        run = self.train("--communicator", "nccl", code=OPTIONS)
        self.assertIn("--communicator nccl needs --device cuda", run.errors)
        run = self.train("--tf32", code=OPTIONS)
        self.assertIn("--tf32 needs --device cuda", run.errors)


if __name__ == "__main__":
    program.main()
