"""The commands of README.md and docs do what they say: each is run with data of the names in it."""

import gzip
import os
import re
import shlex
import struct

import program

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
PAGES = ("README.md", "docs/training.md", "docs/whitening.md", "docs/launching.md",
         "docs/clustering.md", "docs/compression.md")
SAMPLES, FEATURES = 260, 784


def commands(page):
    """Command lines of the code blocks without a language, those with an ellipsis left out."""
    with open(os.path.join(ROOT, page)) as file:
        text = file.read()
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        if language:
            continue
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            programs = [i for i, word in enumerate(words)
                        if os.path.basename(word).startswith("eigenscale-")]
            if programs and words[0] in ("mpirun", "srun", words[programs[0]]) and "..." not in words:
                yield words, programs[0]


def idx(shape, values):
    return struct.pack(">BBBB", 0, 0, 8, len(shape)) + struct.pack(f">{len(shape)}I", *shape) + bytes(values)


class Documentation(program.ProgramTest):
    def setUp(self):
        super().setUp()
        values, labels = program.subspace_points(SAMPLES, FEATURES)
        program.write_npy(self.path("X.npy"), (SAMPLES, FEATURES), values)
        program.write_npy(self.path("y.npy"), (SAMPLES,), labels, "q")
        for part in ("train", "test"):
            with gzip.open(self.path(part + "-images.idx3.gz"), "wb") as file:
                file.write(idx((SAMPLES, 28, 28), [min(255, int(150 * v)) for v in values]))
            with gzip.open(self.path(part + "-labels.idx1.gz"), "wb") as file:
                file.write(idx((SAMPLES,), labels))

    def test_every_command(self):
        found = 0
        for page in PAGES:
            for words, place in commands(page):
                with self.subTest(page=page, command=" ".join(words)):
                    found += 1
                    # One launcher stands for all; the schedulers have tests of their own.
                    ranks = words[words.index("-np") + 1] if "-np" in words else 1
                    run = program.run(os.path.basename(words[place]), *words[place + 1:],
                                      "--overwrite", ranks=ranks, timeout=300, folder=self.folder)
                    self.assertEqual(run.code, 0, run.errors)
                    output = words[words.index("--output") + 1]
                    self.assertTrue(os.path.exists(self.path(output + "/report.html")))
        self.assertGreaterEqual(found, 6)


if __name__ == "__main__":
    program.main()
