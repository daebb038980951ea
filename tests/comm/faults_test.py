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

    def test_a_device_that_waits_for_a_rank_is_named(self):
        self.ends("nccl-wait", "rank 0", "ncclAllReduce of 800 bytes in phase 'affinity'",
                  "on the device")

    def test_a_device_is_watched_though_nobody_waits_for_it(self):
        self.ends("nccl-queued", "ncclAllReduce of 800 bytes in phase 'affinity'")

    def test_a_rank_that_never_comes_to_the_start_of_nccl(self):
        self.ends("nccl-start", "the start of a communicator of NCCL", "has not finished after")

    def test_ranks_that_make_other_calls_on_a_device(self):
        self.ends("nccl-other-call", "of 800 bytes failed", "ranks do not make the same calls",
                  "ncclBroadcast")

    def test_short_calls_that_overlap_and_long_computations_do_not_end_a_run(self):
        code, errors = probe("overlap")
        self.assertEqual(code, 0, errors)

    def test_an_error_inside_a_library_ends_all_ranks(self):
        self.ends("library", "MPI failed inside BLACS or ELPA")


if __name__ == "__main__":
    sys.exit(unittest.main())
