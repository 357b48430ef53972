"""Runs `gradlab doctor` on broken programs, on their fixed twins, and on correct programs.

    python benchmarks/doctor/run.py                    all programs, one report for each set
    python benchmarks/doctor/run.py windows dcgan      the named programs
    python benchmarks/doctor/run.py --set unseen       one set

A program with `main()` goes to the command line, one with `practice()` to `gradlab.doctor`, each in
a new process. *Named*: the doctor names the mistake. *Found*: it reports anything. *False*: it
reports something that the labels of the program (`corpus.py`) do not list. On fixed and correct
programs, every finding is false.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from doctor.corpus import SETS, Program, load, programs

SECONDS = 120


def names(printed: str) -> set[str]:
    """Return the mistakes that a page names, each at the beginning of a line."""
    return set(re.findall(r"^([a-z_]+): ", printed, flags=re.MULTILINE))


def practise(path: Path) -> None:
    """Give a program's step to gradlab.doctor, and print the findings, one a line."""
    import gradlab

    step, model, optimizer, batches = load(path).practice()
    for finding in gradlab.doctor(step, model, optimizer, batches[0]):
        print(f"{finding.kind}: {finding.what}")


def examine(path: Path) -> tuple[set[str], str]:
    """Return the mistakes that the doctor names in a program, and its last line if it failed."""
    if "def main(" in path.read_text():
        command = [sys.executable, "-m", "gradlab", "doctor", f"{path}:main"]
    else:
        command = [sys.executable, __file__, "--practise", str(path)]
    env = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200", "NO_COLOR": "1"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return set(), f"no answer in {SECONDS} s"
    failed = done.returncode not in (0, 1)  # 1: it has found something
    failed |= "Traceback" in done.stderr
    return names(done.stdout), (done.stderr.strip().splitlines() or ["?"])[-1] if failed else ""


def print_row(*cells: str) -> None:
    """Print a row of a Markdown table."""
    print(f"| {' | '.join(cells)} |", flush=True)


def report_broken(chosen: Sequence[Program]) -> None:
    """Print the findings on broken programs, and the totals."""
    print_row("program", "line", "mistake", "named", "consequences", "false")
    print_row(*["---"] * 6)
    found = named = wrong = failures = 0
    for program in chosen:
        findings, failure = examine(program.path)
        false = findings - program.also - program.names
        right = bool(findings & program.names)
        found, named, wrong = found + bool(findings), named + right, wrong + len(false)
        failures += bool(failure)
        print_row(
            program.path.stem,
            str(program.line),
            program.mistake,
            "yes" if right else "no",
            ", ".join(sorted(findings & program.also)),
            ", ".join(sorted(false)) + (f" failed: {failure}" if failure else ""),
        )
    print(f"\nof {len(chosen)}: found {found}, named {named}; false {wrong}; failed {failures}\n")


def report_silence(title: str, paths: Sequence[Path]) -> None:
    """Print the findings on programs without a mistake, and the totals."""
    print_row(title, "false")
    print_row(*["---"] * 2)
    wrong = alarmed = failures = 0
    for path in paths:
        findings, failure = examine(path)
        wrong, alarmed = wrong + len(findings), alarmed + bool(findings)
        failures += bool(failure)
        false = ", ".join(sorted(findings))
        print_row(path.stem, false + (f" failed: {failure}" if failure else ""))
    print(f"\nof {len(paths)}: with a finding {alarmed}; findings {wrong}; failed {failures}\n")


def report(chosen: Sequence[Program]) -> None:
    """Print the three tables of one set of programs."""
    broken = [program for program in chosen if not program.is_correct]
    with tempfile.TemporaryDirectory() as folder:
        fixed = [Path(folder) / program.path.name for program in broken]
        for program, path in zip(broken, fixed, strict=True):
            path.write_text(program.fixed())
        report_broken(broken)
        report_silence("fixed", fixed)
    report_silence("correct", [program.path for program in chosen if program.is_correct])


def main() -> None:
    """Report on the programs of the command line, by default on all."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("programs", nargs="*", help="names of programs, all by default")
    parser.add_argument("--set", choices=SETS, help="only the programs of this set")
    given = parser.parse_args()
    unknown = {*given.programs} - {program.path.stem for program in programs()}
    if unknown:
        parser.error(f"no such program: {', '.join(sorted(unknown))}")
    for name in SETS if given.set is None else (given.set,):
        chosen = [program for program in programs() if program.set == name]
        if given.programs:
            chosen = [program for program in chosen if program.path.stem in given.programs]
        if chosen:
            print(f"## {name}\n")
            report(chosen)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--practise"]:
        practise(Path(sys.argv[2]))
    else:
        main()
