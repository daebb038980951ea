#!/usr/bin/python3
"""The table of docs/performance.md on eigenproblems: symmetric_eigen against its solvers.

    eigen_table.py [--build build/release] [--rounds 3] [--repeats 7] [--sizes 500,1000,2000,4000]
                   [--ranks 1,2] [--fastest SHARE]

Runs `eigenscale-bench --suite eigen` on one rank of two threads and on two ranks of one thread, all
on processors 0 and 1, for all, 10 % and 1 % of the vectors of each size. Each round runs a size on
both, one straight after the other, since machines change their speed within minutes; seconds are
medians over all. The ratio is the median over turns of symmetric_eigen's time by that of the fastest
solver in the same turn: on two ranks one of these is LAPACK on one rank with both threads. The last
column is the median over rounds of its median by the best median of that round on one rank or two,
which have the same cores.

--fastest .1 takes in the place of medians the time that a tenth of all turns, of all rounds together,
is at most. Ratios are those of such times: no longer of the same turn or round.
"""

import argparse
import collections
import json
import math
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


def typical(times, share):
    """Their median, or what a share of them is at most."""
    if not share:
        return statistics.median(times)
    return sorted(times)[max(0, math.ceil(share * len(times)) - 1)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--sizes", default="500,1000,2000,4000")
    parser.add_argument("--ranks", default="1,2")
    parser.add_argument("--fastest", type=float, default=0)
    options = parser.parse_args()
    if not 0 <= options.fastest < 1:
        parser.error("--fastest is a share of the turns, such as .1")
    all_ranks = [int(ranks) for ranks in options.ranks.split(",")]
    names = {ranks: [] for ranks in all_ranks}  # a size may be too large for some
    rows = {ranks: [] for ranks in all_ranks}
    for n in map(int, options.sizes.split(",")):
        rounds = [{ranks: measure(options, n, ranks) for ranks in all_ranks}
                  for _ in range(options.rounds)]
        times = {ranks: {vectors: {name: [time for part in rounds
                                          for time in part[ranks][vectors][name].values()]
                                   for name in contenders}
                         for vectors, contenders in rounds[0][ranks].items()}
                 for ranks in all_ranks}
        for ranks in all_ranks:
            for vectors, own in times[ranks].items():
                names[ranks] += [name for name in own if name not in [DOOR, *names[ranks]]]
                seconds = {name: typical(own[name], options.fastest) for name in own}
                fastest = min(solvers_of(own), key=seconds.get)
                if options.fastest:
                    ratio = seconds[DOOR] / seconds[fastest]
                    to_best = seconds[DOOR] / min(
                        typical(times[any_ranks][vectors][name], options.fastest)
                        for any_ranks in all_ranks for name in solvers_of(times[any_ranks][vectors]))
                else:
                    ratio = statistics.median(map(lambda door, best: door / best,
                                                  own[DOOR], own[fastest]))
                    to_best = statistics.median(
                        median(part[ranks][vectors][DOOR]) /
                        min(median(part[any_ranks][vectors][name]) for any_ranks in all_ranks
                            for name in solvers_of(part[any_ranks][vectors]))
                        for part in rounds)
                rows[ranks].append((n, vectors, {name: f"{seconds[name]:.3g}" for name in own},
                                    ratio, to_best))
    for ranks in all_ranks:
        which = f"the fastest {options.fastest:g} are at most" if options.fastest else "medians"
        print(f"\n{ranks} rank(s) of {2 // ranks} thread(s), seconds, {which}\n")
        print("| n | vectors | " + " | ".join([DOOR, *names[ranks]]) +
              " | ratio | to the best of all |")
        print("|" + "---|" * (len(names[ranks]) + 5))
        for n, vectors, seconds, ratio, to_best in rows[ranks]:
            cells = " | ".join(seconds.get(name, "") for name in [DOOR, *names[ranks]])
            print(f"| {n} | {vectors} | {cells} | {ratio:.2f} | {to_best:.2f} |")


if __name__ == "__main__":
    main()
