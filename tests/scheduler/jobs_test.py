"""The job scripts with stand-ins for the schedulers' commands, which record what they are given: what
is submitted, what such a job starts, and what becomes of it when a program stops with a checkpoint.
Nothing here needs MPI, a scheduler or root."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "apps"))
import program  # noqa: E402

SCRIPTS = os.path.realpath(os.path.join(os.path.dirname(__file__), "../../job-scripts"))
SUBMIT, CHAIN = os.path.join(SCRIPTS, "submit"), os.path.join(SCRIPTS, "chain")

# Records its arguments; the rest is what each of them does then.
RECORD = """#!/usr/bin/env bash
printf '%s ' "${0##*/}" "$@" >>"$RECORD"; echo >>"$RECORD"
"""
STAND_INS = {
    "sbatch": 'echo "71${CLUSTER:-}"',
    "qsub": "echo 72.server",
    "bsub": "cat >/dev/null; echo 'Job <73> is submitted to default queue <normal>.'",
    "flux": 'case $1 in batch) echo f74 ;; queue) printf "batch\\ndebug\\n" ;; getattr) echo f74 ;;\n'
            'run) shift; while [[ $1 != bash ]]; do shift; done; exec "$@" ;; esac',
    "qstat": '[[ $1 == -Q ]] && { [[ $2 == batch ]]; exit; }; echo "    job_state = R"',
    "bqueues": '[[ $1 == batch ]]',
    "bjobs": "echo RUN",
    "srun": 'exit 1',
    "mpirun": 'while [[ $1 != bash ]]; do shift; done; exec "$@"',
}
# Not bash, which cannot handle a signal that was ignored when it started.
PROGRAM = """#!/usr/bin/env python3
import os, signal, sys, time
if "--help" in sys.argv:
    print("--output arg" if os.path.basename(sys.argv[0]) == "eigenscale-generate" else
          "--output arg --resume --time-limit arg")
    sys.exit(0)
with open(os.environ["RECORD"], "a") as record:
    print("program", " ".join(sys.argv[1:]), file=record)
if "--wait" in sys.argv:
    signal.signal(signal.SIGUSR1, lambda *_: sys.exit(75))
    open(os.environ["RECORD"] + ".waits", "w").close()
    time.sleep(60)
if "--near-its-end" in sys.argv:
    asked = []
    signal.signal(signal.SIGUSR1, lambda *_: asked.append(1))
    open(os.environ["RECORD"] + ".waits", "w").close()
    while not asked:
        time.sleep(0.01)
if "--output" in sys.argv and "--fails" not in sys.argv:
    folder = sys.argv[sys.argv.index("--output") + 1]
    os.makedirs(folder, exist_ok=True)
    open(os.path.join(folder, "summary.json"), "w").close()
