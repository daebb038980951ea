"""Every numeric option of every program, with values that no option or few can mean: each is either
named by the error or taken, within seconds."""

import os
import re
import time

import program

DONE, OPTIONS, INPUT = 0, 2, 3
PROGRAMS = ("cluster", "compress", "generate", "info", "report", "train", "whiten")
# What is no number, or larger than any type holds, no option takes.
IMPOSSIBLE = ("nan", "inf", "1e308", "many", "")
EXTREME = ("-1", "0", "9223372036854775807")


class NumericOptions(program.ProgramTest):
    def setUp(self):
        super().setUp()
        with open(self.path("broken.npy"), "w") as file:
            file.write("no samples")
        self.broken = self.path("broken.npy")

    def run_alone(self, name, options):
        begin = time.monotonic()
        run = program.run(f"eigenscale-{name}", *options, launcher=False)
        self.assertLess(time.monotonic() - begin, 60, options)  # seconds where nothing else runs
        return run

    def others(self, name):
        """What the program needs beside its numbers, so that it ends when it opens its input."""
        output = ["--output", self.path("run")]
        return {"cluster": ["--data", self.broken, *output],
                "compress": ["--model", self.path("nowhere"), *output],
                "generate": ["--overwrite", *output],
                "info": [],
                "report": [self.path("nowhere")],
                "train": ["--data", self.broken, "--labels", self.broken, *output],
                "whiten": ["--data", self.broken, *output]}[name]

    def numbers(self, name):
        found = re.findall(r"^ *--([a-z-]+) (?:N|X)\b", self.run_alone(name, ["--help"]).output,
                           re.MULTILINE)
        self.assertIn("seed", found)
        self.assertIn("collective-timeout", found)
        return found

    def named(self, run, numbers):
        self.assertEqual(run.code, OPTIONS, run.errors)
        self.assertEqual(len(run.messages), 1, run.errors)
        return [number for number in numbers if f"--{number} is" in run.messages[0]]

    def with_value(self, name, numbers, value):
        return self.run_alone(name, self.others(name) + [f"--{number}={value}" if value else f"--{number}="
                                                         for number in numbers])

    def test_what_is_no_number_is_named_for_every_option(self):
        for name in PROGRAMS:
            numbers = self.numbers(name)
            for value in IMPOSSIBLE:
                with self.subTest(program=name, value=value):
                    environment = {f"EIGENSCALE_{number.upper().replace('-', '_')}": value
                                   for number in numbers}
                    run = program.run(f"eigenscale-{name}", *self.others(name), launcher=False,
                                      environment=environment)
                    self.assertEqual(self.named(run, numbers), sorted(numbers, key=numbers.index))

    def test_extremes_are_named_or_taken(self):
        for name in PROGRAMS:
            numbers = self.numbers(name)
            for value in EXTREME:
                with self.subTest(program=name, value=value):
                    first = self.with_value(name, numbers, value)
                    refused = self.named(first, numbers) if first.code == OPTIONS else []
                    taken = [number for number in numbers if number not in refused]
                    if value == "-1":
                        self.assertIn("collective-timeout", refused)
                    self.assertIn("seed", taken)
                    run = self.with_value(name, taken, value)
                    self.assertIn(run.code, (DONE, INPUT, OPTIONS), run.errors)
                    if run.code == OPTIONS:  # what contradicts another option names one, too
                        self.assertRegex(run.messages[0], r"--[a-z]|data sets")

    def test_what_the_ranges_are_about(self):
        for name, options, expected in (
                ("cluster", ["--clusters", 3, "--threshold", "-1"], "--threshold is -1; expected more than 0 and at most 1"),
                ("cluster", ["--clusters", 3, "--affinity-power", "-1"], "--affinity-power"),
                ("cluster", ["--clusters", 3, "--finetune-steps", "-3"], "--finetune-steps"),
                ("cluster", ["--clusters", 3, "--subspace-dim", 0], "--subspace-dim is 0"),
                ("cluster", ["--clusters", 3, "--grid", "4294967298x1"], "--grid"),
                ("cluster", ["--clusters", 3, "--image-shape", "2147483647x2147483647x4"], "--image-shape"),
                ("cluster", ["--clusters", 3, "--overwrite="], "overwrite"),
                ("train", ["--collective-timeout", "-5"], "--collective-timeout is -5"),
                ("train", ["--batch-size", 2**63 - 1], "--batch-size")):
            with self.subTest(options=options):
                run = self.run_alone(name, [*self.others(name), *options])
                self.assertEqual(run.code, OPTIONS, run.errors)
                self.assertIn(expected, run.messages[0])

    def test_an_empty_switch_in_the_environment(self):
        run = program.run("eigenscale-cluster", *self.others("cluster"), "--clusters", 3,
                          launcher=False, environment={"EIGENSCALE_OVERWRITE": ""})
        self.assertEqual(run.code, OPTIONS, run.errors)
        self.assertIn("overwrite", run.messages[0])

    def test_pretrained_weights_without_an_encoder(self):
        values, _ = program.subspace_points(30)
        program.write_npy(self.path("data.npy"), (30, 12), values)
        run = self.run_alone("cluster", ["--data", self.path("data.npy"), "--clusters", 3,
                                         "--pretrained", self.broken, "--output", self.path("run")])
        self.assertEqual(run.code, OPTIONS, run.errors)
        self.assertIn("--pretrained", run.messages[0])

    def test_the_largest_batch_is_all_samples(self):
        values, labels = program.subspace_points(30)
        program.write_npy(self.path("data.npy"), (30, 12), values)
        program.write_npy(self.path("labels.npy"), (30,), labels, "q")
        run = self.run_alone("train", ["--data", self.path("data.npy"), "--labels",
                                       self.path("labels.npy"), "--network", "mlp:4", "--epochs", 1,
                                       "--batch-size", 2**53, "--output", self.path("run")])
        self.assertEqual(run.code, DONE, run.errors)


if __name__ == "__main__":
    program.main()
