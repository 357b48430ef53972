"""Examines `gradlab doctor` on programs with one mistake each, on those mended, and on others.

    python benchmarks/doctor/run.py                    all
    python benchmarks/doctor/run.py windows dcgan      those
    python benchmarks/doctor/run.py --unseen           those of unseen/, written apart from it

A program with `main()` goes to the command, as a user would give it; one with `practice()` to
`gradlab.doctor`. Each has a process of its own, so that none sees what another has left. *Named*:
the doctor said the mistake by its name, or by its own word for it (`Answer.own`); *found*: it said
something; *false*: what it said besides, unless the answer allows it. Nothing should be said of a
program that is mended or correct.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from doctor.answers import ANSWERS
from doctor.programs import BROKEN, CORRECT, load
from doctor.unseen.answers import ANSWERS as UNSEEN_ANSWERS
from doctor.unseen.answers import UNSEEN

EXPECTED = {answer.path: answer for answer in ANSWERS + UNSEEN_ANSWERS}
SECONDS = 120


def names(printed: str) -> set[str]:
    """Return the mistakes that a page names, each at the beginning of a line."""
    return set(re.findall(r"^([a-z_]+): ", printed, flags=re.MULTILINE))


def mended(paths: list[Path]) -> list[Path]:
    """Write these broken programs without their mistakes, and return where they are."""
    folder = Path(tempfile.mkdtemp(prefix="mended-"))
    for path in paths:
        (folder / path.name).write_text(EXPECTED[path].fixed())
    return [folder / path.name for path in paths]


def practise(path: Path) -> None:
    """Give a program's step to gradlab.doctor, and print the findings, one a line."""
    import gradlab

    step, model, optimizer, batches = load(path).practice()
    for finding in gradlab.doctor(step, model, optimizer, batches[0]):
        print(f"{finding.kind}: {finding.what}")


def ask(path: Path) -> tuple[set[str], str]:
    """Return the mistakes that the doctor names in a program, and its last words if it failed."""
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


def row(*cells: str) -> str:
    """Return a row of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def broken(paths: list[Path]) -> None:
    """Print what is said of the programs with a mistake, and the totals."""
    print(row("program", "line", "mistake", "named", "allowed besides", "false"))
    print(row(*["---"] * 6))
    found = named = wrong = failures = 0
    for path in paths:
        answer = EXPECTED[path]
        said, failure = ask(path)
        false = said - answer.also - answer.names
        right = bool(said & answer.names)
        found, named, wrong = found + bool(said), named + right, wrong + len(false)
        failures += bool(failure)
        besides = ", ".join(sorted(said & answer.also))
        last = ", ".join(sorted(false)) + (f" failed: {failure}" if failure else "")
        verdict = "yes" if right else "no"
        print(row(path.stem, str(answer.line), answer.mistake, verdict, besides, last), flush=True)
    print(f"\nof {len(paths)}: found {found}, named {named}; false {wrong}; failed {failures}\n")


def correct(title: str, paths: list[Path]) -> None:
    """Print what is said of programs without a mistake, which should be nothing."""
    print(row(title, "false"))
    print(row(*["---"] * 2))
    wrong = alarmed = failures = 0
    for path in paths:
        said, failure = ask(path)
        wrong, alarmed = wrong + len(said), alarmed + bool(said)
        failures += bool(failure)
        last = ", ".join(sorted(said)) + (f" failed: {failure}" if failure else "")
        print(row(path.stem, last), flush=True)
    print(f"\nof {len(paths)}: with a finding {alarmed}; findings {wrong}; failed {failures}\n")


def main(asked: list[str]) -> None:
    """Examine the programs asked for, or all, and print the tables."""
    faulty, sound = BROKEN, CORRECT
    if "--unseen" in asked:
        asked = [name for name in asked if name != "--unseen"]
        faulty, sound = (sorted((UNSEEN / kind).glob("*.py")) for kind in ("broken", "correct"))
    unknown = set(asked) - {path.stem for path in faulty + sound}
    if unknown:
        raise SystemExit(f"no such program: {', '.join(sorted(unknown))}")

    def chosen(paths: list[Path]) -> list[Path]:
        return [path for path in paths if not asked or path.stem in asked]

    broken(chosen(faulty))
    correct("mended", mended(chosen(faulty)))
    correct("correct", chosen(sound))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--practise"]:
        practise(Path(sys.argv[2]))
    else:
        main(sys.argv[1:])
