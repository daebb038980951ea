#!/usr/bin/env python3
"""Leading components of very many features: eigenscale-whiten --solver randomized on two ranks against
scikit-learn's PCA(svd_solver="randomized") on two threads, on data whose variances are known exactly.

    python3 -m venv /tmp/peer && /tmp/peer/bin/pip install scikit-learn
    /tmp/peer/bin/python benchmarks/randomized_pca_peer.py [--samples 10000] [--features 100000]
        [--components 50] [--law power] [--decay 2] [--passes 8] [--powers 0,1,2,3,4,6,8,12,16] [--skip-peer]
        [--build build/release] [--folder /tmp]

Makes the data (4 GB by default) with eigenscale-generate in a folder of its own and removes it at the
end. Both start from the file, in the page cache where it fits, and end with the variances and the
components; eigenscale-whiten also writes the whitened rows, and its reading and writing count. The peer
runs with growing iterated_power until its worst relative error in a leading variance is at most 1e-4,
or that of eigenscale where that is worse. Peak memory is the resident set, summed over the ranks.
eigenscale-whiten runs with --method pca.

Prints a JSON line for each run, and one with the ratios. With --skip-peer only eigenscale runs, as for
files that do not fit the memory.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time


def environment(threads):
    return dict(os.environ, OMP_NUM_THREADS=str(threads), OPENBLAS_NUM_THREADS=str(threads))


def worst_error(found, exact):
    return float(max(abs(a - b) / b for a, b in zip(found, exact)))


def run_peer(path, components, power):
    """In a process of its own, for its threads and its peak memory."""
    import numpy
    from sklearn.decomposition import PCA

    begin = time.perf_counter()
    rows = numpy.load(path)
    loaded = time.perf_counter()
    pca = PCA(n_components=components, svd_solver="randomized", iterated_power=power,
              random_state=1, copy=False).fit(rows)
    seconds = time.perf_counter() - loaded
    # scikit-learn divides by N - 1.
    variances = pca.explained_variance_ * (len(rows) - 1) / len(rows)
    print(json.dumps({"load": loaded - begin, "seconds": seconds, "variances": variances.tolist(),
                      "peak": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}))


def peer(options, path, power):
    command = ["taskset", "-c", "0,1", sys.executable, __file__, "--peer", path, "--components",
               str(options.components), "--power", str(power)]
    output = subprocess.run(command, check=True, env=environment(2), stdout=subprocess.PIPE,
                            text=True).stdout
    return json.loads(output)


def programs(options, *command):
    launcher = ["taskset", "-c", "0,1", "mpirun", "--oversubscribe", "--bind-to", "none", "-np", "2"]
    begin = time.perf_counter()
    subprocess.run(launcher + [os.path.join(options.build, "apps", command[0]), *command[1:],
                               "--log-level", "warning"], check=True, env=environment(1))
    return time.perf_counter() - begin


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--samples", type=int, default=10000)
    parser.add_argument("--features", type=int, default=100000)
    parser.add_argument("--components", type=int, default=50)
    parser.add_argument("--law", default="power")
    parser.add_argument("--decay", type=float, default=2)
    parser.add_argument("--mean", type=float, default=3)
    parser.add_argument("--passes", type=int, default=8)
    parser.add_argument("--powers", default="0,1,2,3,4,6,8,12,16")
    parser.add_argument("--skip-peer", action="store_true")
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--folder", default="/tmp")
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    parser.add_argument("--power", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer:
        return run_peer(options.peer, options.components, options.power)

    import numpy

    folder = tempfile.mkdtemp(prefix="randomized-pca-", dir=options.folder)
    try:
        data, run = os.path.join(folder, "data"), os.path.join(folder, "run")
        programs(options, "eigenscale-generate", "--kind", "spectrum", "--samples",
                 str(options.samples), "--ambient-dim", str(options.features), "--law", options.law,
                 "--decay", str(options.decay), "--mean", str(options.mean), "--output", data)
        path = os.path.join(data, "data.npy")
        exact = numpy.load(os.path.join(data, "variances.npy"))[:options.components]
        begin = time.perf_counter()
        with open(path, "rb", buffering=0) as file:
            block = bytearray(1 << 26)
            while file.readinto(block):
                pass
        reading = time.perf_counter() - begin
        wall = programs(options, "eigenscale-whiten", "--data", path, "--method", "pca",
                        "--components", str(options.components), "--solver", "randomized",
                        "--passes", str(options.passes), "--output", run)
        with open(os.path.join(run, "summary.json")) as file:
            summary = json.load(file)
        found = numpy.load(os.path.join(run, "eigenvalues.npy"))
        ours = {"contender": "eigenscale", "ranks": 2, "wall": wall, "reading_once": reading,
                "seconds": summary["seconds"], "solver": summary["choices"]["solver"],
                "error": worst_error(found, exact), "peak": summary["peak_memory_bytes"]["sum"]}
        print(json.dumps(ours), flush=True)
        if options.skip_peer:
            return None
        wanted = max(1e-4, ours["error"])
        for power in map(int, options.powers.split(",")):
            line = peer(options, path, power)
            line["error"] = worst_error(line.pop("variances"), exact)
            line.update(contender="scikit-learn", threads=2, iterated_power=power)
            print(json.dumps(line), flush=True)
            if line["error"] <= wanted:
                print(json.dumps({"suite": "randomized-pca",
                                  "gain": (line["load"] + line["seconds"]) /
                                          summary["seconds"]["total"],
                                  "memory_share": ours["peak"] / line["peak"]}))
                break
    finally:
        shutil.rmtree(folder)
    return None


if __name__ == "__main__":
    main()
