"""Training over two pretend hosts joined by real TCP: the same weights as on one host; a host that
dies, or whose cable is pulled, ends the ranks, and the rest goes on from a complete checkpoint."""

import os
import shutil
import subprocess
import time

import training
from training import program

HOSTS = training.tool("netns-hosts.sh", "ip")
AGENT = os.path.join(training.TOOLS, "netns-rsh.sh")
TRAIN = os.path.realpath(os.path.join(program.APPS, "eigenscale-train"))
COLLECTIVE_TIMEOUT = 10
# Each step sums 2.4 MB, which take 0.38 s both ways.
SLOW = ("limit", "h2", "50mbit", "256kb")


def down(folder=None):
    """Ends the hosts of this test, or those that a killed one has left in its folder."""
    environment = {"HOSTS_DIR": os.path.join(folder, "hosts")} if folder else None
    training.call(HOSTS, "down", environment=environment)


class HostsTest(program.ProgramTest):
    @classmethod
    def setUpClass(cls):
        shared = training.fresh_folder("hosts", down)
        cls.addClassCleanup(shutil.rmtree, shared, True)
        os.environ["HOSTS_DIR"] = os.path.join(shared, "hosts")
        options = training.write_data(shared)
        # Where the cable can be slowed, a host is lost long before the end of 48 steps of 0.38 s,
        # however fast or busy the machine is.
        training.call(HOSTS, "up", 2)
        cls.cable_is_slow = training.call(HOSTS, *SLOW, check=False) == 0
        down()
        epochs = 6 if cls.cable_is_slow else training.epochs_for(10, options, shared)
        cls.options = [*options, "--epochs", epochs, "--checkpoint-every", 4,
                       "--collective-timeout", COLLECTIVE_TIMEOUT]
        cls.train(os.path.join(shared, "whole"))
        cls.whole = training.model(os.path.join(shared, "whole"))

    @classmethod
    def train(cls, output, *options):
        """Two ranks on this host, to the end."""
        run = program.run("eigenscale-train", *cls.options, *options, "--output", output,
                          timeout=300)
        assert run.code == 0, run.errors
        return run.errors

    def setUp(self):
        super().setUp()
        down()
        self.addCleanup(down)
        training.call(HOSTS, "up", 2)
        self.output = self.path("run")

    def log(self):
        return training.read(self.path("log")).decode()

    def start(self, *mpirun_options):
        """Two ranks, one on h1 and one on h2."""
        command = [HOSTS, "exec", "h0", program.MPIEXEC, "--bind-to", "none", "--mca",
                   "mpi_yield_when_idle", 1, "--mca", "plm", "rsh", "--mca", "plm_rsh_agent", AGENT,
                   *mpirun_options, "--host", "h1,h2", "-np", 2, TRAIN, *self.options, "--output",
                   self.output]
        with open(self.path("log"), "w") as log:
            job = subprocess.Popen([str(word) for word in command], stdout=log,
                                   stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        self.addCleanup(job.wait)
        self.addCleanup(job.kill)
        return job

    def wait(self, holds, what, seconds=300):
        begin = time.monotonic()
        while not holds():
            self.assertLess(time.monotonic() - begin, seconds, f"{what} not yet; {self.log()}")
            time.sleep(0.1)
        return time.monotonic() - begin

    def lose(self, how, *mpirun_options):
        """Starts two ranks and loses h2 after the first checkpoint. Returns the job."""
        if self.cable_is_slow:
            training.call(HOSTS, *SLOW)
        job = self.start(*mpirun_options)

        def saved():
            self.assertIsNone(job.poll(), self.log())
            return training.newest_checkpoint(self.output) is not None

        self.wait(saved, "a checkpoint")
        if self.cable_is_slow and how == "crash":
            # A host's last packets, by which mpirun learns that it has gone, must not wait in a queue
            # that goes with it.
            training.call(HOSTS, "limit", "h2", "off")
        training.call(HOSTS, how, "h2")
        return job

    def ranks(self):
        """Processes of this run, on whichever host."""
        found = []
        for process in filter(str.isdigit, os.listdir("/proc")):
            try:
                words = training.read("/proc", process, "cmdline").decode().split("\0")
            except OSError:
                continue
            if words[0] == TRAIN and self.output in words:
                found.append(int(process))
        return found

    def go_on_here(self, wait_for_lock=False):
        down()  # whatever still runs on the lost host
        if not wait_for_lock:  # somebody who knows that the host is gone removes its run's lock
            os.remove(os.path.join(self.output, ".eigenscale.lock"))
        step = training.newest_checkpoint(self.output)
        self.assertFalse(os.path.exists(os.path.join(self.output, "model.safetensors")))
        self.assertIn(f"and {step} steps done", self.train(self.output, "--resume"))
        self.assertEqual(training.model(self.output), self.whole)

    def test_two_hosts_train_to_the_same_weights_as_one(self):
        job = self.start()
        self.assertEqual(job.wait(timeout=300), 0, self.log())
        self.assertEqual(training.hosts(self.output), ["h1", "h2"])
        self.assertEqual(training.model(self.output), self.whole)

    def test_crashed_host_ends_the_job(self):
        job = self.lose("crash")
        seconds = self.wait(lambda: not self.ranks(), "the end of the ranks")
        try:
            self.assertNotEqual(job.wait(timeout=60), 0, self.log())
            print(f"ended with {job.returncode} after {seconds:.1f} s")
        except subprocess.TimeoutExpired:
            # Seen once: mpirun says that it lost a daemon and that it ends the job, and stays.
            self.assertIn("ORTE has lost communication", self.log())
            print(f"ranks ended after {seconds:.1f} s, mpirun did not")
            job.kill()
        self.go_on_here(wait_for_lock=True)  # a minute, longer than collectives may take here

    def test_pulled_cable_ends_the_ranks(self):
        # mpirun itself stays: it waits to hear from the other host that its rank has gone.
        self.lose("cut")
        seconds = self.wait(lambda: not self.ranks(), "the end of the ranks")
        self.assertIn(f"has not finished after {COLLECTIVE_TIMEOUT} s", self.log())
        self.assertGreater(seconds, COLLECTIVE_TIMEOUT / 2)
        print(f"ended after {seconds:.1f} s")
        self.go_on_here()

    def test_pulled_cable_ends_mpirun_that_is_told_to_look(self):
        job = self.lose("cut", "--mca", "oob_tcp_keepalive_time", 4, "--mca",
                        "oob_tcp_keepalive_intvl", 2, "--mca", "oob_tcp_keepalive_probes", 2)
        seconds = self.wait(lambda: job.poll() is not None, "the end of the job")
        self.assertNotEqual(job.returncode, 0, self.log())
        print(f"ended with {job.returncode} after {seconds:.1f} s")
        self.wait(lambda: not self.ranks(), "the end of the ranks")
        self.go_on_here()


if __name__ == "__main__":
    program.main()
