"""Every program starts, and does its smallest real work on one rank; what a build has not been given
is refused by name. The one test of the programs that runs without the optional dependencies."""

import json
import os
import unittest.mock

import program
import training

OPTIONS, INPUT = 2, 3
PROGRAMS = ("bench", "cluster", "compress", "generate", "info", "report", "train", "whiten")


class EveryProgram(training.TrainingTest):
    def call(self, name, *options, code=0):
        run = program.run(f"eigenscale-{name}", *options, ranks=1)
        self.assertEqual(run.code, code, run.errors)
        return run

    def finished(self, folder):
        with open(self.path(folder + "/summary.json")) as file:
            summary = json.load(file)
        self.assertTrue(os.path.exists(self.path(folder + "/report.html")))
        return summary

    def features(self):
        """What eigenscale-info says of this build."""
        lines = self.call("info").output.splitlines()
        return {line[:24].strip(): line[24:].strip() for line in lines if line.startswith("  ")}

    def test_help_and_version(self):
        for name in PROGRAMS:
            with self.subTest(name):
                self.assertIn("--version", self.call(name, "--help").output)
                self.assertIn(f"eigenscale-{name} ", self.call(name, "--version").output)

    def run_where_only(self, variables, name, *options, **more):
        """A program where nothing but `variables` says what threads do."""
        with unittest.mock.patch.dict(os.environ):
            for other in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OMP_PLACES",
                          "OMP_PROC_BIND"):
                os.environ.pop(other, None)
            run = program.run(name, *options, environment=variables, **more)
        self.assertEqual(run.code, 0, run.errors)
        return run.output

    def info(self, variables, launcher=True, ranks=2):
        return self.run_where_only(variables, "eigenscale-info", ranks=ranks, launcher=launcher)

    def test_idle_threads_sleep_unless_the_user_says_how_they_wait(self):
        for variables, expected in (({"OMP_NUM_THREADS": "2"}, "OMP_WAIT_POLICY=passive"),
                                    ({"OMP_NUM_THREADS": "1"}, "as OpenMP has them"),
                                    ({"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "active"},
                                     "OMP_WAIT_POLICY=active"),
                                    ({"OMP_NUM_THREADS": "2", "GOMP_SPINCOUNT": "100"},
                                     "GOMP_SPINCOUNT=100")):
            # What the launcher says must outlive the second start.
            for launcher, ranks in ((True, 2), (False, 1)):
                output = self.info(variables, launcher, ranks)
                for name, value in (("idle threads", expected), ("ranks", ranks),
                                    ("threads per rank", variables["OMP_NUM_THREADS"])):
                    self.assertIn(f"  {name:22}{value}\n", output)

    def test_a_second_start_leaves_threads_where_they_may_be(self):
        # OpenMP binds the first thread to the first of its places before main; the second start is to
        # see all of them, as one start does.
        if len(os.sched_getaffinity(0)) < 2:
            self.skipTest("needs two processors")
        pinned = {"OMP_NUM_THREADS": "2", "OMP_PLACES": "threads", "OMP_PROC_BIND": "close"}
        once = self.info({**pinned, "OMP_WAIT_POLICY": "passive"}, ranks=1)
        again = self.info(pinned, ranks=1)
        places = [line for line in once.splitlines() if "OpenMP processors" in line]
        self.assertGreater(int(places[0].split()[-1]), 1)
        self.assertIn(places[0] + "\n", again)

    def test_a_program_that_starts_again_has_its_arguments(self):
        folder = self.path("two words")
        self.run_where_only({"OMP_NUM_THREADS": "2"}, "eigenscale-generate", "--samples", 40,
                            "--clusters", 2, "--output", folder)
        with open(os.path.join(folder, "environment.json"), encoding="utf-8") as file:
            ranks = json.load(file)["ranks"]
        self.assertEqual([rank["idle_threads"] for rank in ranks], ["OMP_WAIT_POLICY=passive"] * 2)

    def test_bench(self):
        run = self.call("bench", "--suite", "gemm", "--size", 40, "--repeats", 2, "--turn-seconds", 0,
                        "--check", "--output", self.path("bench"))
        lines = [json.loads(line) for line in run.output.splitlines()]
        self.assertEqual(sorted({line["repeat"] for line in lines}), [0, 1])
        with open(self.path("bench/metrics.jsonl")) as file:
            self.assertEqual([json.loads(line) for line in file], lines)
        with open(self.path("bench/summary.json")) as file:
            self.assertIn("multiply 40", json.load(file)["metrics"])
        self.assertIn("multiply ", run.errors)
        self.call("bench", "--suite", "none", code=OPTIONS)
        self.call("bench", "--suite", "gemm", "--size", "3x4", code=OPTIONS)

    def test_generate_cluster_whiten_report(self):
        self.call("generate", "--samples", 40, "--ambient-dim", 12, "--subspace-dim", 2,
                  "--clusters", 3, "--noise", 0, "--output", self.path("data"))
        data = self.path("data/data.npy")
        for method in ("full", "closed-form"):
            self.call("cluster", "--data", data, "--labels", self.path("data/labels.npy"),
                      "--clusters", 3, "--subspace-dim", 2, "--self-expression", method,
                      "--output", self.path(method))
            self.assertEqual(self.finished(method)["ranks"], 1)
        # Points of planes without noise express each other within their plane only. (Post-processing
        # cuts the closed form, whose equal eigenvalues leave the vectors to rounding.)
        self.assertEqual(self.finished("full")["metrics"]["accuracy"], 1)
        of_closed_form = self.finished("closed-form")["metrics"]["without_post_processing"]
        self.assertEqual(of_closed_form["accuracy"], 1)
        self.call("whiten", "--data", data, "--check", "--output", self.path("white"))
        # Of the order n 2^-52 in double; the whitened samples are rounded to single precision.
        self.assertLess(self.finished("white")["metrics"]["covariance_error"], 1e-4)
        self.assertIn("closed-form", self.call("report", self.path("full"),
                                               self.path("closed-form")).output)

    def test_train_and_compress(self):
        self.train("--epochs", 2, ranks=1)
        self.call("compress", "--model", self.path("run"), "--keep-neurons", 0.5, "--output",
                  self.path("small"))
        parameters = self.finished("small")["metrics"]["parameters"]
        self.assertLess(parameters, self.finished("run")["metrics"]["parameters"])

    def test_what_this_build_has_not_is_refused_by_name(self):
        features = self.features()
        absent = "not in this build"
        program.write_npy(self.path("x.npy"), (4, 2), [0.0, 1, 2, 0, 3, 1, 4, 5])
        if features["HDF5"] == absent:
            run = self.call("whiten", "--data", self.path("x.npy"), "--format", "h5", "--output",
                            self.path("white"), code=OPTIONS)
            self.assertIn("HDF5", run.messages[0])
            run = self.call("whiten", "--data", self.path("x.h5") + ":x", "--format", "npy",
                            "--output", self.path("white"), code=INPUT)
            self.assertIn("built without HDF5", run.messages[0])
        if features["ONNX export"] == absent:
            self.train("--epochs", 1, ranks=1)
            run = self.call("compress", "--model", self.path("run"), "--export", "onnx", "--output",
                            self.path("small"), code=OPTIONS)
            self.assertIn("--export", run.messages[0])  # --help lists only what is built
        if "ScaLAPACK" not in features["eigensolvers"]:
            run = program.run("eigenscale-whiten", "--data", self.path("x.npy"), "--output",
                              self.path("white"), ranks=2)
            self.assertEqual(run.code, OPTIONS, run.errors)
            self.assertIn("ScaLAPACK", run.messages[0])


if __name__ == "__main__":
    program.main()
