"""job-scripts/slurm/run.sbatch under a real Slurm of two pretend nodes: stopped by the time limit,
queued again, going on to the same weights as a run that nobody interrupts."""

import glob
import os
import re
import shutil
import signal
import time

import training
from training import program

SLURM = training.tool("slurm-local.sh", "slurmctld", "slurmd", "munged", "sbatch", "ip")
SCRIPT = os.path.realpath(os.path.join(os.path.dirname(__file__),
                                       "../../job-scripts/slurm/run.sbatch"))
os.environ["SLURM_LOCAL_NET"] = "1"
ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY")


class SlurmTest(program.ProgramTest):
    @classmethod
    def setUpClass(cls):
        folder = training.fresh_folder("slurm", cls.stop)
        cls.addClassCleanup(shutil.rmtree, folder, True)
        cls.addClassCleanup(cls.stop, folder)
        os.environ["SLURM_LOCAL_DIR"] = cls.cluster = os.path.join(folder, "slurm")
        training.call(SLURM, "start", 2)
        cls.environment = dict(re.findall(r"(\w+)=(\S+)", training.call(SLURM, "env")))
        cls.environment.update(EIGENSCALE_BIN=os.path.realpath(program.APPS), OMP_NUM_THREADS="1")

    @classmethod
    def stop(cls, folder):
        """Ends the Slurm of this test, or that which a killed one has left in its folder."""
        # A job may still be ending; a second call finds nothing to do.
        training.call(SLURM, "stop", timeout=120,
                      environment={"SLURM_LOCAL_DIR": os.path.join(folder, "slurm")})

    def setUp(self):
        super().setUp()
        self.options = training.write_data(self.folder)
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.folder)  # where Slurm writes the log

    def slurm(self, *command, **environment):
        return training.call(SLURM, "exec", *command,
                             environment={**self.environment, **environment})

    def submit(self, *options, sbatch=("-N2", "-n2"), name="eigenscale-train", **environment):
        job = self.slurm("sbatch", "--parsable", *sbatch, SCRIPT, name, *options, **environment)
        self.addCleanup(self.slurm, "scancel", job.strip())
        return job.strip()

    def log(self, job):
        path = f"eigenscale-{job}.out"
        return training.read(path).decode() if os.path.exists(path) else ""

    def field(self, job, name):
        return re.search(rf"\b{name}=(\S+)", self.slurm("scontrol", "show", "job", job))[1]

    def slow_cable(self):
        """Slows the network of node n1 until the test ends; 0 where that could be done."""
        hosts = os.path.join(training.TOOLS, "netns-hosts.sh")
        settings = {"HOSTS_DIR": os.path.join(self.cluster, "hosts.d"), "HOSTS_PREFIX": "n"}
        self.addCleanup(training.call, hosts, "limit", "n1", "off", environment=settings, check=False)
        return training.call(hosts, "limit", "n1", "50mbit", "256kb", environment=settings,
                             check=False)

    def wait(self, job, holds, what, seconds):
        end = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > end:
                self.fail(f"job {job} {what} not within {seconds} s: {self.explain(job)}")
            time.sleep(0.5)

    def explain(self, job):
        return self.slurm("scontrol", "show", "job", job) + "\nlog:\n" + self.log(job)

    def wait_for_end(self, job, state, code, seconds=120):
        self.wait(job, lambda: self.field(job, "JobState") in ENDED, "ended", seconds)
        self.assertEqual((self.field(job, "JobState"), self.field(job, "ExitCode")),
                         (state, f"{code}:0"), self.explain(job))
        return self.log(job)

    def test_time_limit_restart_and_same_weights(self):
        # Slurm signals 25 to 55 s before the end of a minute, so 5 to 35 s after the start: long
        # before the end of a training that takes 45 s. It is the cable that makes it last so long,
        # where that can be: each step sums 2.4 MB, which take 0.38 s both ways at 50 Mbit/s. One
        # host needs a tenth of that.
        if self.slow_cable() == 0:
            epochs = round(45 / 0.38 * training.BATCH / training.SAMPLES)
        else:
            epochs = training.epochs_for(45, self.options, self.folder)
        options = [*self.options, "--epochs", epochs]
        whole = program.run("eigenscale-train", *options, "--output", "whole", timeout=600)
        self.assertEqual(whole.code, 0, whole.errors)

        job = self.submit(*options, "--output", "parts",
                          sbatch=("-N2", "-n2", "--time=1", "--signal=B:USR1@25"))
        log = self.wait_for_end(job, "COMPLETED", 0, seconds=900)
        stops = log.count("stopped on request after step")
        self.assertGreaterEqual(stops, 1, log)
        # A signal that comes in the last step finds nothing left to stop.
        self.assertIn(log.count("got SIGUSR1") - stops, (0, 1), log)
        self.assertEqual(log.count("queueing the job again"), stops, log)
        self.assertEqual(log.count("going on from"), stops, log)
        self.assertEqual(self.field(job, "Restarts"), str(stops), log)
        self.assertEqual(training.hosts("parts"), ["n1", "n2"], log)
        self.assertEqual(training.model("parts"), training.model("whole"), log)

    def test_clustering_is_signalled_queued_again_and_ends_with_the_same_labels(self):
        numbers, _ = program.subspace_points(600)
        program.write_npy("points.npy", (600, 12), numbers)
        # Fine-tuning takes long enough for a signal, and every step writes a checkpoint.
        options = ["--data", "points.npy", "--clusters", 3, "--self-expression", "full",
                   "--finetune-steps", 60, "--checkpoint-interval", 0, "--progress", "never"]
        whole = program.run("eigenscale-cluster", *options, "--output", "whole", ranks=4)
        self.assertEqual(whole.code, 0, whole.errors)
        job = self.submit(*options, "--output", "parts", name="eigenscale-cluster",
                          sbatch=("-N2", "-n4", "--time=3", "--signal=B:USR1@20"))
        self.wait(job, lambda: glob.glob("parts/checkpoints/part-*"), "wrote a checkpoint", 60)
        self.slurm("scancel", "--batch", "--signal=USR1", job)  # as Slurm itself before the limit
        log = self.wait_for_end(job, "COMPLETED", 0, seconds=180)
        self.assertEqual(log.count("stopped on request with a complete checkpoint"), 1, log)
        self.assertEqual(log.count("queueing the job again"), 1, log)
        self.assertEqual(log.count("going on from"), 1, log)
        self.assertEqual(self.field(job, "Restarts"), "1", log)
        self.assertEqual(training.hosts("parts"), ["n1", "n1", "n2", "n2"], log)
        for name in ("labels.npy", "embedding.npy", "metrics.jsonl"):
            self.assertEqual(training.read("parts", name), training.read("whole", name), name)

    def test_own_time_limit_with_mpirun_ends_after_the_last_restart(self):
        job = self.submit(*self.options, "--epochs", 100000, "--time-limit", 3, "--output", "run",
                          EIGENSCALE_LAUNCHER="mpirun", EIGENSCALE_MAX_RESTARTS="1")
        log = self.wait_for_end(job, "FAILED", 75)
        self.assertEqual(self.field(job, "Restarts"), "1", log)
        first, second = map(int, re.findall(r"after step (\d+) ", log))
        self.assertLess(first, second)
        self.assertIn(f"and {first} steps done", log)
        self.assertIn("EIGENSCALE_MAX_RESTARTS", log)
        self.assertEqual(training.hosts("run"), ["n1", "n2"], log)

    def test_cancelled_job_writes_a_checkpoint_and_stays_cancelled(self):
        job = self.submit(*self.options, "--epochs", 100000, "--output", "run")
        self.wait(job, lambda: training.newest_checkpoint("run"), "wrote a checkpoint", 60)
        self.slurm("scancel", job)
        self.wait(job, lambda: self.field(job, "JobState") in ENDED, "ended", 60)
        log = self.log(job)
        self.assertEqual(self.field(job, "JobState"), "CANCELLED", self.explain(job))
        self.assertEqual(self.field(job, "Restarts"), "0", log)
        self.assertIn("not queued again", log)
        stopped = re.search(r"after step (\d+) ", log)
        self.assertIsNotNone(stopped, log)
        self.assertEqual(training.newest_checkpoint("run"), int(stopped[1]))

    def test_killed_rank_ends_the_job(self):
        output = self.path("killed")
        job = self.submit(*self.options, "--epochs", 100000, "--output", output)
        self.wait(job, lambda: training.newest_checkpoint(output), "wrote a checkpoint", 60)
        ranks = []
        for process in filter(str.isdigit, os.listdir("/proc")):
            try:
                words = training.read("/proc", process, "cmdline").decode().split("\0")
            except OSError:
                continue
            if words[0].endswith("/eigenscale-train") and output in words:
                ranks.append(int(process))
        self.assertEqual(len(ranks), 2)
        os.kill(ranks[0], signal.SIGKILL)
        self.wait(job, lambda: self.field(job, "JobState") in ENDED, "ended", 60)
        log = self.log(job)
        self.assertEqual(self.field(job, "JobState"), "FAILED", log)
        self.assertIn("not queued again", log)

    def test_chain_over_two_nodes_with_an_array_ends_in_one_report(self):
        scripts = os.path.dirname(os.path.dirname(SCRIPT))
        with open("steps", "w", encoding="utf-8") as file:
            file.write("--ranks 2 -- eigenscale-generate --samples 300 --ambient-dim 20 "
                       "--subspace-dim 3 --clusters 3 --output data\n"
                       "--ranks 4 --nodes 2 --array seed=1,2,3 -- eigenscale-cluster --data "
                       "data/data.npy --labels data/labels.npy --clusters 3 --seed {seed} "
                       "--self-expression closed-form --no-ablation --output seed-{seed}\n"
                       "-- eigenscale-report seed-1 seed-2 seed-3\n")
        dry = self.slurm(os.path.join(scripts, "chain"), "--dry-run", "steps")
        self.assertEqual(dry.count("nothing was submitted"), 3, dry)
        self.assertIn("srun --mpi=pmix --kill-on-bad-exit=1 --ntasks=4", dry)
        jobs = [line for line in self.slurm(os.path.join(scripts, "chain"), "steps").splitlines()
                if line.isdigit()]
        self.assertEqual(len(jobs), 3)
        self.wait(jobs[-1], lambda: self.field(jobs[-1], "JobState") in ENDED, "ended", 180)
        log = "".join(training.read(name).decode() for name in sorted(os.listdir("."))
                      if name.endswith(".out"))
        self.assertEqual(self.field(jobs[-1], "JobState"), "COMPLETED", log)
        for seed in (1, 2, 3):
            self.assertRegex(log, rf"seed-{seed} +eigenscale-cluster +4 ")
            self.assertEqual(training.hosts(f"seed-{seed}"), ["n1", "n1", "n2", "n2"])

    def test_dry_run_finds_values_that_the_site_does_not_have(self):
        submit = os.path.join(os.path.dirname(os.path.dirname(SCRIPT)), "submit")
        with self.assertRaisesRegex(AssertionError, "Slurm would not take this job"):
            self.slurm(submit, "--dry-run", "--partition", "none-such", "--", "eigenscale-train",
                       *self.options, "--output", "run")

    def test_misuse_ends_before_work_starts(self):
        for environment, options, message in (
                ({}, [], "no options for eigenscale-train"),
                ({"EIGENSCALE_BIN": "/nowhere"}, ["--data", "x"], "no program '/nowhere'"),
                ({"EIGENSCALE_MAX_RESTARTS": "many"}, ["--data", "x"], "expected a whole number"),
                ({"EIGENSCALE_LAUNCHER": "warp 9"}, ["--data", "x"], "launcher 'warp'"),
                ({"EIGENSCALE_MODULES": "none-such"}, ["--data", "x"], "module")):
            with self.subTest(message):
                job = self.submit(*options, sbatch=("-N1", "-n1"), **environment)
                log = self.wait_for_end(job, "FAILED", 2)
                self.assertIn(message, log)
                self.assertNotIn("starting:", log)


if __name__ == "__main__":
    program.main()
