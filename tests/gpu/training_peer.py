#!/usr/bin/env python3
"""ResNet-18 in Python's DistributedDataParallel over NCCL, one process: what eigenscale-train is
measured against on a GPU.

    training_peer.py float|tf32|bfloat16 contiguous|channels-last [--deterministic]

The network of `--network resnet18` for 32 x 32 images, batches of 256, SGD with momentum. Samples lie
on the GPU already. Prints one JSON line with the images a second.
"""

import json
import os
import statistics
import sys
import time

import torch
from torch import nn

BATCH, WARM_UP, ROUNDS, STEPS = 256, 30, 4, 20


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True), nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs))
        self.shortcut = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False),
                                          nn.BatchNorm2d(outputs))

    def forward(self, x):
        return torch.relu(self.body(x) + self.shortcut(x))


def resnet18():
    layers = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True)]
    inputs = 64
    for stage in range(4):
        for block in range(2):
            outputs = 64 << stage
            layers.append(Block(inputs, outputs, 2 if stage > 0 and block == 0 else 1))
            inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


def main():
    precision, layout = sys.argv[1:3]
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.deterministic = "--deterministic" in sys.argv
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29511")
    torch.distributed.init_process_group("nccl", rank=0, world_size=1)
    torch.cuda.set_device(0)
    form = torch.channels_last if layout == "channels-last" else torch.contiguous_format
    network = resnet18().cuda().to(memory_format=form)
    network = nn.parallel.DistributedDataParallel(network, device_ids=[0])
    optimizer = torch.optim.SGD(network.parameters(), lr=0.02, momentum=0.9)
    samples = torch.randn(20 * BATCH, 3, 32, 32, device="cuda").to(memory_format=form)
    labels = torch.randint(10, (20 * BATCH,), device="cuda")
    rates = []

    def train(steps):
        for step in range(steps):
            first = step % 20 * BATCH
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cuda", torch.bfloat16, enabled=precision == "bfloat16"):
                output = network(samples[first:first + BATCH])
                loss = nn.functional.cross_entropy(output, labels[first:first + BATCH])
            loss.backward()
            optimizer.step()
        torch.cuda.synchronize()

    train(WARM_UP)
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        train(STEPS)
        rates.append(STEPS * BATCH / (time.perf_counter() - begin))
    print(json.dumps({"images_per_second": statistics.median(rates), "rates": rates}), flush=True)
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
