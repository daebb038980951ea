"""Every bad input ends all ranks with one message and the documented exit code, and leaves nothing
that looks finished."""

import os
import time

import program

OPTIONS, INPUT, OUTPUT = 2, 3, 6


class BadInput(program.ProgramTest):
    def setUp(self):
        super().setUp()
        self.data = self.path("data.npy")
        self.values, self.labels = program.subspace_points(30)
        program.write_npy(self.data, (30, 12), self.values)

    def refuse(self, code, expected, *options, data=None, output=None, ranks=2, **keywords):
        """Runs eigenscale-cluster with `options` and checks how it ends."""
        output = output or self.path("run")
        begin = time.monotonic()
        run = program.run("eigenscale-cluster", "--data", data or self.data, "--output", output,
                          *(options if "--clusters" in options else ("--clusters", 3, *options)),
                          ranks=ranks, **keywords)
        self.assertEqual(run.code, code, run.errors)
        self.assertEqual(len(run.messages), 1, run.errors)
        for text in expected if isinstance(expected, (list, tuple)) else [expected]:
            self.assertIn(text, run.messages[0])
        self.assertLess(time.monotonic() - begin, 30)
        for name in ("summary.json", "labels.npy", "embedding.npy", "report.html"):
            self.assertFalse(os.path.exists(os.path.join(output, name)), name)

    def test_missing_file(self):
        self.refuse(INPUT, "nowhere.npy", data=self.path("nowhere.npy"))

    def test_directory_instead_of_file(self):
        os.mkdir(self.path("folder.npy"))
        self.refuse(INPUT, ["folder.npy", "director"], data=self.path("folder.npy"))

    def test_unknown_extension(self):
        with open(self.path("data.csv"), "w") as file:
            file.write("1,2\n")
        self.refuse(INPUT, ["data.csv", ".npy"], data=self.path("data.csv"))

    def test_wrong_magic(self):
        with open(self.path("bad.npy"), "wb") as file:
            file.write(b"not a numpy file at all" * 10)
        self.refuse(INPUT, "bad.npy", data=self.path("bad.npy"))

    def test_truncated(self):
        with open(self.path("short.npy"), "wb") as file:
            file.write(program.npy_bytes((30, 12), self.values)[:-100])
        self.refuse(INPUT, "short.npy", data=self.path("short.npy"))

    def test_header_promises_more_than_the_file_holds(self):
        content = program.npy_bytes((30, 12), self.values).replace(b"(30, 12, )", b"(90, 12, )")
        with open(self.path("promise.npy"), "wb") as file:
            file.write(content)
        self.refuse(INPUT, "promise.npy", data=self.path("promise.npy"))

    def test_image_shape_contradicts_data(self):
        self.refuse(INPUT, ["1x5x5", "12"], "--image-shape", "1x5x5", "--encoder", "conv",
                    "--encoder-channels", 3, "--encoder-kernels", 3)

    def test_labels_of_another_length(self):
        program.write_npy(self.path("labels.npy"), (29,), self.labels[:29], "q")
        self.refuse(INPUT, ["29", "30"], "--labels", self.path("labels.npy"))

    def test_not_a_number(self):
        self.values[100] = float("nan")
        program.write_npy(self.data, (30, 12), self.values)
        self.refuse(INPUT, "data.npy")

    def test_infinity_on_the_last_rank(self):
        self.values[-1] = float("inf")
        program.write_npy(self.data, (30, 12), self.values)
        self.refuse(INPUT, "data.npy", ranks=3)

    def test_no_clusters(self):
        self.refuse(OPTIONS, "--clusters", "--clusters", 0)

    def test_more_clusters_than_samples(self):
        self.refuse(INPUT, ["31", "30"], "--clusters", 31)

    def test_constant_data(self):
        # Differ in double precision only.
        program.write_npy(self.data, (30, 12), [1e8 + 1e-4 * i for i in range(360)], "d")
        self.refuse(INPUT, ["constant", "single precision"])

    def test_one_dimension(self):
        program.write_npy(self.data, (30,), self.values[:30])
        self.refuse(INPUT, ["data.npy", "N x 1"])

    def test_all_zero_data(self):
        program.write_npy(self.data, (30, 12), [0.0] * 360)
        self.refuse(INPUT, "constant")

    def test_output_is_a_file(self):
        with open(self.path("file"), "w") as file:
            file.write("here")
        self.refuse(OUTPUT, "file", output=self.path("file"))

    def test_output_is_not_writable(self):
        self.refuse(OUTPUT, "/proc", output="/proc/eigenscale-run")

    def test_unknown_option(self):
        self.refuse(OPTIONS, "--cluster-count", "--cluster-count", 3)

    def test_unknown_key_in_configuration(self):
        with open(self.path("run.ini"), "w") as file:
            file.write("clusterz=3\n")
        self.refuse(OPTIONS, "clusterz", "--config", self.path("run.ini"))

    def test_missing_configuration(self):
        self.refuse(OPTIONS, "none.ini", "--config", self.path("none.ini"))

    def test_malformed_value(self):
        self.refuse(OPTIONS, "--image-shape", "--image-shape", "32")
        self.refuse(OPTIONS, "--norm", "--norm", "l3")
        self.refuse(OPTIONS, "--preset", "--preset", "mnist")

    def test_grid_that_does_not_fit(self):
        self.refuse(OPTIONS, "3x2", "--grid", "3x2")

    def test_cuda_without_a_gpu(self):
        self.refuse(OPTIONS, "--device cuda", "--device", "cuda")

    def test_generating_into_a_finished_run_or_on_a_gpu(self):
        os.makedirs(self.path("run"))
        with open(self.path("run/summary.json"), "w") as file:
            file.write("{}")
        for options, expected in ((["--output", self.path("run")], "holds a finished run"),
                                  (["--output", self.path("new"), "--device", "cuda"], "--device cuda")):
            run = program.run("eigenscale-generate", "--samples", 40, *options, ranks=2)
            self.assertEqual(run.code, OPTIONS, run.errors)
            self.assertEqual(len(run.messages), 1, run.errors)
            self.assertIn(expected, run.messages[0])
        self.assertEqual(os.listdir(self.path("run")), ["summary.json"])
        self.assertFalse(os.path.exists(self.path("new")))

    def test_missing_data_option(self):
        run = program.run("eigenscale-cluster", "--clusters", 3, "--output", self.path("run"))
        self.assertEqual(run.code, OPTIONS)
        self.assertIn("--data", run.messages[0])

    def test_pretrained_weights_of_another_network(self):
        self.need_data()
        self.refuse(INPUT, "coil20-pretrained", "--preset", "orl", "--clusters", 40,
                    "--pretrained", os.path.join(program.DATA, "coil20-pretrained.safetensors"),
                    data=os.path.join(program.DATA, "orl.npy"))

    def test_launcher_that_disagrees_with_the_world(self):
        run = program.run("eigenscale-cluster", "--help", launcher=False,
                          environment={"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "0"})
        self.assertEqual(run.code, OPTIONS, run.errors)
        self.assertIn("4 tasks", run.messages[0])

    def test_help_is_printed_once(self):
        run = program.run("eigenscale-cluster", "--help", ranks=3)
        self.assertEqual(run.code, 0)
        self.assertEqual(run.output.count("--affinity-power"), 1)


class LegalOddities(program.ProgramTest):
    def test_more_ranks_than_samples(self):
        program.write_npy(self.path("data.npy"), (3, 12), program.subspace_points(3)[0])
        run = program.run("eigenscale-cluster", "--data", self.path("data.npy"), "--clusters", 2,
                          "--output", self.path("run"), ranks=4)
        self.assertEqual(run.code, 0, run.errors)
        shape, labels = program.read_npy(self.path("run/labels.npy"))
        self.assertEqual(shape, (3,))
        self.assertEqual(labels[0], 0)

    def test_some_samples_of_zeros(self):
        values, _ = program.subspace_points(30)
        values[:24] = [0.0] * 24
        program.write_npy(self.path("data.npy"), (30, 12), values)
        run = program.run("eigenscale-cluster", "--data", self.path("data.npy"), "--clusters", 3,
                          "--output", self.path("run"))
        self.assertEqual(run.code, 0, run.errors)
        self.assertIn("2 samples", run.errors)  # a warning names how many are isolated

    def test_finished_run_is_refused_then_overwritten(self):
        values, _ = program.subspace_points(30)
        program.write_npy(self.path("data.npy"), (30, 12), values)
        options = ("--data", self.path("data.npy"), "--clusters", 3, "--output", self.path("run"))
        self.assertEqual(program.run("eigenscale-cluster", *options).code, 0)
        again = program.run("eigenscale-cluster", *options)
        self.assertEqual(again.code, OPTIONS, again.errors)
        self.assertEqual(len(again.messages), 1, again.errors)
        self.assertIn("--overwrite", again.messages[0])
        self.assertEqual(program.run("eigenscale-cluster", *options, "--overwrite").code, 0)


if __name__ == "__main__":
    program.main()
