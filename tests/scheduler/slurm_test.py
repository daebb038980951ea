"""job-scripts/slurm/train.sbatch under a real Slurm of two pretend nodes: stopped by the time limit,
queued again, going on to the same weights as a run that nobody interrupts."""

import os
import re
import time

import training
from training import program

SLURM = training.tool("slurm-local.sh", "slurmctld", "slurmd", "munged", "sbatch", "ip")
SCRIPT = os.path.realpath(os.path.join(os.path.dirname(__file__),
                                       "../../job-scripts/slurm/train.sbatch"))
# A folder of its own, always the same: what a killed test has left is found and removed.
os.environ.update(SLURM_LOCAL_NET="1", SLURM_LOCAL_DIR="/tmp/eigenscale-slurm-test")
ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY")


class SlurmTest(program.ProgramTest):
    @classmethod
    def setUpClass(cls):
        cls.stop()
        cls.addClassCleanup(cls.stop)
        training.call(SLURM, "start", 2)
        cls.environment = dict(re.findall(r"(\w+)=(\S+)", training.call(SLURM, "env")))
        cls.environment.update(EIGENSCALE_BIN=os.path.realpath(program.APPS), OMP_NUM_THREADS="1")

    @classmethod
    def stop(cls):
        # The job of a killed test may still be ending; a second call finds nothing to do.
        training.call(SLURM, "stop", timeout=120)

    def setUp(self):
        super().setUp()
        self.options = training.write_data(self.folder)
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.folder)  # where Slurm writes the log

    def slurm(self, *command, **environment):
        return training.call(SLURM, "exec", *command,
                             environment={**self.environment, **environment})

    def submit(self, *options, sbatch=("-N2", "-n2"), **environment):
        job = self.slurm("sbatch", "--parsable", *sbatch, SCRIPT, *options, **environment)
        self.addCleanup(self.slurm, "scancel", job.strip())
        return job.strip()

    def log(self, job):
        path = f"eigenscale-train-{job}.out"
        return training.read(path).decode() if os.path.exists(path) else ""

    def field(self, job, name):
        return re.search(rf"\b{name}=(\S+)", self.slurm("scontrol", "show", "job", job))[1]

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
        # before the end of a training that takes 40 s on one host.
        options = [*self.options, "--epochs", training.epochs_for(40, self.options, self.folder)]
        whole = program.run("eigenscale-train", *options, "--output", "whole", timeout=600)
        self.assertEqual(whole.code, 0, whole.errors)

        job = self.submit(*options, "--output", "parts",
                          sbatch=("-N2", "-n2", "--time=1", "--signal=B:USR1@25"))
        log = self.wait_for_end(job, "COMPLETED", 0, seconds=900)
        stops = log.count("got SIGUSR1")
        self.assertGreaterEqual(stops, 1, log)
        self.assertEqual(log.count("stopped on request after step"), stops, log)
        self.assertEqual(log.count("queueing the job again"), stops, log)
        self.assertEqual(log.count("going on from"), stops, log)
        self.assertEqual(self.field(job, "Restarts"), str(stops), log)
        self.assertEqual(training.hosts("parts"), ["n1", "n2"], log)
        self.assertEqual(training.model("parts"), training.model("whole"), log)

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
