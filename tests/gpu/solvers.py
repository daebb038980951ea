#!/usr/bin/env python3
"""Times decompositions in double on the host and on the GPU, the copies there and back counted for
the host, since that is what a layer on the GPU has to choose between. Prints JSON lines."""

import json
import statistics
import time

import torch


def seconds(work, rounds):
    work()
    torch.cuda.synchronize()
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        work()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def main():
    for n in (16, 32, 64, 128, 160, 192, 256, 512, 1024, 2048, 4096):
        values = torch.randn(n, 2 * n, dtype=torch.float64, device="cuda")
        matrix = values @ values.t() / (2 * n)
        rounds = 9 if n <= 512 else 3
        line = {"problem": "eigh", "n": n, "gpu": seconds(lambda: torch.linalg.eigh(matrix), rounds)}
        if n <= 2048:
            line["host"] = seconds(
                lambda: [part.cuda() for part in torch.linalg.eigh(matrix.cpu())], rounds)
        print(json.dumps(line), flush=True)
    for m, n in ((64, 576), (128, 1152), (512, 512), (512, 4608)):
        matrix = torch.randn(m, n, dtype=torch.float64, device="cuda")
        line = {"problem": "svd", "m": m, "n": n}
        for driver in ("gesvd", "gesvdj"):
            line["gpu " + driver] = seconds(
                lambda: torch.linalg.svd(matrix, full_matrices=False, driver=driver), 2)
        line["host"] = seconds(
            lambda: [part.cuda() for part in torch.linalg.svd(matrix.cpu(), full_matrices=False)], 2)
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
