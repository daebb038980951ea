"""A rank of eigenscale-train dies at thirty random moments, checkpoint writes included: the job ends
at once, and what it left goes on to the same result."""

import json
import os
import random
import signal
import time

import program
import training

ROUNDS = 30
# What mpirun needs to notice and end the others is two seconds; the machine may be busy.
SECONDS_TO_END = 30


class Kill(training.TrainingTest):
    # A model of 3 MB that is written every other step: about half of the time goes into checkpoints.
    # So many epochs that thirty rounds of at most a second are a third of it on a fast machine.
    MORE = ("--network", "mlp:400,600", "--epochs", 300, "--checkpoint-every", 2,
            "--learning-rate", 0.001)

    def processes(self):
        """The ranks' process numbers once the run has said them."""
        try:
            with open(self.path("run/environment.json")) as file:
                return [rank["process"] for rank in json.load(file)["ranks"]]
        except (OSError, ValueError):
            return None

    def test_any_rank_any_moment(self):
        self.train(*self.MORE, output="through", timeout=600)
        draw = random.Random(os.environ.get("EIGENSCALE_KILL_SEED", "7"))
        partial = 0
        for _ in range(ROUNDS):
            if os.path.exists(self.path("run/environment.json")):
                os.remove(self.path("run/environment.json"))
            job = self.start(*self.MORE, "--resume")
            self.wait_for(self.processes)
            time.sleep(draw.uniform(0, 1))
            self.assertIsNone(job.poll(), "the run was over before it could be killed")
            os.kill(self.processes()[draw.randrange(2)], signal.SIGKILL)
            begin = time.monotonic()
            self.assertNotEqual(job.wait(60), 0)
            self.assertLess(time.monotonic() - begin, SECONDS_TO_END)
            self.assertFalse(os.path.exists(self.path("run/summary.json")))
            folder = self.path("run/checkpoints")
            if os.path.isdir(folder):
                partial += any(name.endswith(".partial") for name in os.listdir(folder))
        # The moments were what they are for: some came in the middle of a checkpoint.
        self.assertGreater(partial, 0)
        self.assertNotEqual(self.checkpoints(), [], self.log())
        self.train(*self.MORE, "--resume", timeout=600)
        self.assertEqual(self.model(), self.model("through"))


if __name__ == "__main__":
    program.main()
