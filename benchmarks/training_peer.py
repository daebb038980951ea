#!/usr/bin/python3
"""Data-parallel training with Python's DistributedDataParallel over gloo: what eigenscale-train is
measured against. Fashion-MNIST, cross-entropy, SGD with momentum 0.9, one thread a process.

    training_peer.py mlp|cnn [--ranks 2] [--batch-size 256] [--warm-up 30] [--steps 60] [--bucket-view]

Prints one JSON line with the images a second of all processes together. The samples lie in memory
as bytes; a step gathers its own share of a shuffled batch and scales it, nothing else is read.
--bucket-view lets gradients be views of the buckets (not the default of DistributedDataParallel).
"""

import argparse
import gzip
import json
import multiprocessing
import os
import socket
import time

import numpy
import torch

DATA = "/usr/share/datasets/fashion-mnist"


def read_idx(name):
    """The array of a gzipped IDX file of bytes."""
    with gzip.open(os.path.join(DATA, name)) as file:
        content = file.read()
    dimensions = content[3]
    shape = numpy.frombuffer(content, ">i4", dimensions, 4)
    return numpy.frombuffer(content, numpy.uint8, offset=4 + 4 * dimensions).reshape(shape)


def make_network(name):
    nn = torch.nn
    if name == "mlp":
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 2048), nn.ReLU(),
                             nn.Linear(2048, 2048), nn.ReLU(), nn.Linear(2048, 10))
    layers = []
    channels = 1
    for outputs, stride in ((32, 1), (64, 2), (64, 2)):
        layers += [nn.Conv2d(channels, outputs, 3, stride, 1, bias=False),
                   nn.BatchNorm2d(outputs), nn.ReLU()]
        channels = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))


def train(rank, options, port):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    images = torch.from_numpy(read_idx("train-images-idx3-ubyte.gz").copy()).unsqueeze(1)
    labels = torch.from_numpy(read_idx("train-labels-idx1-ubyte.gz").astype(numpy.int64))
    network = make_network(options.network)
    if options.ranks > 1:
        torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}",
                                             rank=rank, world_size=options.ranks)
        network = torch.nn.parallel.DistributedDataParallel(
            network, gradient_as_bucket_view=options.bucket_view)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    order = torch.randperm(len(images))  # the same everywhere
    share = options.batch_size // options.ranks
    for step in range(options.warm_up + options.steps):
        if step == options.warm_up:
            begin = time.perf_counter()
        first = step * options.batch_size % (len(images) - options.batch_size) + rank * share
        own = order[first:first + share]
        samples = images[own].to(torch.float32) * (1 / 255)
        optimizer.zero_grad(set_to_none=not options.bucket_view)
        loss = torch.nn.functional.cross_entropy(network(samples), labels[own])
        loss.backward()
        optimizer.step()
    if options.ranks > 1:
        torch.distributed.barrier()
    seconds = time.perf_counter() - begin
    if rank == 0:
        print(json.dumps({
            "suite": "training", "contender": "DistributedDataParallel, gloo",
            "torch": torch.__version__, "network": options.network, "ranks": options.ranks,
            "batch_size": options.batch_size, "steps": options.steps, "loss": loss.item(),
            "images_per_second": options.steps * options.batch_size / seconds}), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network", choices=("mlp", "cnn"))
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--warm-up", type=int, default=30)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--bucket-view", action="store_true")
    options = parser.parse_args()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=train, args=(rank, options, port))
                 for rank in range(options.ranks)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    raise SystemExit(max(abs(process.exitcode) for process in processes))


if __name__ == "__main__":
    main()
