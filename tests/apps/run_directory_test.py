"""One run at a time in a directory, nothing of an earlier one lost unasked, and a configuration that
repeats the run."""

import json
import os
import re
import signal
import subprocess
import time

import program

DONE, OPTIONS, INPUT = 0, 2, 3


class RunDirectories(program.ProgramTest):
    def setUp(self):
        super().setUp()
        values, _ = program.subspace_points(30)
        program.write_npy(self.path("data.npy"), (30, 12), values)

    def whiten(self, *options, code=DONE, output="run", data="data.npy"):
        run = program.run("eigenscale-whiten", "--data", self.path(data), "--output",
                          self.path(output), *options, launcher=False)
        self.assertEqual(run.code, code, run.errors)
        return run

    def generate(self, *options, code=DONE, output="run"):
        run = program.run("eigenscale-generate", "--output", self.path(output), *options,
                          launcher=False)
        self.assertEqual(run.code, code, run.errors)
        return run

    def read(self, name):
        with open(self.path(name), "rb") as file:
            return file.read()

    def test_a_typo_leaves_the_earlier_run(self):
        self.whiten()
        before = {name: self.read("run/" + name) for name in os.listdir(self.path("run"))}
        self.whiten("--overwrite", data="typo.npy", code=INPUT)
        program.write_npy(self.path("constant.npy"), (30, 12), [1.0] * 360)
        self.whiten("--overwrite", data="constant.npy", code=INPUT)
        self.assertEqual(before, {name: self.read("run/" + name)
                                  for name in os.listdir(self.path("run"))})
        self.whiten("--overwrite")

    def test_the_same_for_clustering_and_training(self):
        self.whiten()
        for name, options in (("cluster", ["--clusters", 3]),
                              ("cluster", ["--clusters", 31, "--data", self.path("data.npy")]),
                              ("train", ["--labels", self.path("typo.npy")])):
            if "--data" not in options:
                options = [*options, "--data", self.path("typo.npy")]
            run = program.run(f"eigenscale-{name}", *options, "--overwrite", "--output",
                              self.path("run"), launcher=False)
            self.assertEqual(run.code, INPUT, run.errors)
            self.assertTrue(os.path.exists(self.path("run/summary.json")))
            self.assertTrue(os.path.exists(self.path("run/whitened.npy")))

    def test_generating_keeps_ones_own_files(self):
        os.mkdir(self.path("mine"))
        program.write_npy(self.path("mine/data.npy"), (1, 1), [7.0])
        mine = self.read("mine/data.npy")
        run = self.generate("--samples", 40, output="mine", code=OPTIONS)
        self.assertIn("data.npy", run.messages[0])
        self.assertEqual(self.read("mine/data.npy"), mine)

    def test_a_generated_set_is_a_run(self):
        self.generate("--samples", 40, "--clusters", 2)
        with open(self.path("run/summary.json")) as file:
            summary = json.load(file)
        self.assertEqual(summary["program"], "eigenscale-generate")
        self.assertEqual(summary["choices"]["samples"], 40)
        data = self.read("run/data.npy")
        self.generate("--samples", 40, code=OPTIONS)
        self.generate("--config", self.path("run/configuration.ini"), output="again")
        self.assertEqual(self.read("again/data.npy"), data)
        self.generate("--samples", 40, "--clusters", 2, "--seed", 2, "--overwrite")
        self.assertNotEqual(self.read("run/data.npy"), data)

    def test_generating_shows_how_far_it_is(self):
        # 5,000,000 numbers: more than one piece of 16 MiB.
        line = re.compile(r"generate \[(#*)(\.*)\] (\d+)/25000  ([\d.]+)/s  [\w. ]+ left")
        for kind in ("subspaces", "spectrum"):
            run = self.generate("--kind", kind, "--samples", 25000, "--progress", "always",
                                output=kind)
            found = line.findall(run.errors)
            steps = [int(step) for _, _, step, _ in found]
            self.assertGreaterEqual(len(steps), 2 if kind == "spectrum" else 1, run.errors)
            self.assertEqual(steps[-1], 25000)
            self.assertEqual(steps, sorted(steps))
            self.assertEqual(found[-1][:2], ("#" * 24, ""))
            self.assertGreater(float(found[-1][3]), 0)
            quiet = self.generate("--kind", kind, "--samples", 25000, "--progress", "never",
                                  "--overwrite", output=kind)
            self.assertNotIn("/25000", quiet.errors)

    def test_a_second_run_is_told_who_has_the_directory(self):
        command = [os.path.join(os.path.abspath(program.APPS), "eigenscale-generate"), "--samples",
                   "20000000", "--output", self.path("run")]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as first:
            try:
                self.wait_for("run/environment.json")
                for options in ([], ["--overwrite"]):
                    second = self.generate("--samples", 40, *options, code=OPTIONS)
                    self.assertIn(f"process {first.pid} (eigenscale-generate) on host ",
                                  second.messages[0])
                    self.assertIn("since 20", second.messages[0])
            finally:
                first.send_signal(signal.SIGKILL)
                first.wait()
        # The dead one's lock, and the half of a file that it left, are in nobody's way.
        self.generate("--samples", 40)
        self.assertEqual([name for name in os.listdir(self.path("run")) if name.startswith(".")], [])

    def wait_for(self, name):
        for _ in range(600):
            if os.path.exists(self.path(name)):
                return
            time.sleep(0.05)
        self.fail(f"{name} never came")

    def test_the_configuration_repeats_the_run_for_any_path(self):
        for number, folder in enumerate((" # a", "b#c ", "line\nend", '"d"', "e\\n", "\ufefff")):
            os.mkdir(self.path(folder))
            program.write_npy(self.path(folder + "/data.npy"), (30, 12),
                              program.subspace_points(30)[0])
            first, again = f"{folder}/run", f"again{number}"
            self.whiten("--components", 5, data=folder + "/data.npy", output=first)
            run = program.run("eigenscale-whiten", "--config",
                              self.path(first + "/configuration.ini"), "--output",
                              self.path(again), launcher=False)
            self.assertEqual(run.code, DONE, run.errors)
            self.assertEqual(self.read(first + "/whitened.npy"), self.read(again + "/whitened.npy"))

    def test_texts_are_written_where_asked(self):
        self.whiten()
        for name, arguments, file in (("report", [self.path("run")], "comparison.txt"),
                                      ("info", [], "info.txt")):
            run = program.run(f"eigenscale-{name}", *arguments, "--output", self.path("texts"),
                              launcher=False)
            self.assertEqual(run.code, DONE, run.errors)
            self.assertEqual(self.read("texts/" + file).decode(), run.output)


if __name__ == "__main__":
    program.main()
