"""Checks that each program has the fault of its labels, and that its correct twin trains.

    python benchmarks/nonfinite/check.py              all programs, in about six minutes
    python benchmarks/nonfinite/check.py ctc_short    only these programs

The oracle (`oracle.py`) checks every operation of the program and of the twin.
"""

import argparse
import sys
import tempfile
import warnings
from pathlib import Path
from statistics import mean

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from nonfinite.corpus import Program, prepare, programs, write
from nonfinite.oracle import Event, Outcome, first_fault, observe, plain

STEPS = 60


def differences(program: Program, fault: Event | None) -> list[str]:
    """Return the labels that differ from the first fault that the oracle found."""
    truth = program.truth
    if fault is None:
        return ["no fault"]
    names = {plain(name) for name in truth.operations}
    is_data = truth.phase == "data"
    right = {
        "phase": fault.phase == truth.phase or truth.phase == "skipped",
        "operation": fault.operation in names or is_data,
        "line": fault.line in truth.lines,
        "step": fault.step == truth.step,
        "module": truth.module in fault.modules,
        "sample": truth.sample in (None, fault.sample),
    }
    return [f"{name} differs" for name, same in right.items() if not same]


def faults_of_twin(program: Program, twin: Outcome) -> list[str]:
    """Return the problems in the training of a twin, none in most cases."""
    wrong = []
    if twin.events and not program.twin_note:
        wrong.append(f"the twin has a non-finite value at line {twin.events[0].line}")
    if len(twin.losses) != STEPS or not twin.is_sound:
        wrong.append("the twin does not train to its end")
    elif mean(twin.losses[-10:]) >= mean(twin.losses[:10]):
        wrong.append("the loss of the twin does not fall")
    return wrong


def updates_nothing(path: Path) -> bool:
    """Run a program, and return whether its parameters are the same at the end."""
    training = prepare(path)
    before = [p.detach().clone() for p in training.names["model"].parameters()]
    training.run()
    return all(map(torch.equal, before, training.names["model"].parameters()))


def check(program: Program, folder: Path) -> tuple[Event | None, list[str]]:
    """Run a program and its twin under the oracle.

    Args:
        program: the program.
        folder: a folder for their files.

    Returns:
        The first fault, and all differences from the labels: none if the labels are right.
    """
    broken, fixed = write(program, folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of anomaly mode, and of wrong code
        twin, outcome = observe(fixed), observe(broken)
    fault = first_fault(outcome.events, twin.events)
    problems = differences(program, fault) + faults_of_twin(program, twin)
    if outcome.is_sound and program.truth.phase != "skipped":
        problems.append("the program trains although it is broken")
    if program.truth.phase == "skipped" and not updates_nothing(broken):
        problems.append("some updates are not skipped")
    return fault, problems


def main() -> int:
    """Check the programs of the command line, by default all; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("programs", nargs="*", help="names of programs, all by default")
    chosen = parser.parse_args().programs
    torch.set_num_threads(1)
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        for program in programs():
            if chosen and program.name not in chosen:
                continue
            fault, problems = check(program, Path(folder))
            wrong += bool(problems)
            place = f"{fault.phase}, {fault.operation}, line {fault.line}" if fault else "none"
            print(f"{program.name}: {'; '.join(problems) or 'as labelled'}: {place}", flush=True)
    print(f"{wrong} programs differ from their labels")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
