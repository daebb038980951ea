"""job-scripts/scaling/study: with stand-ins for programs and schedulers, and once for real on one and
two ranks of this machine."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "apps"))
import program  # noqa: E402

STUDY = os.path.realpath(os.path.join(os.path.dirname(__file__), "../../job-scripts/scaling/study"))
# Fails in the folder named by BREAK, and never ends in the one named by HANG.
PROGRAM = """#!/usr/bin/env python3
import json, os, sys, time
if "--help" in sys.argv:
    print("--output arg")
    sys.exit(0)
with open(os.environ["RECORD"], "a") as record:
    print(os.path.basename(sys.argv[0]), *sys.argv[1:], file=record)
if os.path.basename(sys.argv[0]) == "eigenscale-report":
    sys.exit(0)
folder = sys.argv[sys.argv.index("--output") + 1]
if os.path.basename(folder) == os.environ.get("BREAK"):
    sys.exit(4)
os.makedirs(folder, exist_ok=True)
if os.path.basename(folder) == os.environ.get("HANG"):
    time.sleep(600)
with open(os.path.join(folder, "summary.json"), "w") as file:
    json.dump({"program": "eigenscale-cluster", "version": "0", "ranks": 1, "seconds": {"total": 1.5},
               "metrics": {"accuracy": 0.5, "kmeans": {}}}, file)
