#!/usr/bin/env python3
"""Accuracy against size on Fashion-MNIST, for docs/results.md: penalties and their baselines.

    benchmarks/compression_study.py mlp|cnn [--output runs/compression] [--seeds 1,2,3]

Trains a network plainly, with group sparsity, and with group sparsity and low rank, of several
strengths each; compresses all, and the plain ones also by truncating singular values and by keeping
the largest neurons. Prints a table of means over seeds and writes NETWORK.svg beside the runs. Runs
that exist are not repeated. EIGENSCALE_LAUNCHER starts each (default: mpirun with two ranks of one
thread), EIGENSCALE_APPS is the folder of the programs.
"""

import argparse
import json
import os
import shlex
import statistics
import subprocess

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
FASHION = "/usr/share/datasets/fashion-mnist"
# Frozen before the seeds of docs/results.md ran.
NETWORKS = {
    "mlp": {"network": "mlp:512,512", "epochs": 20,
            "group": (1e-5, 2e-5, 4e-5), "both": ((1e-5, 1e-4), (2e-5, 2e-4))},
    "cnn": {"network": f"{ROOT}/benchmarks/fashion-cnn-1m.json", "epochs": 10,
            "group": (1e-5, 2e-5, 4e-5), "both": ((1e-5, 1e-4), (2e-5, 2e-4))},
}
ENERGY = 0.99
TRUNCATIONS = (0.6, 0.8, 0.9, 0.95, 0.99)
SHARES = (0.1, 0.2, 0.35, 0.5, 0.7)
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
    def __init__(self, network, output, seeds):
        self.setting = NETWORKS[network]
        self.output = os.path.join(output, network)
        self.seeds = seeds
        self.points = []

    def train(self, name, seed, *penalties):
        folder = os.path.join(self.output, f"{name}-{seed}")
        run("eigenscale-train", folder, [
            "--data", f"{FASHION}/train-images-idx3-ubyte.gz",
            # Without validation data: the model is that of the last epoch.
            "--labels", f"{FASHION}/train-labels-idx1-ubyte.gz", *SCALE,
            "--network", self.setting["network"], "--batch-size", 128, "--learning-rate", 0.05,
            "--epochs", self.setting["epochs"], "--seed", seed, "--progress", "never", *penalties])
        return folder

    def compress(self, method, strength, folders, *options):
        """One point: means over the models in folders."""
        metrics = []
        for folder in folders:
            output = f"{folder}-{method.replace(' ', '-')}-{strength}"
            metrics.append(run("eigenscale-compress", output,
                               ["--model", folder, *MEASURED, *options])["metrics"])
        accuracies = [100 * m["accuracy"] for m in metrics]
        self.points.append({
            "method": method, "strength": strength,
            "parameters": statistics.mean(m["parameters"] for m in metrics),
            "accuracy": statistics.mean(accuracies), "accuracies": accuracies,
            "proximal": max(self.proximal_share(folder) for folder in folders),
            "latency": [statistics.median(m["before"]["latency"][batch] / m["latency"][batch]
                                          for m in metrics) for batch in ("1", "256")]})
        self.show(self.points[-1])

    @staticmethod
    def proximal_share(folder):
        """Of the time of all steps, in per cent."""
        with open(os.path.join(folder, "summary.json")) as file:
            timers = json.load(file)["timers"]
        own = timers.get("train/step/proximal step", {"max": 0})["max"]
        return 100 * own / timers["train/step"]["max"]

    def show(self, point):
        first = self.points[0]
        share = 100 * (1 - point["parameters"] / first["parameters"])
        print(f"| {point['method']} {point['strength']} | {point['parameters']:,.0f} | {share:.1f} % "
              f"| {point['accuracy']:.2f} ({point['accuracy'] - first['accuracy']:+.2f}) "
              f"| {' '.join(f'{value:.2f}' for value in point['accuracies'])} "
              f"| {point['latency'][0]:.2f}, {point['latency'][1]:.2f} "
              f"| {point['proximal']:.1f} |", flush=True)

    def all(self):
        print("| method | parameters | gone | accuracy, % | by seed | faster at batch 1, 256 "
              "| proximal steps, % of training |")
        print("|---|---|---|---|---|---|---|")
        plain = [self.train("plain", seed) for seed in self.seeds]
        self.compress("plain", "", plain)
        for strength in self.setting["group"]:
            folders = [self.train(f"group-{strength}", seed, "--group-sparsity", strength)
                       for seed in self.seeds]
            self.compress("groups", strength, folders)
        for group, nuclear in self.setting["both"]:
            folders = [self.train(f"both-{group}-{nuclear}", seed, "--group-sparsity", group,
                                  "--nuclear-norm", nuclear) for seed in self.seeds]
            self.compress("groups and rank", f"{group}, {nuclear}", folders, "--energy", ENERGY)
        for energy in TRUNCATIONS:
            self.compress("truncated", energy, plain, "--energy", energy)
        for share in SHARES:
            self.compress("largest neurons", share, plain, "--keep-neurons", share)
        with open(self.output + ".svg", "w") as file:
            file.write(picture(self.points))


COLOURS = ("#444444", "#0072b2", "#d55e00", "#009e73", "#cc79a7")


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
        lines += [f'<circle cx="{width - 150}" cy="{at}" r="4" fill="{colour}"/>',
                  f'<text x="{width - 140}" y="{at + 4}">{method}</text>']
    return "\n".join(lines + ["</svg>", ""])


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("--output", default="runs/compression")
    parser.add_argument("--seeds", default="1,2,3")
    arguments = parser.parse_args()
    os.makedirs(os.path.join(arguments.output, arguments.network), exist_ok=True)
    Study(arguments.network, arguments.output,
          [int(seed) for seed in arguments.seeds.split(",")]).all()


if __name__ == "__main__":
    main()
