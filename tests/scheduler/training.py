"""What the tests of this folder share: a small training whose length they choose, and the tools that
pretend to be several hosts or a Slurm (EIGENSCALE_TEST_TOOLS)."""

import glob
import json
import os
import random
import re
import shutil
import stat
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "apps"))
import program  # noqa: E402

TOOLS = os.environ.get("EIGENSCALE_TEST_TOOLS", "")
SAMPLES, FEATURES, CLASSES, BATCH = 4096, 64, 8, 512


def tool(name, *commands):
    """Path of the tool. Ends the test with 77, skipped, where it cannot run."""
    path = os.path.join(TOOLS, name)
    reasons = [f"{path} is absent (EIGENSCALE_TEST_TOOLS)"] if not os.path.exists(path) else []
    reasons += [f"{command} is not installed" for command in ("unshare", "nsenter", *commands)
                if shutil.which(command, path=os.environ["PATH"] + ":/usr/sbin:/sbin") is None]
    reasons += ["not root"] if os.geteuid() != 0 else []
    if reasons:
        print("skipped:", "; ".join(reasons))
        sys.exit(77)
    return path


def fresh_folder(name, tidy):
    """A folder of one's own under a name nobody can guess. What killed tests have left in theirs is
    found and given to `tidy`, which stops what still runs there."""
    prefix = os.path.join(tempfile.gettempdir(), f"eigenscale-{name}-test-")
    for old in glob.glob(prefix + "*"):
        status = os.lstat(old)
        if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid():
            tidy(old)
            shutil.rmtree(old, True)
    folder = tempfile.mkdtemp(prefix=os.path.basename(prefix))
    os.chmod(folder, 0o711)  # munge wants everybody to get through, not to read
    return folder


def write_data(folder):
    """Noisy samples around one centre for each class. Returns the options that read them."""
    numbers = random.Random(7)
    centres = [[numbers.gauss(0, 0.5) for _ in range(FEATURES)] for _ in range(CLASSES)]
    labels = [i % CLASSES for i in range(SAMPLES)]
    values = [centre + numbers.gauss(0, 1) for label in labels for centre in centres[label]]
    data, classes = os.path.join(folder, "samples.npy"), os.path.join(folder, "labels.npy")
    program.write_npy(data, (SAMPLES, FEATURES), values)
    program.write_npy(classes, (SAMPLES,), labels, "q")
    return ["--data", data, "--labels", classes, "--network", "mlp:1024,512", "--batch-size",
            str(BATCH), "--learning-rate", "0.01", "--progress", "never", "--log-level", "info"]


def epochs_for(seconds, options, folder):
    """Epochs that take two ranks on this machine about so long."""
    measured = 4
    run = program.run("eigenscale-train", *options, "--epochs", 100000, "--time-limit", measured,
                      "--output", os.path.join(folder, "measure"))
    steps = re.search(r"after step (\d+) ", run.errors)
    assert run.code == 75 and steps, f"ended with {run.code}: {run.errors}"
    return max(2, round(int(steps[1]) / measured * seconds * BATCH / SAMPLES))


def read(*path):
    with open(os.path.join(*path), "rb") as file:
        return file.read()


def model(folder):
    return read(folder, "model.safetensors")


def hosts(folder):
    return sorted(rank["host"] for rank in json.loads(read(folder, "environment.json"))["ranks"])


def newest_checkpoint(folder):
    """Its step; none while there is none."""
    checkpoints = os.path.join(folder, "checkpoints")
    names = os.listdir(checkpoints) if os.path.isdir(checkpoints) else []
    return max((int(name[5:]) for name in names if name.startswith("step-")), default=None)


def call(*command, timeout=60, environment=None, check=True):
    """Output of a command of the tools; it has to succeed unless told otherwise."""
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True,
                          timeout=timeout, check=False,
                          env=dict(os.environ, **(environment or {})))
    if check:
        assert done.returncode == 0, f"{command} ended with {done.returncode}: {done.stdout}"
    return done.stdout if check else done.returncode
