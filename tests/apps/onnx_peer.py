"""Checks model.onnx of a folder, runs it in OpenCV, and prints how far its outputs on noise are from
those of model.json and model.safetensors in torch, relative to the largest (or 1).

    onnx_peer.py FOLDER
"""

import json
import os
import struct
import sys

import cv2
import onnx
import torch

TYPES = {"F32": torch.float32, "F64": torch.float64, "I64": torch.int64}


def load(folder):
    """A function from samples to outputs, in evaluation mode and single precision."""
    with open(os.path.join(folder, "model.json")) as file:
        layers = json.load(file)["layers"]
    tensors = read_tensors(os.path.join(folder, "model.safetensors"))
    return lambda samples: run(layers, "layers", samples, tensors)


def read_tensors(path):
    with open(path, "rb") as file:
        data = file.read()
    size = struct.unpack("<Q", data[:8])[0]
    result = {}
    for name, entry in json.loads(data[8:8 + size]).items():
        if name != "__metadata__":
            begin, end = (8 + size + offset for offset in entry["data_offsets"])
            flat = torch.frombuffer(bytearray(data[begin:end]), dtype=TYPES[entry["dtype"]])
            result[name] = flat.view(entry["shape"]).float()
    return result


def run(layers, parent, x, tensors):
    for layer in layers:
        path = f"{parent}.{layer.get('name', '')}"
        kind = layer["type"]
        weight, bias = tensors.get(path + ".weight"), tensors.get(path + ".bias")
        if kind == "convolution":
            x = torch.nn.functional.conv2d(x, weight, bias, layer["stride"], layer["padding"])
        elif kind == "linear":
            x = torch.nn.functional.linear(x, weight, bias)
        elif kind == "normalization":
            assert layer["kind"] == "batch", layer
            x = torch.nn.functional.batch_norm(x, tensors[path + ".running_mean"],
                                               tensors[path + ".running_variance"], weight, bias,
                                               False, 0, layer["epsilon"])
        elif kind == "relu":
            x = torch.relu(x)
        elif kind == "max-pooling":
            x = torch.nn.functional.max_pool2d(x, layer["kernel"], layer["stride"],
                                               layer["padding"])
        elif kind == "average-pooling":
            x = x.mean((2, 3), keepdim=True)
        elif kind == "flatten":
            x = x.flatten(1)
        elif kind == "residual":
            x = (run(layer["body"], path, x, tensors) +
                 run(layer["shortcut"], path + "-shortcut", x, tensors))
        else:
            raise ValueError(f"no layer of type {kind}")
    return x


def main(folder):
    onnx.checker.check_model(onnx.load(os.path.join(folder, "model.onnx")))
    runtime = cv2.dnn.readNetFromONNX(os.path.join(folder, "model.onnx"))
    with open(os.path.join(folder, "model.json")) as file:
        shape = json.load(file)["input"]
    samples = torch.rand([4] + shape, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        expected = load(folder)(samples)
    runtime.setInput(samples.numpy())
    found = torch.from_numpy(runtime.forward())
    print(float((found - expected).abs().max() / expected.abs().max().clamp_min(1)))


if __name__ == "__main__":
    main(sys.argv[1])
