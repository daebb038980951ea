"""A rank of eigenscale-train dies while it starts, trains, writes a checkpoint, publishes it, removes
an old one, or goes on: the job ends at once, and what it left goes on to the same result."""

import json
import os
import random
import signal
import time

import program
import training

# What mpirun needs to notice and end the others is two seconds; the machine may be busy.
SECONDS_TO_END = 30
# Seconds from a moment to the kill, so that it is not always the same instruction that is hit.
LATER = 0.02


class Kill(training.TrainingTest):
    # A model of 3 MB that is written every other step: about half of the time goes into checkpoints.
    MORE = ("--network", "mlp:400,600", "--epochs", 60, "--checkpoint-every", 2,
            "--learning-rate", 0.001)

    def processes(self):
        """The ranks' process numbers once the run has said them."""
        try:
            with open(self.path("run/environment.json")) as file:
                return [rank["process"] for rank in json.load(file)["ranks"]]
        except (OSError, ValueError):
            return None

    def files(self):
        folder = self.path("run/checkpoints")
        return set(os.listdir(folder)) if os.path.isdir(folder) else set()

    def partial(self):
        return {name for name in self.files() if name.endswith(".partial")}

    def moments(self):
        """Name and condition of each moment; a condition sees what lies there since the run began."""
        begin = self.files()
        return {
            "starting": lambda: True,
            "writing": lambda: self.partial() - begin and self.stopped_while_writing(begin),
            "published": lambda: set(self.checkpoints()) - begin,
            "removed": lambda: any(name.startswith("step-") and name not in self.files()
                                   for name in begin),
            "training": lambda: len(set(self.checkpoints()) - begin) > 1 and not self.partial(),
        }

    def stopped_while_writing(self, begin):
        """Stops the first rank, which writes, if that leaves it in the middle of a checkpoint."""
        first = self.processes()[0]
        os.kill(first, signal.SIGSTOP)
        time.sleep(0.005)
        if self.partial() - begin:
            return True
        os.kill(first, signal.SIGCONT)
        return False

    def kill(self, moment, rank, later):
        """Starts the run, kills the rank later than the moment; whether it was writing."""
        if os.path.exists(self.path("run/environment.json")):
            os.remove(self.path("run/environment.json"))
        come = self.moments()[moment]
        job = self.start(*self.MORE, "--resume")
        self.wait_for(self.processes)
        self.wait_for(come, pause=0.0005)
        time.sleep(later)
        self.assertIsNone(job.poll(), "the run was over before it could be killed")
        os.kill(self.processes()[rank], signal.SIGKILL)
        begin = time.monotonic()
        self.assertNotEqual(job.wait(60), 0)
        self.assertLess(time.monotonic() - begin, SECONDS_TO_END)
        self.assertFalse(os.path.exists(self.path("run/summary.json")))
        return bool(self.partial())

    def test_any_rank_at_the_moments_that_matter(self):
        self.train(*self.MORE, output="through", timeout=600)
        draw = random.Random(os.environ.get("EIGENSCALE_KILL_SEED", "7"))
        for rank in (0, 1):
            # "removed" waits for checkpoints of an earlier start to go: not the first.
            for moment in ("starting", "writing", "published", "removed", "training"):
                with self.subTest(moment=moment, rank=rank):
                    interrupted = self.kill(moment, rank, draw.uniform(0, LATER))
                    # The first rank is killed where it was stopped; killed the other, mpirun wakes
                    # it before it ends it.
                    if moment == "writing" and rank == 0:
                        self.assertTrue(interrupted, "not in the middle of a checkpoint")
        self.assertNotEqual(self.checkpoints(), [], self.log())
        self.train(*self.MORE, "--resume", timeout=600)
        self.assertEqual(self.model(), self.model("through"))


if __name__ == "__main__":
    program.main()
