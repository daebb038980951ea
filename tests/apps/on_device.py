"""Runs the programs with the double of a device in the place of a GPU, for the tests of this folder."""

import json
import os

import program

DOUBLES = os.environ["EIGENSCALE_DOUBLES"]


def double(name):
    """The program's double: it ends by a message when it treats the device as it must not."""
    return os.path.join(DOUBLES, f"eigenscale-{name}-on-double")


def environment(devices, sides=True):
    """So many devices on this host; with `sides` copies that are not counted are caught."""
    return {"EIGENSCALE_DOUBLE_DEVICES": str(devices),
            **({"EIGENSCALE_DOUBLE_SIDES": "1"} if sides else {})}


class DeviceTest(program.ProgramTest):
    def run_on(self, device, name, *options, ranks=2, output="run", devices=4, code=0):
        run = program.run(double(name), *options, "--device", device, "--progress", "never",
                          "--output", self.path(output), ranks=ranks,
                          environment=environment(devices))
        self.assertEqual(run.code, code, run.errors)
        return run

    def summary(self, output="run"):
        with open(self.path(output, "summary.json")) as file:
            return json.load(file)

    def difference(self, name, one="host", other="device"):
        """The largest difference of two arrays as a share of the largest number."""
        shape, values = program.read_npy(self.path(one, name))
        other_shape, others = program.read_npy(self.path(other, name))
        self.assertEqual(shape, other_shape, name)
        return (max(abs(a - b) for a, b in zip(values, others)) /
                max(max(map(abs, values)), 1e-300))
