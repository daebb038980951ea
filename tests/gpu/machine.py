"""Where the programs are that tests/gpu/check runs, how they run, and where results go."""

import glob
import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import time

import torch

HERE = os.path.dirname(os.path.abspath(__file__))
LOCK = threading.Lock()


class Machine:
    """Where the programs are, and how they run."""

    def __init__(self, options):
        self.output = os.path.abspath(options.output)
        os.makedirs(self.output, exist_ok=True)
        self.results = open(os.path.join(self.output, "results.jsonl"), "w", encoding="utf-8")
        self.failed = False
        self.environment = {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1",
                            "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
                            "OMPI_MCA_mpi_yield_when_idle": "1",
                            "OMPI_MCA_btl_vader_single_copy_mechanism": "none",
                            "OMPI_MCA_btl": "self,vader", "OMPI_MCA_pml": "ob1"}
        if options.build:
            folders = f"{options.build}/apps:{options.build}/tests/comm"
            self.find = lambda name: shutil.which(name, path=folders)
            self.launcher = shutil.which("mpirun")
        else:
            self.unpack(os.path.join(options.work, "programs"))

    def unpack(self, root):
        shutil.rmtree(root, ignore_errors=True)
        with tarfile.open(os.path.join(HERE, "programs.tar.xz")) as archive:
            archive.extractall(root)
        with open(os.path.join(root, "torch-version"), encoding="utf-8") as file:
            wanted = file.read()
        if torch.__version__ != wanted:
            sys.exit(f"check: the programs are made for torch {wanted}, here is {torch.__version__}")
        libtorch = os.path.join(os.path.dirname(torch.__file__), "lib")
        theirs = sorted(glob.glob(os.path.join(libtorch, "../../nvidia/*/lib")))
        path = [os.path.join(root, "lib"), libtorch, *map(os.path.normpath, theirs)]
        path += filter(None, [os.environ.get("LD_LIBRARY_PATH")])
        self.environment |= {
            "LD_LIBRARY_PATH": ":".join(path), "OPAL_PREFIX": root, "PMIX_PREFIX": root,
            "OPAL_BINDIR": root + "/bin", "OPAL_PKGLIBDIR": root + "/plugins",
            "OPAL_LIBDIR": root + "/lib", "OPAL_PKGDATADIR": root + "/share",
            "OPAL_SYSCONFDIR": root + "/etc", "PATH": root + "/bin:" + os.environ["PATH"],
            "OMPI_MCA_mca_base_component_show_load_errors": "0",
            "PMIX_MCA_mca_base_component_show_load_errors": "0",
            "PMIX_MCA_pcompress_base_silence_warning": "1",
            "OMPI_MCA_plm_rsh_agent": "/bin/false"}
        self.find = lambda name: os.path.join(root, "bin", name)
        self.launcher = self.find("mpirun")

    def command(self, name, *words, ranks=1):
        return [self.launcher, "--oversubscribe", "--bind-to", "none", "-np", str(ranks),
                self.find(name), *map(str, words)]

    def run(self, label, name, *words, ranks=1, threads=4, code=0, timeout=120, **more):
        """Runs to the end, keeps what it says, and checks its exit code."""
        begin = time.monotonic()
        try:
            done = subprocess.run(self.command(name, *words, ranks=ranks), text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                                  env={**self.environment, "OMP_NUM_THREADS": str(threads), **more},
                                  timeout=timeout)
            said, ended = done.stdout, done.returncode
        except subprocess.TimeoutExpired as error:
            said, ended = (error.stdout or b"").decode(errors="replace"), "time-out"
        with open(os.path.join(self.output, "log.txt"), "a", encoding="utf-8") as log:
            log.write(f"==== {label}: code {ended}, {time.monotonic() - begin:.1f} s\n{said}\n")
        if ended != code:
            self.report(label, False, code=ended, said=said[-600:])
            raise RuntimeError(label)
        return said

    def report(self, what, passed=None, **figures):
        """A check (passed or not) or, without `passed`, a figure."""
        line = {"what": what, **({} if passed is None else {"passed": passed}), **figures}
        with LOCK:
            print(json.dumps(line), flush=True)
            self.results.write(json.dumps(line) + "\n")
            self.results.flush()
            self.failed |= passed is False


def guarded(machine, name, work, *arguments, **keywords):
    """One failure is not the end of the others."""
    try:
        work(*arguments, **keywords)
    except Exception as error:  # pylint: disable=broad-except
        machine.report(name, False, error=repr(error)[-500:])
