"""job-scripts/local/quickstart from beginning to end, on a few images."""

import gzip
import json
import os
import pathlib
import subprocess

import program

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
FASHION = "/usr/share/datasets/fashion-mnist"
COUNT = 60


class Quickstart(program.ProgramTest):
    def quickstart(self, *words):
        return subprocess.run(
            [os.path.join(ROOT, "job-scripts/local/quickstart"), *words], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=600, check=False)

    def test_misuse_ends_before_anything_is_done(self):
        for words, message in ((["--epoch"], "no option '--epoch'"),
                               (["--epochs", "many"], "--epochs is 'many'"),
                               (["a", "b", "c"], "3 arguments")):
            run = self.quickstart(*words)
            self.assertEqual((run.returncode, run.stdout), (2, ""))
            self.assertIn(message, run.stderr)

    def test_ends_with_where_the_report_is(self):
        if not os.path.isdir(FASHION):
            self.skipTest("needs Debian's dataset-fashion-mnist")
        for part in ("train", "t10k"):
            for name, header, size in (("images-idx3", 16, 784), ("labels-idx1", 8, 1)):
                with gzip.open(f"{FASHION}/{part}-{name}-ubyte.gz") as file:
                    head = bytearray(file.read(header))
                    head[4:8] = COUNT.to_bytes(4, "big")
                    body = file.read(COUNT * size)
                with gzip.open(self.path(f"{part}-{name}-ubyte.gz"), "wb") as file:
                    file.write(bytes(head) + body)
        # Twice: what is there already must not be in the way. The second time as on a machine where
        # nothing may be installed.
        for more in ([], ["--no-install"]):
            run = self.quickstart(*more, "--epochs", "4", self.folder, self.path("run"))
            self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        report = [line for line in run.stdout.splitlines() if line.startswith("report:")]
        self.assertTrue(os.path.exists(report[0].split()[1]))
        metrics = json.loads(pathlib.Path(self.path("run", "summary.json")).read_text("utf-8"))["metrics"]
        for name, found in (("this run", metrics), ("k-means", metrics["kmeans_baseline"])):
            self.assertRegex(run.stdout, rf"{name}.* {found['accuracy']:.3f} +{found['nmi']:.3f}\n")
        shape, _ = program.read_npy(self.path("run", "labels.npy"))
        self.assertEqual(shape, (2 * COUNT,), "the images of both files")


if __name__ == "__main__":
    program.main()