"""
STAND_INS = {"mpirun": 'while [[ $1 != bash ]]; do shift; done; exec "$@"',
             "sbatch": 'echo 81; cp "${!#}" "$RECORD.job"', "squeue": 'echo "${STATE:-}"'}


class StudyTest(program.ProgramTest):
    def setUp(self):
        super().setUp()
        for folder in ("commands", "programs"):
            os.mkdir(self.path(folder))
        for name, text in STAND_INS.items():
            self.executable(f"commands/{name}", "#!/usr/bin/env bash\n" + text + "\n")
        for name in ("cluster", "generate", "report"):
            self.executable(f"programs/eigenscale-{name}", PROGRAM)
        self.environment = {name: value for name, value in os.environ.items()
                            if not name.startswith("EIGENSCALE_")}
        self.environment.update(PATH=self.path("commands") + ":" + os.environ["PATH"],
                                RECORD=self.path("record"), EIGENSCALE_BIN=self.path("programs"),
                                EIGENSCALE_OVERSUBSCRIBE="yes")

    def executable(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(self.path(name), 0o755)

    def study(self, *options, code=0, mode="strong", ranks="1,2", timeout=60, **environment):
        command = [sys.executable, "-B", STUDY, "--program", "eigenscale-cluster", "--mode", mode,
                   "--ranks", ranks, "--output", "s", *map(str, options)]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              cwd=self.folder, timeout=timeout, check=False,
                              env={**self.environment, **environment})
        self.assertEqual(done.returncode, code, done.stdout)
        return done.stdout

    def recorded(self, what):
        if not os.path.exists(self.path("record")):
            return []
        with open(self.path("record"), encoding="utf-8") as file:
            return [line.strip() for line in file if line.startswith(what)]

    def lines(self):
        with open(self.path("s/study.jsonl"), encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def test_goes_on_where_it_was_interrupted(self):
        options = ["--scheduler", "local", "--", "--data", "x.npy"]
        said = self.study(*options, code=4, BREAK="p2-r2")
        self.assertIn("call again to go on", said)
        self.assertEqual(len(self.lines()), 4)
        before = len(self.recorded("eigenscale-cluster"))
        self.study(*options)
        self.assertEqual(len(self.recorded("eigenscale-cluster")), before + 2)  # p2-r2 and p2-r3
        lines = self.lines()
        self.assertEqual([line["repeat"] for line in lines], [1, 2, 3, 1, 2, 3])
        self.assertEqual(lines[0]["metrics"], {"accuracy": 0.5})
        self.assertEqual(lines[0]["options"], ["--data", "x.npy"])
        self.assertTrue(self.recorded("eigenscale-report " + self.path("s")))
        self.study(*options)
        self.assertEqual(len(self.recorded("eigenscale-cluster")), before + 2)

    def test_killed_goes_on_with_what_is_missing(self):
        options = ["--scheduler", "local", "--repeats", "3", "--", "--data", "x.npy"]
        command = [sys.executable, "-B", STUDY, "--program", "eigenscale-cluster", "--mode", "strong",
                   "--ranks", "1,2", "--output", "s", *options]
        killed = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                  cwd=self.folder, start_new_session=True,
                                  env={**self.environment, "HANG": "p2-r2"})
        try:
            end = time.monotonic() + 60
            while not os.path.isdir(self.path("s/runs/p2-r2")):
                self.assertLess(time.monotonic(), end)
                time.sleep(0.02)
        finally:
            os.killpg(killed.pid, signal.SIGKILL)  # the study, its job and the program
            killed.wait()
        finished = [self.path(f"s/runs/{name}/summary.json") for name in ("p1-r1", "p1-r2", "p1-r3",
                                                                          "p2-r1")]
        before = [os.stat(name).st_mtime_ns for name in finished]
        runs = len(self.recorded("eigenscale-cluster"))
        said = self.study(*options)
        self.assertIn("1 ranks: all repeats have finished", said)
        self.assertIn("6 of 6 runs have finished", said)
        again = [line.split("/")[-1].split()[0] for line in self.recorded("eigenscale-cluster")[runs:]]
        self.assertEqual(again, ["p2-r2", "p2-r3"])
        self.assertEqual([os.stat(name).st_mtime_ns for name in finished], before)
        self.assertEqual([line["repeat"] for line in self.lines()], [1, 2, 3, 1, 2, 3])

    def test_says_the_number_of_samples(self):
        self.study("--scheduler", "local", "--", "--data", "x.npy", ranks="1")
        self.assertNotIn("samples", self.lines()[0])
        with open(self.path("s/runs/p1-r2/summary.json"), encoding="utf-8") as file:
            summary = json.load(file)
        summary["choices"] = {"samples": 11}
        with open(self.path("s/runs/p1-r2/summary.json"), "w", encoding="utf-8") as file:
            json.dump(summary, file)
        self.study("--scheduler", "local", "--", "--data", "x.npy", ranks="1")
        self.assertEqual([line.get("samples") for line in self.lines()], [None, 11, None])

    def test_weak_problems_grow_with_the_ranks(self):
        self.study("--scheduler", "local", "--prepare",
                   "eigenscale-generate --samples {1000*P} --output {DIR}/data-{P}", "--", "--data",
                   "{DIR}/data-{P}/data.npy", "--landmarks", "{(P+1)*10//2}", mode="weak")
        self.assertEqual([line.split()[2] for line in self.recorded("eigenscale-generate")],
                         ["1000", "2000"])
        runs = self.recorded("eigenscale-cluster")
        self.assertEqual(len(runs), 6)
        self.assertIn(f"--data {self.path('s')}/data-2/data.npy --landmarks 15", runs[-1])

    def test_one_job_a_size_and_none_twice(self):
        options = ["--scheduler", "slurm", "--time", "600", "--", "--data", "x"]
        self.study(*options, ranks="4")
        with open(self.path("record.job"), encoding="utf-8") as file:
            job = file.read()
        self.assertIn("--ntasks=4", job)
        self.assertIn("--time=00:10:00", job)
        self.assertIn("EIGENSCALE_JOB_EACH=repeat=1\\,2\\,3", job.replace("'", ""))
        os.remove(self.path("record.job"))
        said = self.study(*options, ranks="4", STATE="PENDING")
        self.assertIn("job 81 is in the queue", said)
        self.assertFalse(os.path.exists(self.path("record.job")))
        self.study(*options, ranks="4")  # the job has gone and left nothing
        self.assertTrue(os.path.exists(self.path("record.job")))

    def test_values_of_a_machine(self):
        with open(self.path("site.json"), "w", encoding="utf-8") as file:
            json.dump({"name": "site", "scheduler": "slurm", "ranks_per_node": 4, "threads": 2,
                       "account": "acc", "partition": "long"}, file)
        self.study("--machine", "site.json", "--", "--data", "x", ranks="8")
        with open(self.path("record.job"), encoding="utf-8") as file:
            job = file.read()
        for text in ("--nodes=2 --ntasks-per-node=4", "--cpus-per-task=2", "--account=acc",
                     "--partition=long"):
            self.assertIn(text, job)
        with open(self.path("site.json"), "w", encoding="utf-8") as file:
            file.write('{"cores": 3}')
        self.assertIn("other keys", self.study("--machine", "site.json", "--", "x", code=3))

    def test_dry_run_changes_nothing(self):
        said = self.study("--scheduler", "local", "--dry-run", "--", "--data", "x")
        self.assertIn("--output " + self.path("s/runs/p2-r1"), said)
        self.assertFalse(os.path.exists(self.path("s")))
        self.assertEqual(self.recorded("eigenscale"), [])

    def test_misuse(self):
        for words, message in ((["--repeats", "2", "--", "x"], "--repeats is '2'"),
                               (["--", "--output", "y"], "--output among"),
                               (["--", "{P**2}"], "cannot read '{P**2}'"),
                               (["--", "{open}"], "cannot read '{open}'"),
                               (["--surprise", "--", "x"], "--surprise")):
            with self.subTest(message):
                self.assertIn(message, self.study(*words, code=2))
        self.assertIn("no option grows", self.study("--", "x", mode="weak", code=2))
        self.assertIn("--mode is 'big'", self.study("--", "x", mode="big", code=2))
        self.assertIn("--ranks is '0'", self.study("--", "x", ranks="0", code=2))
        self.study("--scheduler", "local", "--", "--data", "x", ranks="1")
        self.assertIn("holds a study whose options is", self.study("--scheduler", "local", "--", "--data",
                                                                "y", code=2))

    def test_for_real(self):
        if not shutil.which(program.MPIEXEC):
            self.skipTest("no mpirun")
        self.environment["PATH"] = os.environ["PATH"]
        self.environment["EIGENSCALE_BIN"] = os.path.realpath(program.APPS)
        command = [sys.executable, "-B", STUDY, "--program", "eigenscale-bench", "--mode", "weak",
                   "--ranks", "1,2", "--scheduler", "local", "--threads", "1", "--output", "real", "--",
                   "--suite", "self-expression", "--size", "{50*P}x8", "--turn-seconds", "0"]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              cwd=self.folder, timeout=300, check=False, env=self.environment)
        self.assertEqual(done.returncode, 0, done.stdout)
        with open(self.path("real/study.jsonl"), encoding="utf-8") as file:
            lines = [json.loads(line) for line in file]
        self.assertEqual([line["ranks"] for line in lines], [1, 1, 1, 2, 2, 2])
        self.assertIn("SelfExpression 100x8", lines[-1]["metrics"])
        with open(self.path("real/report.html"), encoding="utf-8") as file:
            page = file.read()
        self.assertIn("The base is 1 rank", page)
        self.assertIn("Efficiency", page)


if __name__ == "__main__":
    program.main()
