"""eigenscale-whiten --device cuda with the double of a device in the place of a GPU."""

import random

import on_device
import program

# What may cross between host and device.
SITES = {"to_device": {"rows", "mean", "transform", "components", "covariance probe", "eigenproblems"},
         "to_host": {"whitened rows", "moments", "covariance", "components", "covariance probe",
                     "eigenproblems"}}


class WhitenOnDevice(on_device.DeviceTest):
    SAMPLES, FEATURES = 213, 9

    def setUp(self):
        super().setUp()
        draw = random.Random(3)
        mixing = [[draw.gauss(0, 1) for _ in range(self.FEATURES)] for _ in range(self.FEATURES)]
        values = []
        for _ in range(self.SAMPLES):
            source = [draw.gauss(0, 1) for _ in range(self.FEATURES)]
            values += [3 + sum(a * b for a, b in zip(row, source)) for row in mixing]
        for code in "fd":
            program.write_npy(self.path(code + ".npy"), (self.SAMPLES, self.FEATURES), values, code)

    def pair(self, *more, data="d", ranks=2, **keywords):
        """What runs on the host and on the device leave of each array: the largest difference, as a
        share of the largest number."""
        options = ("--data", self.path(data + ".npy"), "--overwrite", *more)
        self.run_on("cpu", "whiten", *options, ranks=ranks, output="host")
        self.run_on("cuda", "whiten", *options, ranks=ranks, output="device", **keywords)
        summary = self.summary("device")
        for direction, sites in SITES.items():
            through_host = {"collectives"} if keywords.get("devices") == 1 else set()
            self.assertLessEqual(set(summary["transfers"][direction]), sites | through_host)
        return {name: self.difference(name + ".npy") for name in
                ("whitened", "mean", "eigenvalues")}

    # Sums in another order: some hundred roundings of 1e-16 each, which whitening blows up by the
    # spread of these data's directions, some hundreds.
    def assert_double(self, found, what):
        for name, difference in found.items():
            self.assertLess(difference, 1e-11, (name, what))

    METHODS = (("--check",), ("--method", "pca", "--components", 5, "--check"),
               ("--solver", "randomized", "--components", 3),
               ("--solver", "randomized", "--components", 3, "--method", "pca", "--check"))

    def test_whitens_as_the_host_does_on_any_number_of_ranks(self):
        for ranks in (1, 2, 3, 4):
            for more in self.METHODS:
                self.assert_double(self.pair(*more, ranks=ranks), (ranks, more))

    def test_floats_are_as_white(self):
        for ranks in (1, 3):
            found = self.pair("--check", data="f", ranks=ranks)
            # The mean is in double. Products in single precision leave 1e-4 of whiteness at most
            # (spectral/covariance_precision.h), which is what may differ.
            self.assertLess(found["mean"], 1e-14)
            self.assertLess(found["eigenvalues"], 1e-4)
            self.assertLess(found["whitened"], 1e-4)

    def test_through_the_memory_of_the_host(self):
        self.assert_double(self.pair("--check", devices=1), "shared")
        self.assertIn("collectives", self.summary("device")["transfers"]["to_host"])

    def test_rows_cross_once_a_pass_and_come_back_once(self):
        self.pair("--check", ranks=3)
        transfers = self.summary("device")["transfers"]
        numbers = self.SAMPLES * self.FEATURES
        self.assertEqual(transfers["to_device"]["rows"]["bytes"], 3 * 8 * numbers)
        self.assertEqual(transfers["to_host"]["whitened rows"]["bytes"], 8 * numbers)
        # The sum of products, and that of the whitened rows for --check.
        self.assertEqual(transfers["to_host"]["covariance"]["bytes"], 2 * 8 * self.FEATURES**2)
        self.assertEqual(transfers["to_device"]["transform"]["bytes"], 8 * self.FEATURES**2)

    def test_the_first_rank_solves_a_larger_eigenproblem_on_its_device(self):
        samples, features = 400, 170  # from 160 on
        draw = random.Random(4)
        values = [draw.gauss(0, 1 + j / features) for _ in range(samples) for j in range(features)]
        program.write_npy(self.path("wide.npy"), (samples, features), values, "d")
        for ranks in (1, 3):
            for more, kept in ((("--check",), features), (("--method", "pca", "--components", 7), 7)):
                self.assert_double(self.pair(*more, data="wide", ranks=ranks), (ranks, more))
                summary = self.summary("device")
                self.assertIn("cuSOLVER", summary["choices"]["solver"])
                carried = [summary["transfers"][way]["eigenproblems"]["bytes"]
                           for way in ("to_device", "to_host")]
                self.assertEqual(carried, [8 * features**2, 8 * kept * (features + 1)])

    def test_a_finished_transform_is_applied(self):
        for more in ((), ("--solver", "randomized", "--components", 3)):
            self.pair(*more, ranks=3)
            for device in ("cpu", "cuda"):
                self.run_on(device, "whiten", "--data", self.path("d.npy"), "--apply",
                            self.path("host"), "--overwrite", ranks=3, output="applied-" + device)
            self.assertLess(self.difference("whitened.npy", "host", "applied-cuda"), 1e-11)
            one, other = (self.summary("applied-" + device)["metrics"] for device in ("cpu", "cuda"))
            for name, value in one.items():
                self.assertAlmostEqual(value, other[name], delta=1e-11)


if __name__ == "__main__":
    program.main()
