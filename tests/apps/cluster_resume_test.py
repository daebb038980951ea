"""eigenscale-cluster is killed in every phase and between passes or steps, or asked to stop: what it
left goes on to the same bytes as a run that nobody interrupts."""

import json
import os
import shutil
import signal
import subprocess
import time

import program
import training

class ResumeTest(program.ProgramTest):
    RESULTS = ("labels.npy", "embedding.npy", "metrics.jsonl")

    def generate(self, samples, *options):
        run = program.run("eigenscale-generate", "--samples", samples, *options, "--output",
                          self.path("data"), ranks=1)
        self.assertEqual(run.code, 0, run.errors)

    def options(self, *more, output="run"):
        return ["--data", self.path("data/data.npy"), "--labels", self.path("data/labels.npy"),
                *self.OPTIONS, "--output", self.path(output), *more]

    def cluster(self, *more, output="run", ranks=2, code=0, **keywords):
        run = program.run("eigenscale-cluster", *self.options(*more, output=output), ranks=ranks,
                          launcher=ranks > 1, **keywords)
        self.assertEqual(run.code, code, run.errors)
        return run

    def start(self, *more, ranks=2):
        launcher = [program.MPIEXEC, "--oversubscribe", "--bind-to", "none", "-np", str(ranks)]
        command = [os.path.join(program.APPS, "eigenscale-cluster"),
                   *map(str, self.options(*more))]
        with open(self.path("log"), "w") as log:
            job = subprocess.Popen((launcher if ranks > 1 else []) + command, stdout=log,
                                   stderr=log, start_new_session=True)
        self.addCleanup(training.end, job)
        return job

    def log(self):
        with open(self.path("log")) as file:
            return file.read()

    def parts(self, output="run"):
        folder = self.path(output, "checkpoints")
        names = os.listdir(folder) if os.path.isdir(folder) else []
        return sorted(name for name in names if name.startswith("part-"))

    def wait_for(self, job, condition, seconds=240):
        """Until then, or until the job is over."""
        limit = time.monotonic() + seconds
        while not condition() and job.poll() is None:
            self.assertLess(time.monotonic(), limit, "waited in vain:\n" + self.log())
            time.sleep(0.0005)

    def kill(self, moment, rank, ranks, *more):
        """Goes on, and kills a rank when a phase begins or, for a number, so many snapshots later. A
        run that ends before the signal comes is put back, and tried again."""
        for _ in range(10):
            shutil.rmtree(self.path("before"), ignore_errors=True)
            if os.path.isdir(self.path("run")):
                shutil.copytree(self.path("run"), self.path("before"), symlinks=True)
            if self.killed(moment, rank, ranks, *more):
                return
            shutil.rmtree(self.path("run"))
            if os.path.isdir(self.path("before")):
                shutil.move(self.path("before"), self.path("run"))
        self.fail(f"ended ten times before it could be killed at {moment}")

    def killed(self, moment, rank, ranks, *more):
        before = self.parts()[-1] if self.parts() else "part-"
        if os.path.exists(self.path("run/environment.json")):
            os.remove(self.path("run/environment.json"))
        job = self.start("--resume", *more, ranks=ranks)
        self.wait_for(job, lambda: os.path.exists(self.path("run/environment.json")))
        self.assertIn(job.poll(), (None, 0), self.log())
        with open(self.path("run/environment.json")) as file:
            process = json.load(file)["ranks"][rank]["process"]
        if isinstance(moment, int):
            seen = set()

            def come():
                seen.update(name for name in self.parts() if name > before)
                return len(seen) >= moment
        else:
            def come():
                return f"{moment} ..." in self.log()
        self.wait_for(job, come)
        if job.poll() is None:
            os.kill(process, signal.SIGKILL)
        else:
            self.assertEqual(job.poll(), 0, self.log())
        code = job.wait(240)
        # The summary is what a run writes last.
        if os.path.exists(self.path("run/summary.json")):
            return False
        self.assertNotEqual(code, 0)
        return True

    def interrupt(self, ranks, *moments):
        """Kills one rank and another at these moments; the run then ends as one that was not."""
        self.cluster(output="whole", ranks=ranks)
        for i, moment in enumerate(moments):
            with self.subTest(moment=moment, ranks=ranks):
                self.kill(moment, i % ranks, ranks)
        last = self.cluster("--resume", ranks=ranks)
        self.assertIn("going on from", last.errors)
        self.same_as("whole")
        return last

    def same_as(self, whole, output="run"):
        for name in self.RESULTS:
            with open(self.path(whole, name), "rb") as a, open(self.path(output, name), "rb") as b:
                self.assertEqual(a.read(), b.read(), name)
        summaries = []
        for folder in (whole, output):
            with open(self.path(folder, "summary.json")) as file:
                summaries.append(json.load(file))
        for part in ("metrics", "choices", "warnings"):
            self.assertEqual(summaries[0][part], summaries[1][part])

    def stop(self, *more, ranks=2):
        run = self.cluster("--resume", "--time-limit", 1e-3, *more, ranks=ranks, code=75)
        self.assertRegex(run.errors, "stopped on request .*--resume goes on")
        self.assertFalse(os.path.exists(self.path("run/summary.json")))
        return run


