"""What the watchdog and the error handler for libraries say, and the exit code of all ranks."""

import os
import shlex
import subprocess
import sys
import unittest

PROBE = os.environ["EIGENSCALE_PROBE"]
LAUNCHER = shlex.split(os.environ["EIGENSCALE_LAUNCHER"])


def probe(how):
    done = subprocess.run([*LAUNCHER, "-np", "2", PROBE, how], capture_output=True, text=True,
                          timeout=60)
    return done.returncode, done.stderr


class Faults(unittest.TestCase):
    def ends(self, how, *texts):
        code, errors = probe(how)
        for text in texts:
            self.assertIn(text, errors)
        self.assertEqual(code, 5, errors)

    def test_a_blocking_call_is_named(self):
        self.ends("blocking", "rank 0", "MPI_Allreduce of 800 bytes in phase 'affinity'",
                  "thread 'main'")

    def test_a_wait_has_the_name_and_the_size_of_what_it_waits_for(self):
        self.ends("asynchronous", "MPI_Allreduce of 800 bytes in phase 'affinity'")

    def test_making_a_communicator_is_watched(self):
        self.ends("split", "MPI_Comm_split of 0 bytes")

    def test_each_thread_is_watched_by_itself(self):
        self.ends("thread", "MPI_Allreduce of 800 bytes", "thread 'next batch'")

    def test_short_calls_that_overlap_and_long_computations_do_not_end_a_run(self):
        code, errors = probe("overlap")
        self.assertEqual(code, 0, errors)

    def test_an_error_inside_a_library_ends_all_ranks(self):
        self.ends("library", "MPI failed inside BLACS or ELPA")


if __name__ == "__main__":
    sys.exit(unittest.main())
