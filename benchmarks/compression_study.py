#!/usr/bin/env python3
"""Accuracy against size on Fashion-MNIST, for docs/results.md: penalties and their baselines.

    benchmarks/compression_study.py mlp|cnn [--output runs/compression] [--seeds 1,2,3] [--at-once 1]

Trains a network plainly, with group sparsity of several strengths, and with group sparsity and a
nuclear norm. Compresses all: takes out what is dead; factorises some; for comparison the plain ones
also by truncating singular values and by keeping the largest neurons. Whatever changes the outputs
is followed by the same few epochs of training. Prints a table of means over seeds and
writes NETWORK.svg beside the runs. Runs that exist are not repeated. EIGENSCALE_LAUNCHER starts each
(default: mpirun with two ranks of one thread), EIGENSCALE_APPS is the folder of the programs.
"""

import argparse
import concurrent.futures
import json
import os
import shlex
import statistics
import subprocess

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
FASHION = "/usr/share/datasets/fashion-mnist"
# docs/results.md says when which of these were frozen.
NETWORKS = {
    "mlp": {
        "training": ["--network", "mlp:512,512", "--epochs", 60, "--learning-rate", 0.1, "--flip"],
        "penalised": ["--sparse-mix", 0.7, "--shrink-every", 5],
        "groups": {strength: ["--group-sparsity", strength] for strength in (1e-5, 1.6e-5)},
        "both": ["--group-sparsity", 1.6e-5, "--nuclear-norm", 2e-5],
        "fine-tuning": ["--fine-tune-epochs", 10, "--learning-rate", 0.005],
        "ranks": (("groups-1e-05", 0.95), ("groups-1e-05", 0.9), ("both", 0.9)),
        "truncated": (0.5, 0.7, 0.9), "largest": (0.1, 0.2, 0.4)},
    "cnn": {
        "training": ["--network", f"{ROOT}/benchmarks/fashion-cnn-1m.json", "--epochs", 12,
                     "--learning-rate", 0.05, "--flip"],
        "penalised": [],
        "groups": {3e-5: ["--group-sparsity", 3e-5, "--layer-sparsity", "conv*=1e-4"]},
        "both": ["--group-sparsity", 3e-5, "--layer-sparsity", "conv*=1e-4",
                 "--nuclear-norm", 2e-5],
        "fine-tuning": ["--fine-tune-epochs", 2, "--learning-rate", 0.005],
        "ranks": (("both", 0.95), ("both", 0.9)),
        "truncated": (0.8,), "largest": (0.3,)},
}
TRAINING = (f"{FASHION}/train-images-idx3-ubyte.gz", f"{FASHION}/train-labels-idx1-ubyte.gz")
SCALE = ["--scale", "0.00392157"]
MEASURED = ["--validation-data", f"{FASHION}/t10k-images-idx3-ubyte.gz",
            "--validation-labels", f"{FASHION}/t10k-labels-idx1-ubyte.gz",
            *SCALE]


def run(program, folder, options):
    """The summary of a run of a program; from before when it is there."""
    summary = os.path.join(folder, "summary.json")
    if not os.path.exists(summary):
        launcher = os.environ.get(
            "EIGENSCALE_LAUNCHER", "mpirun -np 2 --oversubscribe --bind-to none "
            "--mca btl_vader_single_copy_mechanism none --mca mpi_yield_when_idle 1")
        apps = os.environ.get("EIGENSCALE_APPS", f"{ROOT}/build/release/apps")
        command = shlex.split(launcher) + [os.path.join(apps, program), "--overwrite", "--output",
                                           folder, *map(str, options)]
        environment = dict(os.environ, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"{folder} ended with {done.returncode}:\n{done.stdout}")
    with open(summary) as file:
        return json.load(file)


