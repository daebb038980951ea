#!/usr/bin/env python3
"""Trains a small convolutional network on Fashion-MNIST with whitening in its stem, for docs/results.md.

    benchmarks/whitening_training.py finish   share of runs that finish: rules x group sizes
    benchmarks/whitening_training.py error    test error of batch, zca, pca-denoise; 3 seeds

A stem of 64 channels and stride 2, whitened; 32 channels, normalised; a linear layer. `finish` takes
the first 10,000 training images and 2 epochs, `error` all of them and 4 epochs. Runs that exist are
not repeated. EIGENSCALE_LAUNCHER starts each (default: mpirun with two ranks of one thread),
EIGENSCALE_TRAIN is the program, --output holds the runs.
"""

import argparse
import gzip
import json
import os
import shlex
import statistics
import struct
import subprocess

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
FASHION = "/usr/share/datasets/fashion-mnist"
CHANNELS = 64
SIZES = (4, 8, 16, 32, 64)
RULES = ("matrix-function", "taylor", "power-iteration", "clip", "pade", "exact")
COUNT = 10000


def write_subset(folder):
    """The first images and labels as IDX files."""
    os.makedirs(folder, exist_ok=True)
    for name, header in (("train-images-idx3-ubyte", 16), ("train-labels-idx1-ubyte", 8)):
        with gzip.open(f"{FASHION}/{name}.gz") as file:
            head = bytearray(file.read(header))
            head[4:8] = struct.pack(">I", COUNT)
            body = file.read(COUNT * (784 if header == 16 else 1))
        with open(f"{folder}/{name}", "wb") as file:
            file.write(head + body)
    return [f"{folder}/train-images-idx3-ubyte", f"{folder}/train-labels-idx1-ubyte"]


def specification(normalization):
    """With these keys for the layer behind the stem."""
    return {"input": [1, 28, 28], "layers": [
        {"type": "convolution", "outputs": CHANNELS, "kernel": 3, "stride": 2},
        {"type": "normalization", **normalization}, {"type": "relu"},
        {"type": "convolution", "outputs": 32, "kernel": 3, "stride": 2},
        {"type": "normalization"}, {"type": "relu"},
        {"type": "flatten"}, {"type": "linear", "outputs": 10}]}


def train(name, files, epochs, seed, normalization, output):
    """The summary of one run, none when it ended without one."""
    folder = os.path.join(output, name)
    done = os.path.join(folder, "ended.json")
    if not os.path.exists(done):
        network = os.path.join(output, name + ".json")
        with open(network, "w") as file:
            json.dump(specification(normalization), file)
        launcher = os.environ.get(
            "EIGENSCALE_LAUNCHER", "mpirun -np 2 --oversubscribe --bind-to none "
            "--mca btl_vader_single_copy_mechanism none --mca mpi_yield_when_idle 1")
        command = shlex.split(launcher) + [
            os.environ.get("EIGENSCALE_TRAIN", f"{ROOT}/build/release/apps/eigenscale-train"),
            "--overwrite",
            "--data", files[0], "--labels", files[1],
            "--validation-data", f"{FASHION}/t10k-images-idx3-ubyte.gz",
            "--validation-labels", f"{FASHION}/t10k-labels-idx1-ubyte.gz",
            "--scale", "0.00392157", "--network", network, "--batch-size", "128",
            "--epochs", str(epochs), "--seed", str(seed), "--progress", "never",
            "--output", folder]
        environment = dict(os.environ, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
        run = subprocess.run(command, env=environment, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, check=False)
        if run.returncode not in (0, 4):
            raise SystemExit(f"{name} ended with {run.returncode}:\n{run.stdout}")
        with open(done, "w") as file:
            json.dump({"code": run.returncode}, file)
    with open(done) as file:
        if json.load(file)["code"] != 0:
            return None
    with open(os.path.join(folder, "summary.json")) as file:
        return json.load(file)


def last_error(folder):
    """In per cent, of the last epoch: a choice of the best one would look at the test images."""
    with open(os.path.join(folder, "metrics.jsonl")) as file:
        lines = [json.loads(line) for line in file]
    accuracy = [line["validation_accuracy"] for line in lines if line["phase"] == "epoch"][-1]
    return 100 * (1 - accuracy)


def finish(output, seeds):
    files = write_subset(os.path.join(output, "subset"))
    kinds = [("batch", {"kind": "batch"})]
    kinds += [(f"zca, {rule}", {"kind": "zca", "gradient_rule": rule}) for rule in RULES]
    kinds += [("pca-denoise", {"kind": "pca-denoise"})]
    print("| layer | " + " | ".join(f"d = {size}" for size in SIZES) + " |")
    print("|---|" + "---|" * len(SIZES))
    for kind, keys in kinds:
        cells = []
        for size in SIZES if kind != "batch" else (CHANNELS,):
            groups = {"groups": CHANNELS // size}
            errors = []
            for seed in seeds:
                name = f"{kind.replace(', ', '-')}-{size}-{seed}"
                if train(name, files, 2, seed, {**keys, **groups}, output) is not None:
                    errors.append(last_error(os.path.join(output, name)))
            mean = f", {statistics.mean(errors):.1f} %" if errors else ""
            cells.append(f"{len(errors)} of {len(seeds)}{mean}")
        print(f"| {kind} | " + " | ".join(cells) + " |", flush=True)


def error(output, seeds, epochs):
    files = [f"{FASHION}/train-images-idx3-ubyte.gz", f"{FASHION}/train-labels-idx1-ubyte.gz"]
    print("| layer | test error by seed, % | mean ± deviation | seconds |")
    print("|---|---|---|---|")
    for kind in ("batch", "zca", "pca-denoise"):
        errors, seconds = [], []
        for seed in seeds:
            name = f"all-{kind}-{seed}"
            summary = train(name, files, epochs, seed, {"kind": kind}, output)
            if summary is not None:
                errors.append(last_error(os.path.join(output, name)))
                seconds.append(summary["seconds"]["train"])
        print(f"| {kind} | " + " ".join(f"{value:.2f}" for value in errors) +
              f" | {statistics.mean(errors):.2f} ± {statistics.stdev(errors):.2f}"
              f" | {statistics.median(seconds):.0f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("finish", "error"))
    parser.add_argument("--output", default="runs/whitening")
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--epochs", type=int, default=4, help="of error")
    arguments = parser.parse_args()
    os.makedirs(arguments.output, exist_ok=True)
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    if arguments.what == "finish":
        finish(arguments.output, seeds)
    else:
        error(arguments.output, seeds, arguments.epochs)


if __name__ == "__main__":
    main()
