#!/usr/bin/env python3
"""Writes manual pages and completion for bash from the programs' --help. `cmake --install` calls it.

usage: packaging/write_manuals.py PROGRAMS MANUALS COMPLETIONS

PROGRAMS is the folder with the programs; MANUALS gets a page of section 1 for each of them, and
COMPLETIONS a file `eigenscale` and links to it under the name of each program, as bash-completion
looks for it.
"""

import glob
import os
import re
import subprocess
import sys

OPTION = re.compile(r"^  (--[a-z-]+)((?: [A-Z]+)?)( \(=.*?\))? +(.*)$|^  (--[a-z-]+)((?: [A-Z]+)?)( \(=.*\))?$")
CHOICES = re.compile(r"^((?:[a-z0-9-]+, )*[a-z0-9-]+ or [a-z0-9-]+)(?:[;:.,]|$| of | where )")
EXITS = (
    (0, "done"), (2, "wrong options, or a run in the way"), (3, "an input that cannot be used"),
    (4, "numerical failure"), (5, "communication failed"), (6, "an output that cannot be written"),
    (75, "stopped on request with a complete checkpoint"))


class Help:
    """What a program says of itself: purpose, version, and groups of options."""

    def __init__(self, path):
        self.name = os.path.basename(path)
        text = self.said(path, "--help")
        self.purpose = text.splitlines()[0].partition(": ")[2]
        self.version = self.said(path, "--version").split()[1].rstrip(",")
        self.groups = []  # (heading, [[option, value, default, description]])
        for line in text.splitlines()[1:]:
            option = OPTION.match(line)
            if re.match(r"^\S.*:$", line):
                self.groups.append((line[:-1], []))
            elif option:
                found = option.groups()
                parts = list(found[:4]) if found[0] else list(found[4:]) + [""]
                self.groups[-1][1].append([(part or "").strip() for part in parts])
            elif line.strip() and self.groups and self.groups[-1][1]:
                last = self.groups[-1][1][-1]
                last[3] = (last[3] + " " + line.strip()).strip()
        if not self.options():
            raise SystemExit(f"{self.name} --help names no option that could be read")

    @staticmethod
    def said(path, option):
        return subprocess.run([path, option], capture_output=True, text=True, check=True,
                              timeout=60).stdout

    def options(self):
        return [option for _, options in self.groups for option in options]


def choices(description):
    found = CHOICES.match(description)
    return re.split(r", | or ", found[1]) if found else []


def roff(text):
    return re.sub(r"^([.'])", r"\\&\1", text.replace("\\", "\\e").replace("-", "\\-"))


def manual(said):
    lines = [f'.TH {said.name.upper()} 1 "" "eigenscale {said.version}" "eigenscale"', ".SH NAME",
             f"{said.name} \\- {roff(said.purpose)}", ".SH SYNOPSIS", f".B {roff(said.name)}",
             "[\\fIOPTION\\fR ...]", ".PP", f"mpirun \\-np \\fIP\\fR \\fB{roff(said.name)}\\fR [\\fIOPTION\\fR ...]",
             ".SH OPTIONS",
             "Options may also stand in a file (\\-\\-config) and in the environment: EIGENSCALE_ and the",
             "name in capitals. The command line wins over the environment, and that over the file."]
    for heading, options in said.groups:
        lines += [f".SS {roff(heading)}"]
        for name, value, default, description in options:
            value = f" \\fI{value}\\fR" if value else ""
            lines += [".TP", f"\\fB{roff(name)}\\fR{value} {roff(default)}".rstrip(), roff(description)]
    lines += [".SH EXIT STATUS"]
    for code, meaning in EXITS:
        lines += [".TP", str(code), roff(meaning)]
    return "\n".join(lines) + "\n"


def completion(all_said):
    lines = ["# Completion for bash of the options of eigenscale's programs, and of the values that are words.",
             "_eigenscale() {",
             "  local program=${COMP_WORDS[0]##*/} current=${COMP_WORDS[COMP_CWORD]} options='' values=''",
             "  local previous=${COMP_WORDS[COMP_CWORD - 1]}", "  COMPREPLY=()", "  case $program in"]
    for said in all_said:
        lines.append(f"    {said.name})")
        lines.append("      options='" + " ".join(option[0] for option in said.options()) + "'")
        with_values = [(name, choices(text)) for name, value, _, text in said.options() if value]
        lines.append("      case $previous in")
        for name, words in with_values:
            lines.append(f"        {name}) values='{' '.join(words) or '-'}' ;;")
        lines += ["      esac", "      ;;"]
    lines += ["  esac",
              "  if [[ $values == - ]]; then",
              "    return # of files, or nothing that is known: bash's own",
              "  fi",
              "  # shellcheck disable=SC2207 # words without spaces",
              '  COMPREPLY=($(compgen -W "${values:-$options}" -- "$current"))', "}",
              "complete -o default -F _eigenscale " + " ".join(said.name for said in all_said)]
    return "\n".join(lines) + "\n"


def main():
    if len(sys.argv) != 4:
        raise SystemExit(__doc__)
    programs, manuals, completions = sys.argv[1:]
    all_said = [Help(path) for path in sorted(glob.glob(os.path.join(programs, "eigenscale-*")))
                if os.access(path, os.X_OK)]
    for folder in (manuals, completions):
        os.makedirs(folder, exist_ok=True)
    for said in all_said:
        with open(os.path.join(manuals, said.name + ".1"), "w", encoding="utf-8") as file:
            file.write(manual(said))
        link = os.path.join(completions, said.name)
        if os.path.lexists(link):
            os.remove(link)
        os.symlink("eigenscale", link)
    with open(os.path.join(completions, "eigenscale"), "w", encoding="utf-8") as file:
        file.write(completion(all_said))


if __name__ == "__main__":
    main()