class Landmarks(ResumeTest):
    # Noise and a given dimension make it refine for tens of passes.
    OPTIONS = ["--clusters", 5, "--landmarks", 600, "--landmark-draws", 2, "--no-ablation",
               "--affine", "--whiten-features", 0.5, "--subspace-dim", 4, "--checkpoint-interval", 0,
               "--progress", "never"]
    RESULTS = (*ResumeTest.RESULTS, "residuals.npy", "subspaces.safetensors")

    def setUp(self):
        super().setUp()
        self.generate(6000, "--ambient-dim", 12, "--subspace-dim", 4, "--clusters", 5, "--noise",
                      0.3)

    def test_killed_on_one_rank(self):
        last = self.interrupt(1, "read", "landmarks", "landmark_subspaces", "refine", 2, 3, 2,
                              "write")
        self.assertNotIn("landmarks ...", last.errors)

    def test_killed_on_two_ranks(self):
        self.interrupt(2, "landmarks", "refine", 2, "write")

    def test_stopped_again_and_again(self):
        self.cluster(output="whole", ranks=1)
        # Each of them finishes a round of starts, or a pass.
        stops = 0
        while "refine" not in self.stop(ranks=1).errors:
            stops += 1
            self.assertLess(stops, 10)
        for _ in range(3):
            self.stop(ranks=1)
        with open(self.path("run/metrics.jsonl")) as file:
            passes = [json.loads(line)["pass"] for line in file]
        self.assertEqual(passes, [1, 2, 3, 4])
        # Another number of ranks goes on, too; one ends to the bit as if nothing had been.
        shutil.copytree(self.path("run"), self.path("other"))
        self.cluster("--resume", ranks=1)
        self.same_as("whole")
        self.cluster("--resume", output="other", ranks=3)
        _, labels = program.read_npy(self.path("whole/labels.npy"))
        _, others = program.read_npy(self.path("other/labels.npy"))
        agree = sum(a == b for a, b in zip(labels, others)) / len(labels)
        self.assertGreater(agree, 0.99)  # sums in another order: 1e-7 of the bases

        # A finished run is finished; it can be resumed, which changes nothing.
        self.cluster(code=2, ranks=1)
        self.cluster("--resume", ranks=1)
        self.same_as("whole")

    def test_signals_stop_it(self):
        # Rows enough that it cannot be over before the signal.
        self.cluster(output="whole")
        for number in (signal.SIGUSR1, signal.SIGTERM):
            job = self.start("--resume", ranks=1)
            self.wait_for(job, lambda: "landmarks ..." in self.log() or "refine ..." in self.log())
            os.kill(job.pid, number)
            self.assertEqual(job.wait(240), 75, self.log())
            self.assertIn("stopped on request", self.log())
        job = self.start("--resume", ranks=2)
        self.wait_for(job, lambda: "refine ..." in self.log())
        os.kill(job.pid, signal.SIGUSR1)  # mpirun passes it on
        code = job.wait(240)
        self.assertEqual(code, 75, self.log())
        self.cluster("--resume", ranks=2)
        with open(self.path("run/summary.json")) as file:
            self.assertIn("refine", json.load(file)["seconds"])

    def test_another_run_and_damage(self):
        self.stop(ranks=1)
        self.stop(ranks=1)
        self.assertEqual(len(self.parts()), 2)
        self.cluster(code=2, ranks=1)  # checkpoints of an unfinished run
        for option, value, word in (("--seed", 2, "seed"), ("--threshold", 0.3, "threshold"),
                                    ("--landmarks", 500, "self-expression")):
            options = self.options("--resume")
            if option in options:
                at = options.index(option)
                del options[at:at + 2]
            run = program.run("eigenscale-cluster", *options, option, value, ranks=1,
                              launcher=False)
            self.assertEqual(run.code, 3, run.errors)
            self.assertEqual(len(run.messages), 1, run.errors)
            self.assertRegex(run.messages[0], f"another run: it has {word}")
        shape, values = program.read_npy(self.path("data/data.npy"))
        program.write_npy(self.path("fewer.npy"), (5000, 12), values[:5000 * 12])
        run = program.run("eigenscale-cluster", "--data", self.path("fewer.npy"), *self.OPTIONS,
                          "--output", self.path("run"), "--resume", ranks=1, launcher=False)
        self.assertEqual(run.code, 3, run.errors)
        self.assertRegex(run.messages[0], "it has samples 6000, but now it is 5000")

        newest = self.path("run/checkpoints", self.parts()[-1])
        with open(os.path.join(newest, "tensors.safetensors"), "r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"\x55")
        run = self.cluster("--resume", code=3)
        self.assertRegex(run.messages[0], "tensors.safetensors' is damaged.*remove '.*part-")
        shutil.rmtree(newest)
        self.assertRegex(self.cluster("--resume", ranks=1).errors, "going on from .*part-")


class LandmarksOfAnyDimension(ResumeTest):
    # Which does not stand out here: refinement is short.
    OPTIONS = ["--clusters", 5, "--landmarks", 600, "--landmark-draws", 2, "--no-ablation",
               "--checkpoint-interval", 0, "--progress", "never"]
    RESULTS = Landmarks.RESULTS

    def test_killed_on_two_ranks(self):
        self.generate(6000, "--ambient-dim", 12, "--subspace-dim", 4, "--clusters", 5, "--noise",
                      0.3)
        self.interrupt(2, "dimension", "landmark_subspaces", "refine", "write")
        with open(self.path("run/summary.json")) as file:
            self.assertFalse(json.load(file)["choices"]["subspace_dim_stands_out"])


class Curves(ResumeTest):
    OPTIONS = ["--clusters", 3, "--landmarks", 200, "--landmark-draws", 1, "--encoder", "curves",
               "--subspace-dim", 2, "--no-ablation", "--checkpoint-interval", 0, "--progress",
               "never"]
    RESULTS = (*ResumeTest.RESULTS, "subspaces.safetensors")

    def test_killed_between_rounds(self):
        self.generate(1500, "--kind", "nonlinear", "--ambient-dim", 5, "--subspace-dim", 2,
                      "--clusters", 3)
        self.interrupt(2, "curves", 1, "landmarks", "refine")


class Coefficients(ResumeTest):
    """The paper's network: coefficients over all samples."""
    OPTIONS = ["--clusters", 3, "--self-expression", "full", "--encoder", "mlp",
               "--encoder-channels", "8,6", "--pretrain-epochs", 20, "--finetune-steps", 25,
               "--checkpoint-interval", 0, "--progress", "never"]

    def setUp(self):
        super().setUp()
        self.generate(150, "--ambient-dim", 12, "--subspace-dim", 3, "--clusters", 3, "--noise",
                      0.02)

    def test_killed_on_one_rank(self):
        self.interrupt(1, "read", "pretrain", "baselines", "finetune", 4, 6,
                       "without_post_processing", "affinity", "embedding", "write")

    def test_killed_on_two_ranks(self):
        self.interrupt(2, "pretrain", 3, "finetune", 4)

    def test_stopped_again_and_again(self):
        for batch, ranks in ((0, 1), (32, 2)):  # of the full batch, and by the trainer
            with self.subTest(batch=batch):
                more = ("--pretrain-batch", batch)
                whole = f"whole-{batch}"
                self.cluster(*more, output=whole, ranks=ranks)
                shutil.rmtree(self.path("run"), True)
                for _ in range(2):
                    self.assertIn("pretrain ...", self.stop(*more, ranks=ranks).errors)
                self.kill("finetune", 0, ranks, *more)
                self.assertNotIn("pretrain ...", self.stop(*more, ranks=ranks).errors)
                self.cluster(*more, "--resume", ranks=ranks)
                self.same_as(whole)

    def test_other_numbers_of_ranks_go_on_in_double(self):
        double = ("--precision", "double")
        self.cluster(*double, output="whole", ranks=1)
        self.kill("finetune", 2, 3, *double)
        self.stop(*double, ranks=2)
        self.cluster(*double, "--resume", ranks=4)
        _, labels = program.read_npy(self.path("whole/labels.npy"))
        _, others = program.read_npy(self.path("run/labels.npy"))
        self.assertEqual(labels, others)


class Mixtures(ResumeTest):
    """Coefficients that are trained for landmarks only, or of all samples on landmarks."""
    OPTIONS = ["--clusters", 3, "--landmarks", 60, "--encoder", "mlp", "--encoder-channels", "8,6",
               "--pretrain-epochs", 4, "--finetune-steps", 12, "--checkpoint-interval", 0,
               "--no-ablation", "--progress", "never"]

    def setUp(self):
        super().setUp()
        self.generate(200, "--ambient-dim", 12, "--subspace-dim", 3, "--clusters", 3, "--noise",
                      0.02)

    def test_codes_on_landmarks(self):
        self.OPTIONS = [*self.OPTIONS, "--self-expression", "landmark"]
        self.interrupt(1, "pretrain", "finetune", 4, "embedding", "write")

    def test_landmarks_tuned_with_the_encoder(self):
        self.OPTIONS = [*self.OPTIONS, "--self-expression", "full"]
        self.RESULTS = (*self.RESULTS, "subspaces.safetensors")
        self.interrupt(1, "pretrain", "finetune", 4, "affinity", "landmarks", "refine")


if __name__ == "__main__":
    program.main()
