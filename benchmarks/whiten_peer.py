#!/usr/bin/python3
"""Whitening a data set with numpy on two threads against eigenscale-whiten on two ranks.

    whiten_peer.py [--samples 20000] [--features 4000] [--turns 3] [--build build/release] [--folder /tmp]

Writes float32 samples into a folder of its own below --folder and removes it afterwards. numpy
(OPENBLAS_NUM_THREADS=2) computes X.T @ X, linalg.eigh in double, W and X @ W from samples in
memory; eigenscale-whiten runs on one rank with two threads and on two ranks with one. Reading and
writing are not counted on either side. The contenders take turns.

Prints one JSON line for each run and one with the medians, the ratio eigenscale / numpy, and the
share of the one-rank run's memory, net of its value after start-up, that each of two ranks needs.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

# What eigenscale-whiten's summary.json calls the phases that only read or write.
NOT_COUNTED = {"total", "read", "write"}
NEITHER = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")


def environment(threads):
    result = {name: value for name, value in os.environ.items() if name not in NEITHER}
    result.update(OMP_NUM_THREADS=str(threads), OPENBLAS_NUM_THREADS=str(threads))
    return result


def run_numpy(path):
    """In a process of its own, so that it has its number of threads."""
    import numpy

    x = numpy.load(path)
    epsilon_share = 1e-6
    times = [time.perf_counter()]
    x -= x.mean(axis=0)
    covariance = (x.T @ x) / numpy.float32(len(x))
    times.append(time.perf_counter())
    values, vectors = numpy.linalg.eigh(covariance.astype(numpy.float64))
    times.append(time.perf_counter())
    epsilon = epsilon_share * values.mean()
    transform = (vectors / numpy.sqrt(values + epsilon)) @ vectors.T
    whitened = x @ transform.astype(numpy.float32)
    times.append(time.perf_counter())
    assert numpy.isfinite(whitened[0]).all()
    seconds = [after - before for before, after in zip(times, times[1:])]
    print(json.dumps(dict(zip(("covariance", "eigenproblem", "transform"), seconds))))


def numpy_seconds(path, kernels):
    chosen = {"OPENBLAS_CORETYPE": kernels} if kernels else {}
    output = subprocess.run([sys.executable, __file__, "--numpy", path], check=True,
                            env=dict(environment(2), **chosen), capture_output=True,
                            text=True).stdout
    return json.loads(output)


def run_eigenscale(options, path, folder, ranks):
    output = os.path.join(folder, "run")
    command = [os.path.join(options.build, "apps", "eigenscale-whiten"), "--data", path,
               "--output", output, "--overwrite", "--log-level", "warning"]
    command = ["mpirun", "--oversubscribe", "--bind-to", "none", "-np", str(ranks)] + command
    subprocess.run(command, check=True, env=environment(2 // ranks))
    with open(os.path.join(output, "summary.json")) as file:
        return json.load(file)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--samples", type=int, default=20000)
    parser.add_argument("--features", type=int, default=4000)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--folder", default="/tmp")
    parser.add_argument("--kernels", help="OPENBLAS_CORETYPE for numpy; by default it chooses")
    parser.add_argument("--numpy", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.numpy:
        return run_numpy(options.numpy)

    import numpy

    folder = tempfile.mkdtemp(prefix="whiten-peer-", dir=options.folder)
    try:
        path = os.path.join(folder, "data.npy")
        generator = numpy.random.default_rng(1)
        rows = generator.standard_normal((options.samples, options.features), numpy.float32)
        # Variances from 0.01 to 1, and a mean.
        rows *= numpy.geomspace(1, 0.1, options.features, dtype=numpy.float32)
        numpy.save(path, rows + 1)
        del rows
        seconds = {}
        memory = {}
        for _ in range(options.turns):
            phases = numpy_seconds(path, options.kernels)
            seconds.setdefault("numpy", []).append(sum(phases.values()))
            print(json.dumps({"contender": "numpy", "threads": 2, "seconds": phases}), flush=True)
            for ranks in (1, 2):
                summary = run_eigenscale(options, path, folder, ranks)
                counted = {name: value for name, value in summary["seconds"].items()
                           if name not in NOT_COUNTED}
                seconds.setdefault(ranks, []).append(sum(counted.values()))
                peak = summary["peak_memory_bytes"]
                memory.setdefault(ranks, []).append(peak["max_rank"] - peak["startup_max_rank"])
                print(json.dumps({"contender": "eigenscale", "ranks": ranks, "seconds": counted,
                                  "memory": peak}), flush=True)
        medians = {str(name): statistics.median(values) for name, values in seconds.items()}
        net = {ranks: statistics.median(values) for ranks, values in memory.items()}
        print(json.dumps({"suite": "whiten", "samples": options.samples,
                          "features": options.features, "seconds": medians,
                          "ratio": medians["2"] / medians["numpy"],
                          "net_memory_bytes": net, "memory_share": net[2] / net[1]}))
    finally:
        shutil.rmtree(folder)
    return None


if __name__ == "__main__":
    main()