sys.exit(int(os.environ.get("CODE", 0)) if "--fails" not in sys.argv else 3)
"""
JOB = {"slurm": {"SLURM_JOB_ID": "71", "SLURM_NTASKS": "4", "SLURM_CPUS_PER_TASK": "2"},
       "pbs": {"PBS_JOBID": "72.server"}, "lsf": {"LSB_JOBID": "73"}, "flux": {"FLUX_URI": "local://"},
       "local": {}}
OTHERS = ("pbs", "lsf", "flux")


class JobsTest(program.ProgramTest):
    def setUp(self):
        super().setUp()
        for folder in ("commands", "programs"):
            os.mkdir(self.path(folder))
        for name, text in STAND_INS.items():
            self.executable(os.path.join("commands", name), RECORD + text + "\n")
        for name in ("cluster", "train", "generate", "report", "whiten"):
            self.executable(f"programs/eigenscale-{name}", PROGRAM)
        self.environment = {name: value for name, value in os.environ.items()
                            if not name.startswith(("EIGENSCALE_", "SLURM_", "OMP_"))}
        self.environment.update(PATH=self.path("commands") + ":" + os.environ["PATH"],
                                RECORD=self.path("record"), EIGENSCALE_BIN=self.path("programs"))

    def executable(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(self.path(name), 0o755)

    def call(self, *command, code=0, **environment):
        done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, cwd=self.folder, timeout=60,
                              check=False, env={**self.environment, **environment})
        self.assertEqual(done.returncode, code, done.stdout)
        return done.stdout

    def submit(self, scheduler, *options, code=0, **environment):
        return self.call(SUBMIT, "--scheduler", scheduler, *options, code=code, **environment)

    def recorded(self, what=""):
        if not os.path.exists(self.path("record")):
            return []
        with open(self.path("record"), encoding="utf-8") as file:
            return [line.strip() for line in file if line.startswith(what)]

    def job(self, name):
        with open(self.path(name + ".job"), encoding="utf-8") as file:
            return file.read()

    def run_job(self, scheduler, name, code=0, **environment):
        """As the scheduler would."""
        return self.call(self.path(name + ".job"), code=code, **JOB[scheduler], **environment)

    def test_what_is_submitted(self):
        options = ["--ranks", 4, "--nodes", 2, "--threads", 3, "--time", "1:30:00", "--account", "acc",
                   "--partition", "batch", "--after", "8,9", "--name", "x", "--", "eigenscale-cluster",
                   "--data", "a file.npy", "--output", "run"]
        expected = {
            "slurm": ("71", ["--ntasks=4", "--cpus-per-task=3", "--nodes=2 --ntasks-per-node=2",
                             "--time=01:30:00", "--account=acc", "--partition=batch",
                             "--signal=B:USR1@120", "--dependency=afterok:8:9", "--requeue"]),
            "pbs": ("72.server", ["select=2:ncpus=6:mpiprocs=2:ompthreads=3", "walltime=01:30:00",
                                  "-A acc", "-q batch", "depend=afterok:8:9"]),
            "lsf": ("73", ["-n 4", "affinity[core(3)]", "span[ptile=2]", "-W 01:30", "-wa USR1",
                           "-Q 75", "-P acc", "-q batch", '-w "done(8) && done(9)"']),
            "flux": ("f74", ["--nslots=4 --cores-per-slot=3", "--nodes=2", "--time-limit=5400s",
                             "--signal=SIGUSR1@120s", "--bank=acc", "--queue=batch",
                             "--dependency=afterok:8", "--dependency=afterok:9"])}
        for scheduler, (identity, directives) in expected.items():
            with self.subTest(scheduler):
                said = self.submit(scheduler, *options)
                self.assertEqual(said.splitlines()[-1], identity)
                job = self.job("x")
                for directive in directives:
                    self.assertIn(directive, job)
                log = self.run_job(scheduler, "x", EIGENSCALE_LAUNCHER="mpirun")
                self.assertIn("program --data a file.npy --output run --resume", self.recorded()[-1])
                self.assertIn("mpirun -np 4", self.recorded("mpirun")[-1])
                self.assertRegex(log, "threads are pinned: no")

    def test_chosen_launcher_and_binding(self):
        for scheduler, binding, launcher in (
                ("flux", "auto", "flux run --ntasks=2 --cores-per-task=2 -o cpu-affinity=per-task"),
                ("flux", "none", "-o cpu-affinity=off"),
                ("pbs", "core", "mpirun -np 2 --map-by slot:PE=2 --bind-to core"),
                ("lsf", "auto", "mpirun -np 2 --bind-to none")):
            with self.subTest(scheduler=scheduler, binding=binding):
                said = self.submit(scheduler, "--ranks", 2, "--threads", 2, "--dry-run", "--",
                                   "eigenscale-train", "--output", "x", EIGENSCALE_BINDING=binding)
                self.assertIn(launcher, said)
                self.assertIn("2 ranks of 2 threads", said)
                self.assertIn(f"binding {binding}", said)
                self.assertEqual(self.recorded("program"), [])

    def test_dry_run_asks_for_the_queue_and_submits_nothing(self):
        for scheduler in OTHERS:
            with self.subTest(scheduler):
                command = ["--dry-run", "--", "eigenscale-cluster", "--output", "x"]
                said = self.submit(scheduler, "--partition", "batch", *command)
                self.assertIn("nothing was submitted", said)
                said = self.submit(scheduler, "--partition", "other", *command, code=2)
                self.assertIn("no queue 'other'", said)
                self.assertEqual(self.recorded("qsub") + self.recorded("bsub") +
                                 self.recorded("flux batch"), [])

    def test_arrays(self):
        command = ["--array", "seed=1,2", "--array", "ro=0.1,0.2", "--name", "a", "--",
                   "eigenscale-cluster", "--seed", "{seed}", "--threshold", "{ro}", "--output",
                   "s{seed}-r{ro}"]
        third = "program --seed 2 --threshold 0.1 --output s2-r0.1"
        for scheduler, directive, environment in (
                ("slurm", "#SBATCH --array=0-3", {"SLURM_ARRAY_TASK_ID": "2"}),
                ("pbs", "#PBS -J 0-3", {"PBS_ARRAY_INDEX": "2"}),
                ("lsf", '#BSUB -J "a[1-4]"', {"LSB_JOBINDEX": "3"})):
            with self.subTest(scheduler):
                self.submit(scheduler, *command)
                self.assertIn(directive, self.job("a"))
                self.run_job(scheduler, "a", EIGENSCALE_LAUNCHER="mpirun", **environment)
                self.assertIn(third, self.recorded()[-1])
        with self.subTest("flux"):
            self.assertEqual(self.submit("flux", *command).splitlines()[-1], "f74,f74,f74,f74")
            self.run_job("flux", "a-2")
            self.assertIn(third, self.recorded()[-1])
        with self.subTest("local"):
            self.submit("local", *command)
            self.assertEqual(len(self.recorded("program")), 4 + 4)

    def test_stopped_with_a_checkpoint(self):
        again = {"pbs": "qsub -v EIGENSCALE_JOB_RESTARTS=1,EIGENSCALE_JOB_INDEX=",
                 "flux": "flux --parent batch --env=EIGENSCALE_JOB_RESTARTS=1"}
        for scheduler in OTHERS:
            with self.subTest(scheduler):
                self.submit(scheduler, "--after", 5, "--name", "t", "--", "eigenscale-train",
                            "--output", "t")
                log = self.run_job(scheduler, "t", code=75, CODE="75")
                self.assertIn("queueing the job again, restart 1 of at most 20", log)
                if scheduler in again:
                    self.assertIn(again[scheduler], self.recorded()[-1])
                    self.assertIn(self.path("t.job.again"), self.recorded()[-1])
                    with open(self.path("t.job.again"), encoding="utf-8") as file:
                        self.assertNotIn("depend", file.read())
                environment = {} if scheduler == "lsf" else {"EIGENSCALE_JOB_RESTARTS": "1"}
                submitted = len(self.recorded("qsub") + self.recorded("flux --parent"))
                log = self.run_job(scheduler, "t", code=75, CODE="75", EIGENSCALE_MAX_RESTARTS="1",
                                   **environment)
                self.assertIn("not queued again after 1 restarts", log)
                self.assertEqual(len(self.recorded("qsub") + self.recorded("flux --parent")), submitted)

    def test_local_restarts_are_counted(self):
        log = self.submit("local", "--name", "t", "--", "eigenscale-train", "--output", "t",
                          "--overwrite", code=75, CODE="75", EIGENSCALE_MAX_RESTARTS="2")
        starts = self.recorded("program")
        self.assertEqual(len(starts), 3, log)
        self.assertIn("--overwrite", starts[0])
        self.assertNotIn("--overwrite", starts[1] + starts[2])
        self.assertIn("--resume", starts[2])

    def run_job_and_signal(self, name, number):
        """A job of PBS that is asked to stop once its program waits for that; what it says."""
        job = subprocess.Popen([self.path(name + ".job")], cwd=self.folder, text=True,
                               env={**self.environment, **JOB["pbs"]}, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT)
        end = time.monotonic() + 30
        while not os.path.exists(self.path("record.waits")) and time.monotonic() < end:
            time.sleep(0.05)
        job.send_signal(number)
        log = job.communicate(timeout=30)[0]
        self.assertEqual(job.returncode, 75, log)
        return log

    def test_signal_before_the_end_reaches_the_program(self):
        self.submit("pbs", "--name", "w", "--time", "600", "--", "eigenscale-train", "--wait",
                    "--output", "w")
        log = self.run_job_and_signal("w", signal.SIGUSR1)
        self.assertIn("got SIGUSR1", log)
        self.assertIn("queueing the job again", log)
        limit = re.search(r"--time-limit (\d+)", self.recorded("program")[-1])
        self.assertTrue(530 <= int(limit[1]) <= 540, log)

    def test_each_value_in_one_job_goes_on_where_it_was_interrupted(self):
        command = ["--each", "repeat=1,2,3", "--name", "e", "--", "eigenscale-generate", "--output",
                   "r{repeat}"]
        os.mkdir(self.path("r2"))
        open(self.path("r2/summary.json"), "w").close()
        log = self.submit("local", *command)
        self.assertEqual(self.recorded("program"), ["program --output r1", "program --output r3"], log)
        self.assertIn("'r2' is finished; skipped", log)

    def test_stopped_between_two_values_the_rest_waits(self):
        for number, signalled in ((1, signal.SIGUSR1), (2, signal.SIGTERM)):
            with self.subTest(signalled):
                name = f"s{number}"
                self.submit("pbs", "--each", "repeat=1,2", "--name", name, "--", "eigenscale-train",
                            "--near-its-end", "--output", name + "-{repeat}")
                log = self.run_job_and_signal(name, signalled)
                self.assertIn("the rest waits for the next start", log)
                starts = [line for line in self.recorded("program") if name in line]
                self.assertEqual(len(starts), 1, log)
                os.remove(self.path("record.waits"))

    def test_chain(self):
        with open(self.path("steps"), "w", encoding="utf-8") as file:
            file.write("# data, clusters, report\n"
                       "--ranks 2 -- eigenscale-generate --output d\n"
                       "--array seed=1,2 -- eigenscale-cluster --data 'd/my data.npy' --output s{seed}\n"
                       "-- eigenscale-report s1 s2\n")
        for scheduler, directive in (("slurm", "--dependency=afterok:71 --kill-on-invalid-dep=yes"),
                                     ("pbs", "depend=afterok:72.server"), ("lsf", "done(73)"),
                                     ("flux", "--dependency=afterok:f74")):
            with self.subTest(scheduler):
                said = self.call(CHAIN, "steps", "--scheduler", scheduler)
                self.assertNotIn("afterok", self.job("job-1"))
                last = self.job("job-3")
                self.assertIn(directive, last)
                self.assertIn("eigenscale-report s1 s2", last)
                # Flux takes an array as several jobs.
                self.assertEqual(said.count("is job"), 4 if scheduler == "flux" else 3, said)
        with self.subTest("local"):
            self.call(CHAIN, "steps", "--scheduler", "local")
            self.assertIn("program --data d/my data.npy --output s2 --resume", self.recorded())
            self.assertEqual(self.recorded()[-1], "program s1 s2 --resume")
        with self.subTest("a step that fails ends the local chain"):
            with open(self.path("steps"), "w", encoding="utf-8") as file:
                file.write("-- eigenscale-generate --fails --output d\n-- eigenscale-report d\n")
            before = len(self.recorded("program"))
            self.call(CHAIN, "steps", "--scheduler", "local", code=3)
            self.assertEqual(len(self.recorded("program")), before + 1)

    def test_commands_of_the_documentation(self):
        """Each of them says what it would submit."""
        found = 0
        for page in ("launching", "scaling"):
            with open(os.path.join(SCRIPTS, "..", "docs", page + ".md"), encoding="utf-8") as file:
                blocks = re.findall(r"^```(\w*)\n(.*?)^```", file.read(), re.DOTALL | re.MULTILINE)
            for language, block in blocks:
                if language:
                    continue
                if "\n-- eigenscale-report" in block:
                    with open(self.path("steps"), "w", encoding="utf-8") as file:
                        file.write(block.replace(" ...", ""))
                for line in block.replace("\\\n", " ").splitlines():
                    if not line.startswith("job-scripts/"):
                        continue
                    words = shlex.split(line, comments=True)
                    script = os.path.join(SCRIPTS, words[0][len("job-scripts/"):])
                    with self.subTest(line):
                        found += 1
                        said = self.call(script, "--dry-run", *words[1:], EIGENSCALE_LAUNCHER="mpirun")
                        self.assertIn("nothing was submitted", said)
                        self.assertEqual(self.recorded("program"), [])
        self.assertGreaterEqual(found, 4)

    def test_misuse(self):
        for options, message in (
                (["--ranks", "0", "--", "eigenscale-train", "x"], "--ranks is '0'"),
                (["--ranks", "3", "--nodes", "2", "--", "eigenscale-train", "x"], "as many ranks"),
                (["--array", "seed", "--", "eigenscale-train", "x"], "'seed' is no parameter"),
                (["--time", "soon", "--", "eigenscale-train", "x"], "--time is 'soon'"),
                (["--", "sleep", "3"], "'sleep' is no program"),
                (["--scheduler", "cron", "--", "eigenscale-train", "x"], "--scheduler is 'cron'"),
                (["--surprise"], "unknown option '--surprise'"),
                ([], "no program"),
                (["--ranks", "999", "--", "eigenscale-train", "x"], "cores; expected at most one"),
                (["--", "eigenscale-compress", "x"], "there is no program")):
            with self.subTest(message):
                said = self.submit("local", *options, code=2)
                self.assertIn(message, said)
                self.assertEqual(self.recorded("program"), [])
        with self.subTest("a path that a directive cannot hold"):
            self.assertIn("--log is '", self.submit("pbs", "--log", "my logs", "--",
                                                    "eigenscale-train", "x", code=2))
        for scheduler, script in (("slurm", "slurm/run.sbatch"), ("pbs", "pbs/run.pbs"),
                                  ("lsf", "lsf/run.lsf"), ("flux", "flux/run.flux")):
            with self.subTest(script):
                said = self.call(os.path.join(SCRIPTS, script), "eigenscale-train", "x", code=2)
                self.assertIn("not inside a", said)


if __name__ == "__main__":
    program.main()
