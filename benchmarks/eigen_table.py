#!/usr/bin/python3
"""The table of docs/performance.md on eigenproblems: symmetric_eigen against its solvers.

    eigen_table.py [--build build/release] [--repeats 7] [--sizes 500,1000,2000,4000] [--ranks 1,2]

Runs `eigenscale-bench --suite eigen` on one rank of two threads and on two ranks of one thread, all
on processors 0 and 1, for all, 10 % and 1 % of the vectors of each size. The ratio is the median over
turns of symmetric_eigen's time by that of the fastest solver in that turn's medians: on two ranks
one of these is LAPACK on one rank with both threads. A last column holds the ratio to the best of
both runs, since one rank of two threads has the same cores.
"""

import argparse
import collections
import json
import os
import statistics
import subprocess

DOOR = "symmetric_eigen"


def measure(options, ranks):
    sizes = [int(size) for size in options.sizes.split(",")]
    shapes = ",".join(f"{n}x{max(1, n * share // 100)}" for n in sizes for share in (100, 10, 1))
    threads = str(2 // ranks)
    environment = dict(os.environ, OMP_NUM_THREADS=threads, OPENBLAS_NUM_THREADS=threads)
    command = ["taskset", "-c", "0,1", "mpirun", "--oversubscribe", "--bind-to", "none", "-np",
               str(ranks), os.path.join(options.build, "apps", "eigenscale-bench"), "--suite",
               "eigen", "--size", shapes, "--repeats", str(options.repeats)]
    output = subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE,
                            text=True).stdout
    seconds = collections.defaultdict(lambda: collections.defaultdict(dict))
    for text in output.splitlines():
        line = json.loads(text)
        if line["contender"] != "dgemm":
            size = (line["size"]["n"], line["size"]["vectors"])
            seconds[size][line["contender"]][line["repeat"]] = line["seconds"]
    return seconds


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--sizes", default="500,1000,2000,4000")
    parser.add_argument("--ranks", default="1,2")
    options = parser.parse_args()
    best_of_all = {}
    tables = []
    for ranks in map(int, options.ranks.split(",")):
        measured = measure(options, ranks)
        rows = []
        for size, contenders in measured.items():
            medians = {name: statistics.median(turns.values())
                       for name, turns in contenders.items()}
            solvers = {name: value for name, value in medians.items() if name != DOOR}
            fastest = min(solvers, key=solvers.get)
            ratio = statistics.median(contenders[DOOR][turn] / contenders[fastest][turn]
                                      for turn in contenders[DOOR])
            best_of_all[size] = min(best_of_all.get(size, medians[fastest]), medians[fastest])
            rows.append((size, medians, ratio))
        tables.append((ranks, rows))
    for ranks, rows in tables:
        solvers = [name for name in rows[0][1] if name != DOOR]
        print(f"\n{ranks} rank(s) of {2 // ranks} thread(s), seconds\n")
        print("| n | vectors | " + " | ".join([DOOR, *solvers]) + " | ratio | to the best of all |")
        print("|" + "---|" * (len(solvers) + 5))
        for size, medians, ratio in rows:
            cells = [f"{medians[name]:.3g}" if name in medians else "" for name in [DOOR, *solvers]]
            print(f"| {size[0]} | {size[1]} | " + " | ".join(cells) +
                  f" | {ratio:.2f} | {medians[DOOR] / best_of_all[size]:.2f} |", flush=True)


if __name__ == "__main__":
    main()