class Study:
    """Models are trained, then compressed, several at once, and each method's are averaged."""

    def __init__(self, network, output, seeds, at_once):
        self.setting = NETWORKS[network]
        self.output = os.path.join(output, network)
        self.seeds = seeds
        self.pool = concurrent.futures.ThreadPoolExecutor(at_once)
        self.points = []

    def folder(self, name, seed):
        return os.path.join(self.output, f"{name}-{seed}")

    def train(self, name, seed, penalties):
        # Without validation data: the model is that of the last epoch.
        run("eigenscale-train", self.folder(name, seed), [
            "--data", TRAINING[0], "--labels", TRAINING[1], *SCALE, "--batch-size", 128,
            *self.setting["training"], "--seed", seed, "--progress", "never", *penalties])

    def compress(self, point, seed):
        method = f"{point['method']}-{point['strength']}".replace(" ", "-")
        model = self.folder(point["model"], seed)
        return run("eigenscale-compress", f"{model}-{method}",
                   ["--model", model, *MEASURED, *point["options"]])["metrics"]

    def proximal_share(self, point):
        """The largest over the seeds, of the time of all steps, in per cent."""
        shares = []
        for seed in self.seeds:
            with open(os.path.join(self.folder(point["model"], seed), "summary.json")) as file:
                timers = json.load(file)["timers"]
            own = timers.get("train/step/proximal step", {"max": 0})["max"]
            shares.append(100 * own / timers["train/step"]["max"])
        return max(shares)

    def plan(self):
        """What is trained, as name: penalties; and what is compressed."""
        setting = self.setting
        tuned = ["--data", TRAINING[0], "--labels", TRAINING[1], *setting["fine-tuning"]]
        models = {"plain": []}
        points = [("plain", "", "plain", [])]
        for strength, penalties in setting["groups"].items():
            models[f"groups-{strength}"] = [*setting["penalised"], *penalties]
            points.append(("groups", strength, f"groups-{strength}", []))
        models["both"] = [*setting["penalised"], *setting["both"]]
        for model, energy in setting["ranks"]:
            method = "groups and nuclear norm" if model == "both" else "groups, then ranks"
            points.append((method, energy, model, ["--energy", energy, *tuned]))
        points += [("truncated", energy, "plain", ["--energy", energy, *tuned])
                   for energy in setting["truncated"]]
        points += [("largest neurons", share, "plain", ["--keep-neurons", share, *tuned])
                   for share in setting["largest"]]
        return models, [dict(zip(("method", "strength", "model", "options"), point))
                        for point in points]

    def all(self):
        models, points = self.plan()
        for job in [self.pool.submit(self.train, name, seed, penalties)
                    for seed in self.seeds for name, penalties in models.items()]:
            job.result()
        jobs = [[self.pool.submit(self.compress, point, seed) for seed in self.seeds]
                for point in points]
        print("| method | parameters | gone | accuracy, % | by seed | proximal steps, % of training |")
        print("|---|---|---|---|---|---|")
        for point, job in zip(points, jobs):
            metrics = [one.result() for one in job]
            accuracies = [100 * m["accuracy"] for m in metrics]
            self.points.append(dict(
                point, parameters=statistics.mean(m["parameters"] for m in metrics),
                accuracy=statistics.mean(accuracies), accuracies=accuracies,
                proximal=self.proximal_share(point)))
            self.show(self.points[-1])

    def show(self, point):
        first = self.points[0]
        share = 100 * (1 - point["parameters"] / first["parameters"])
        print(f"| {point['method']} {point['strength']} | {point['parameters']:,.0f} | {share:.1f} % "
              f"| {point['accuracy']:.2f} ({point['accuracy'] - first['accuracy']:+.2f}) "
              f"| {' '.join(f'{value:.2f}' for value in point['accuracies'])} "
              f"| {point['proximal']:.1f} |", flush=True)


COLOURS = ("#444444", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00")


def picture(points):
    """Accuracy over the share of parameters that are left, logarithmic, as SVG."""
    import math
    width, height, left, bottom = 640, 400, 60, 50
    full = points[0]["parameters"]
    low = math.log10(min(point["parameters"] for point in points) / full) - 0.05
    top = max(point["accuracy"] for point in points) + 0.3
    floor = max(min(point["accuracy"] for point in points), top - 8)

    def x(point):
        share = math.log10(point["parameters"] / full)
        return left + (width - left - 20) * (share - low) / -low

    def y(accuracy):
        return 20 + (height - bottom - 20) * (top - max(accuracy, floor)) / (top - floor)

    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
             'font-family="sans-serif" font-size="12">',
             f'<rect width="{width}" height="{height}" fill="white"/>']
    for percent in (1, 2, 5, 10, 20, 50, 100):
        if math.log10(percent / 100) >= low:
            at = x({"parameters": full * percent / 100})
            lines += [f'<line x1="{at:.1f}" x2="{at:.1f}" y1="20" y2="{height - bottom}" stroke="#ddd"/>',
                      f'<text x="{at:.1f}" y="{height - bottom + 16}" text-anchor="middle">{percent}</text>']
    for accuracy in range(math.ceil(floor), math.floor(top) + 1):
        at = y(accuracy)
        lines += [f'<line x1="{left}" x2="{width - 20}" y1="{at:.1f}" y2="{at:.1f}" stroke="#ddd"/>',
                  f'<text x="{left - 6}" y="{at + 4:.1f}" text-anchor="end">{accuracy}</text>']
    lines += [f'<text x="{width / 2}" y="{height - 12}" text-anchor="middle">parameters left, %</text>',
              f'<text x="16" y="{height / 2}" text-anchor="middle" '
              f'transform="rotate(-90 16 {height / 2})">test accuracy, %</text>']
    methods = list(dict.fromkeys(point["method"] for point in points))
    for index, method in enumerate(methods):
        own = sorted((p for p in points if p["method"] == method), key=lambda p: p["parameters"])
        colour = COLOURS[index]
        path = " ".join(f"{x(p):.1f},{y(p['accuracy']):.1f}" for p in own)
        lines.append(f'<polyline points="{path}" fill="none" stroke="{colour}"/>')
        for point in own:
            below = "" if point["accuracy"] >= floor else ' fill-opacity="0.3"'
            lines.append(f'<circle cx="{x(point):.1f}" cy="{y(point["accuracy"]):.1f}" r="4" '
                         f'fill="{colour}"{below}/>')
        at = height - bottom - 18 * (len(methods) - index)
        lines += [f'<circle cx="{width - 190}" cy="{at}" r="4" fill="{colour}"/>',
                  f'<text x="{width - 180}" y="{at + 4}">{method}</text>']
    return "\n".join(lines + ["</svg>", ""])


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("--output", default="runs/compression")
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--at-once", type=int, default=1, help="so many runs side by side")
    arguments = parser.parse_args()
    os.makedirs(os.path.join(arguments.output, arguments.network), exist_ok=True)
    study = Study(arguments.network, arguments.output,
                  [int(seed) for seed in arguments.seeds.split(",")], arguments.at_once)
    study.all()
    with open(study.output + ".svg", "w") as file:
        file.write(picture(study.points))


if __name__ == "__main__":
    main()
