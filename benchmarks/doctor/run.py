"""Runs the doctor on broken programs, their fixed versions, and correct programs.

    python benchmarks/doctor/run.py                    all programs, one report for each set
    python benchmarks/doctor/run.py windows dcgan      only these programs
    python benchmarks/doctor/run.py --set unseen       only this set

Each program runs in a new process: with `main()` by `gradlab doctor`, with `practice()` by
`gradlab.doctor`. *Found*: the doctor reports a finding. *Named*: a finding names the mistake.
*False*: a finding is not in the labels of the program (`corpus.py`). In fixed and correct programs,
every finding is false.
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


def read_kinds(printed: str) -> set[str]:
    """Return the kinds of the findings in an output, each at the beginning of a line."""
    return set(re.findall(r"^([a-z_]+): ", printed, flags=re.MULTILINE))


def examine_step(path: Path) -> None:
    """Examine the step of a program with `gradlab.doctor`, and print one finding per line."""
    import gradlab

    step, model, optimizer, batches = load(path).practice()
    for finding in gradlab.doctor(step, model, optimizer, batches[0]):
        print(f"{finding.kind}: {finding.what}")


def examine(path: Path) -> tuple[set[str], str]:
    """Examine a program in a new process.

    Returns:
        The kinds of the findings, and the last line of the error output if the doctor failed.
    """
    if "def main(" in path.read_text():
        command = [sys.executable, "-m", "gradlab", "doctor", f"{path}:main"]
    else:
        command = [sys.executable, __file__, "--examine-step", str(path)]
    env = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200", "NO_COLOR": "1"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return set(), f"no result in {SECONDS} s"
    failed = done.returncode not in (0, 1)  # 1: a finding
    failed |= "Traceback" in done.stderr
    return read_kinds(done.stdout), (done.stderr.strip().splitlines() or ["?"])[
        -1
    ] if failed else ""


def print_row(*cells: str) -> None:
    """Print a row of a Markdown table."""
    print(f"| {' | '.join(cells)} |", flush=True)


def report_broken(chosen: Sequence[Program]) -> None:
    """Print the findings on broken programs, and the totals."""
    print_row("program", "line", "mistake", "named", "consequences", "false")
    print_row(*["---"] * 6)
    found = named = false_count = failures = 0
    for program in chosen:
        findings, failure = examine(program.path)
        false = findings - program.also - program.names
        is_named = bool(findings & program.names)
        found, named = found + bool(findings), named + is_named
        false_count, failures = false_count + len(false), failures + bool(failure)
        print_row(
            program.path.stem,
            str(program.line),
            program.mistake,
            "yes" if is_named else "no",
            ", ".join(sorted(findings & program.also)),
            ", ".join(sorted(false)) + (f" failed: {failure}" if failure else ""),
        )
    counts = f"found {found}, named {named}; false {false_count}; failed {failures}"
    print(f"\nof {len(chosen)}: {counts}\n")


def report_correct(title: str, paths: Sequence[Path]) -> None:
    """Print the findings on programs without a mistake, and the totals."""
    print_row(title, "false")
    print_row(*["---"] * 2)
    count = with_finding = failures = 0
    for path in paths:
        findings, failure = examine(path)
        count, with_finding = count + len(findings), with_finding + bool(findings)
        failures += bool(failure)
        false = ", ".join(sorted(findings))
        print_row(path.stem, false + (f" failed: {failure}" if failure else ""))
    print(
        f"\nof {len(paths)}: with a finding {with_finding}; findings {count}; failed {failures}\n"
    )


def report(chosen: Sequence[Program]) -> None:
    """Print the three tables of one set of programs."""
    broken = [program for program in chosen if not program.is_correct]
    with tempfile.TemporaryDirectory() as folder:
        fixed = [Path(folder) / program.path.name for program in broken]
        for program, path in zip(broken, fixed, strict=True):
            path.write_text(program.fixed())
        report_broken(broken)
        report_correct("fixed", fixed)
    report_correct("correct", [program.path for program in chosen if program.is_correct])


def main() -> None:
    """Print the report on the programs of the command line, by default on all."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("programs", nargs="*", help="names of programs, all by default")
    parser.add_argument("--set", choices=SETS, help="only the programs of this set")
    options = parser.parse_args()
    unknown = {*options.programs} - {program.path.stem for program in programs()}
    if unknown:
        parser.error(f"no such program: {', '.join(sorted(unknown))}")
    for name in SETS if options.set is None else (options.set,):
        chosen = [program for program in programs() if program.set == name]
        if options.programs:
            chosen = [program for program in chosen if program.path.stem in options.programs]
        if chosen:
            print(f"## {name}\n")
            report(chosen)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--examine-step"]:
        examine_step(Path(sys.argv[2]))
    else:
        main()
