"""The steps of tests/gpu/check that whiten and cluster: against the host, and in seconds."""

import concurrent.futures
import json
import os
import shutil

import numpy

from machine import HERE, guarded

DOUBLE = ("--precision", "double")


def difference(name, one, other):
    a, b = (numpy.load(f"{folder}/{name}.npy") for folder in (one, other))
    return float(abs(a.astype(float) - b).max() / max(float(abs(a).max()), 1e-300))


def step_difference(_, one, other):
    """The largest of the losses of steps that train coefficients, relative to 1 + theirs."""
    losses = []
    for folder in (one, other):
        with open(f"{folder}/metrics.jsonl", encoding="utf-8") as file:
            lines = [json.loads(line) for line in file]
        losses.append([line["loss"] for line in lines if line["phase"] == "finetune"])
    return max(abs(a - b) / (1 + abs(a)) for a, b in zip(*losses, strict=True))


def accuracy_difference(_, one, other):
    here, there = (summary_of(folder)["metrics"]["accuracy"] for folder in (one, other))
    return abs(here - there)


def summary_of(folder):
    with open(f"{folder}/summary.json", encoding="utf-8") as file:
        return json.load(file)


def compare_rows(machine, work, name, program, more, bounds, ranks):
    """A run on the host and one on the GPU; arrays, and losses of steps, within their bounds."""
    folders = {device: f"{work}/{name.replace(' ', '-')}-{ranks}-{device}" for device in ("cpu", "cuda")}
    for device, folder in folders.items():
        machine.run(f"{name}, ranks {ranks}, {device}", program, *more, "--device", device, "--overwrite",
                    "--progress", "never", "--output", folder, ranks=ranks, threads=2)
    measures = {"steps": step_difference, "accuracy": accuracy_difference}
    found = {what: measures.get(what, difference)(what, *folders.values()) for what in bounds}
    here, there = (summary_of(folder) for folder in folders.values())
    # From 160 features on an eigenproblem is the GPU's.
    if name in ("whiten", "whiten float") and "cuSOLVER" not in there["choices"]["solver"]:
        raise RuntimeError(f"{name}: solved by {there['choices']['solver']}")
    machine.report(f"{name}, ranks {ranks}",
                   all(found[what] <= bound for what, bound in bounds.items()), differences=found,
                   accuracy=[run["metrics"].get("accuracy") for run in (here, there)],
                   covariance_error=[run["metrics"].get("covariance_error") for run in (here, there)],
                   transfers=there.get("transfers"))


def step_rows(machine, training):
    """Whitening and clustering: what they leave against the CPU."""
    work, draw = training.work, numpy.random.default_rng(2)
    samples, features, clusters = 200000, 192, 10
    labels = numpy.arange(samples) % clusters
    bases = numpy.linalg.qr(draw.normal(size=(clusters, features, 4)))[0]
    rows = numpy.empty((samples, features))
    for cluster in range(clusters):
        own = labels == cluster
        rows[own] = draw.normal(size=(own.sum(), 4)) @ bases[cluster].T
    rows += 0.02 * draw.normal(size=rows.shape)
    numpy.save(f"{work}/rows.npy", rows.astype(numpy.float32))
    numpy.save(f"{work}/rows-double.npy", rows[:20000])
    numpy.save(f"{work}/rows-labels.npy", labels)
    cluster = ("--data", f"{work}/rows.npy", "--labels", f"{work}/rows-labels.npy", "--clusters",
               clusters, "--no-ablation")
    encoder = ("--encoder", "mlp", "--encoder-channels", "96,64", "--pretrain-batch", 256,
               "--pretrain-epochs", 1)
    few = ("--data", f"{work}/few.npy", "--labels", f"{work}/few-labels.npy", "--clusters",
           clusters, "--subspace-dim", 4, "--finetune-steps", 30, "--no-ablation", *encoder, *DOUBLE)
    numpy.save(f"{work}/few.npy", rows[:1500])
    numpy.save(f"{work}/few-labels.npy", labels[:1500])
    trained = {"steps": 1e-9, "labels": 0}
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for name, program, more, bounds in (
                ("whiten", "eigenscale-whiten", ("--data", f"{work}/rows-double.npy", "--check"),
                 {"whitened": 1e-9, "eigenvalues": 1e-11}),
                ("whiten float", "eigenscale-whiten", ("--data", f"{work}/rows.npy", "--check"),
                 {"whitened": 1e-3, "eigenvalues": 1e-4}),
                ("whiten randomized", "eigenscale-whiten",
                 ("--data", f"{work}/rows-double.npy", "--solver", "randomized", "--components", 20),
                 {"whitened": 1e-6, "eigenvalues": 1e-9}),
                ("cluster", "eigenscale-cluster", cluster, {"labels": 0, "residuals": 1e-5}),
                ("cluster encoded", "eigenscale-cluster", (*cluster, *encoder),
                 {"accuracy": 1e-4}),  # of rows between two clusters
                ("cluster trained", "eigenscale-cluster", (*few, "--self-expression", "full"),
                 trained),
                ("cluster trained codes", "eigenscale-cluster",
                 (*few, "--self-expression", "landmark", "--landmarks", 300), trained),
                ("cluster tuned on landmarks", "eigenscale-cluster",
                 (*few, "--self-expression", "full", "--landmarks", 400), {"steps": 1e-9})):
            for ranks in (1, 2):  # two share the GPU
                pool.submit(guarded, machine, f"{name}, ranks {ranks}", compare_rows, machine, work,
                            name, program, more, bounds, ranks)


