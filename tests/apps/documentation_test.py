"""The commands of README.md and docs do what they say: each is run with data of the names in it."""

import gzip
import os
import re
import shlex
import struct

import program

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
PAGES = ["README.md"] + sorted("docs/" + name for name in os.listdir(os.path.join(ROOT, "docs"))
                               if name.endswith(".md"))
# Their commands ran for hours on data that are not here.
MEASUREMENTS = ("docs/results.md", "docs/performance.md", "docs/decisions.md", "docs/papers.md")
PROGRAMS = re.compile(r"eigenscale-(cluster|train|compress|whiten|generate|bench|report|info)")
NO_REPORT = ("eigenscale-generate", "eigenscale-bench")
SAMPLES, FEATURES = 260, 784


def commands(page):
    """Command lines of the code blocks, and the place of the program in each. Left out are those
    that nobody could type: with an ellipsis, or with a variable of a job script; and those of job
    scripts, which tests/scheduler runs."""
    with open(os.path.join(ROOT, page)) as file:
        text = file.read()
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        if language not in ("", "sh", "bash", "console"):
            continue
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith("#") or not PROGRAMS.search(line):
                continue
            try:
                words = shlex.split(line, comments=True)
            except ValueError:  # a part of a script
                continue
            places = [i for i, word in enumerate(words)
                      if PROGRAMS.fullmatch(os.path.basename(word))]
            if not places or words[0] == "--" or words[0].startswith("job-scripts/"):
                continue
            if "..." not in words and "$" not in " ".join(words[places[0] + 1:]):
                yield words, places[0]


def idx(shape, values):
    return struct.pack(">BBBB", 0, 0, 8, len(shape)) + struct.pack(f">{len(shape)}I", *shape) + bytes(values)


class Documentation(program.ProgramTest):
    def setUp(self):
        super().setUp()
        values, labels = program.subspace_points(SAMPLES, FEATURES)
        program.write_npy(self.path("X.npy"), (SAMPLES, FEATURES), values)
        program.write_npy(self.path("NEW.npy"), (100, FEATURES), values[:100 * FEATURES])
        program.write_npy(self.path("y.npy"), (SAMPLES,), labels, "q")
        for part in ("train", "test"):
            with gzip.open(self.path(part + "-images.idx3.gz"), "wb") as file:
                file.write(idx((SAMPLES, 28, 28), [min(255, int(150 * v)) for v in values]))
            with gzip.open(self.path(part + "-labels.idx1.gz"), "wb") as file:
                file.write(idx((SAMPLES,), labels))

    def test_every_command(self):
        done = []
        for page in PAGES:
            for words, place in commands(page) if page not in MEASUREMENTS else ():
                name = os.path.basename(words[place])
                options, target = words[place + 1:], None
                for sign in (">", ">>"):
                    if sign in options:
                        target = options[options.index(sign) + 1]
                        options = options[:options.index(sign)]
                # One launcher stands for all; the schedulers have tests of their own.
                ranks = words[words.index("-np") + 1] if "-np" in words else 1
                if (name, options, ranks) in done:
                    continue
                done.append((name, options, ranks))
                if "onnx" in options and not program.writes_onnx():
                    continue
                with self.subTest(page=page, command=" ".join(words)):
                    more = ["--overwrite"] if "--output" in options else []
                    run = program.run(name, *options, *more, ranks=ranks, timeout=300,
                                      folder=self.folder)
                    self.assertEqual(run.code, 0, run.errors)
                    if target:
                        with open(self.path(target), "a") as file:
                            file.write(run.output)
                    if "--output" in options and name not in NO_REPORT:
                        output = options[options.index("--output") + 1]
                        self.assertTrue(os.path.exists(self.path(output + "/report.html")))
        self.assertGreaterEqual(len(done), 10)


if __name__ == "__main__":
    program.main()
