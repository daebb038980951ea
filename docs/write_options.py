#!/usr/bin/env python3
"""Writes docs/options.md, the options of all programs, from their --help.

usage: docs/write_options.py [FOLDER OF THE PROGRAMS (build/release/apps)] [OUTPUT (docs/options.md)]
"""

import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROGRAMS = ("cluster", "train", "whiten", "compress", "generate", "report", "info", "bench")
HEAD = """# All options

What `--help` of each program says; `docs/write_options.py` writes this page and a test compares. Options may also stand
in a file (`--config`) and in the environment (`EIGENSCALE_` and the name in capitals, `-` as `_`): the command line wins
over the environment, and that over the file ([launching.md](launching.md)).
"""


def page(folder):
    parts = [HEAD]
    for program in PROGRAMS:
        name = "eigenscale-" + program
        text = subprocess.run([os.path.join(folder, name), "--help"], capture_output=True, text=True,
                              check=True, timeout=60).stdout
        lines = "\n".join(line.rstrip() for line in text.strip().splitlines())
        parts.append(f"## {name}\n\n```text\n{lines}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    apps = sys.argv[1] if len(sys.argv) > 1 else os.path.join(ROOT, "build", "release", "apps")
    target = sys.argv[2] if len(sys.argv) > 2 else os.path.join(ROOT, "docs", "options.md")
    with open(target, "w", encoding="utf-8") as file:
        file.write(page(apps))