def time_run(machine, name, program, more, folder, **keywords):
    machine.run(name, program, *more, "--progress", "never", "--overwrite", "--output", folder,
                **keywords)
    run = summary_of(folder)
    machine.report(name, **keywords, seconds=run["seconds"], accuracy=run["metrics"].get("accuracy"),
                   transfers=run.get("transfers"))


def step_scale(machine, _):
    """Seconds of whitening and clustering: a rank with the GPU against all cores of the host."""
    cores = len(os.sched_getaffinity(0))
    folder = "/dev/shm/eigenscale-gpu-check"  # so that disks do not count
    images = os.path.join(HERE, "fashion-mnist")
    pixels = [word for part in ("train", "t10k") for word in
              ("--data", f"{images}/{part}-images-idx3-ubyte.gz",
               "--labels", f"{images}/{part}-labels-idx1-ubyte.gz")]
    subspaces = ("--kind", "subspaces", "--noise", 0.02, "--samples")
    spectrum = ("--kind", "spectrum", "--mean", 1, "--samples")
    rows = ("--data", f"{folder}/rows/data.npy")
    labelled = (*rows, "--labels", f"{folder}/rows/labels.npy", "--no-ablation")
    for name, generated, program, more in (
            ("cluster 10^6 x 200", (*subspaces, 10**6, "--ambient-dim", 200, "--clusters", 20),
             "eigenscale-cluster", (*labelled, "--clusters", 20)),
            ("cluster 10^7 x 50, 100 clusters",
             (*subspaces, 10**7, "--ambient-dim", 50, "--clusters", 100, "--subspace-dim", 4),
             "eigenscale-cluster", (*labelled, "--clusters", 100, "--subspace-dim", 4)),
            ("cluster 70,000 images of Fashion-MNIST", None, "eigenscale-cluster",
             (*pixels, "--clusters", 10, "--encoder", "conv", "--image-shape", "1x28x28", "--scale",
              1 / 255, "--subspace-dim", 10, "--no-ablation")),
            ("whiten 200,000 x 4,096", (*spectrum, 200000, "--ambient-dim", 4096),
             "eigenscale-whiten", rows),
            ("whiten 20,000 x 100,000, 50 components", (*spectrum, 20000, "--ambient-dim", 100000),
             "eigenscale-whiten", (*rows, "--components", 50))):
        if generated is None and not os.path.isdir(images):
            continue
        shutil.rmtree(folder, ignore_errors=True)
        if generated is not None:
            guarded(machine, name + ", rows", machine.run, name + ", rows", "eigenscale-generate",
                    *generated, "--progress", "never", "--output", folder + "/rows", ranks=cores,
                    threads=1)
        for where, ranks, threads, device in (("GPU", 1, cores, "cuda"), ("host", cores, 1, "cpu")):
            guarded(machine, f"{name}, {where}", time_run, machine, f"{name}, {where}", program,
                    (*more, "--device", device), f"{folder}/run", ranks=ranks, threads=threads)
    shutil.rmtree(folder, ignore_errors=True)
