#!/usr/bin/python3
"""The table of docs/performance.md on eigenproblems: symmetric_eigen against its solvers.

    eigen_table.py [--build build/release] [--rounds 3] [--repeats 7] [--sizes 500,1000,2000,4000]
                   [--ranks 1,2]

Runs `eigenscale-bench --suite eigen` on one rank of two threads and on two ranks of one thread, all
on processors 0 and 1, for all, 10 % and 1 % of the vectors of each size. Each round runs a size on
both, one straight after the other, since machines change their speed within minutes; seconds are
medians over all. The ratio is the median over turns of symmetric_eigen's time by that of the fastest
solver in the same turn: on two ranks one of these is LAPACK on one rank with both threads. The last
column is the median over rounds of its median by the best median of that round on one rank or two,
which have the same cores.
"""

import argparse
import collections
import json
import os
import statistics
import subprocess
import sys

DOOR = "symmetric_eigen"


def measure(options, n, ranks):
    """{vectors: {contender: {repeat: seconds}}} of one run."""
    shapes = ",".join(f"{n}x{max(1, n * share // 100)}" for share in (100, 10, 1))
    threads = str(2 // ranks)
    environment = dict(os.environ, OMP_NUM_THREADS=threads, OPENBLAS_NUM_THREADS=threads)
    command = ["taskset", "-c", "0,1", "mpirun", "--oversubscribe", "--bind-to", "none", "-np",
               str(ranks), os.path.join(options.build, "apps", "eigenscale-bench"), "--suite",
               "eigen", "--size", shapes, "--repeats", str(options.repeats)]
    run = subprocess.run(command, check=False, env=environment, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, text=True)
    if run.returncode != 0:
        sys.exit(run.stderr)
    output = run.stdout
    seconds = collections.defaultdict(lambda: collections.defaultdict(dict))
    for line in map(json.loads, output.splitlines()):
        if line["contender"] != "dgemm":
            vectors = line["size"]["vectors"]
            seconds[vectors][line["contender"]][line["repeat"]] = line["seconds"]
    return seconds


def solvers_of(contenders):
    return [name for name in contenders if name != DOOR]


def median(turns):
    return statistics.median(turns.values())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--sizes", default="500,1000,2000,4000")
    parser.add_argument("--ranks", default="1,2")
    options = parser.parse_args()
    all_ranks = [int(ranks) for ranks in options.ranks.split(",")]
    names = {ranks: [] for ranks in all_ranks}  # a size may be too large for some
    rows = {ranks: [] for ranks in all_ranks}
    for n in map(int, options.sizes.split(",")):
        rounds = [{ranks: measure(options, n, ranks) for ranks in all_ranks}
                  for _ in range(options.rounds)]
        for ranks in all_ranks:
            for vectors, contenders in rounds[0][ranks].items():
                names[ranks] += [name for name in contenders if name not in [DOOR, *names[ranks]]]
                times = {name: [time for part in rounds
                                for time in part[ranks][vectors][name].values()]
                         for name in contenders}
                fastest = min(solvers_of(times), key=lambda name: statistics.median(times[name]))
                ratio = statistics.median(map(lambda door, best: door / best,
                                              times[DOOR], times[fastest]))
                to_best = statistics.median(
                    median(part[ranks][vectors][DOOR]) /
                    min(median(part[any_ranks][vectors][name]) for any_ranks in all_ranks
                        for name in solvers_of(part[any_ranks][vectors]))
                    for part in rounds)
                seconds = {name: f"{statistics.median(times[name]):.3g}" for name in times}
                rows[ranks].append((n, vectors, seconds, ratio, to_best))
    for ranks in all_ranks:
        print(f"\n{ranks} rank(s) of {2 // ranks} thread(s), seconds\n")
        print("| n | vectors | " + " | ".join([DOOR, *names[ranks]]) +
              " | ratio | to the best of all |")
        print("|" + "---|" * (len(names[ranks]) + 5))
        for n, vectors, seconds, ratio, to_best in rows[ranks]:
            cells = " | ".join(seconds.get(name, "") for name in [DOOR, *names[ranks]])
            print(f"| {n} | {vectors} | {cells} | {ratio:.2f} | {to_best:.2f} |")


if __name__ == "__main__":
    main()
