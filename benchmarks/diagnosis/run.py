"""Compares gradlab's diagnosis with other tools' published rules, on networks with known faults.

    python benchmarks/diagnosis/run.py                  both sets
    python benchmarks/diagnosis/run.py --set training   the set for setting thresholds
    python benchmarks/diagnosis/run.py --set held_out   the set for testing them

A tool *names* a network correctly if it gives one of its labels (none for a healthy network). It
*notices* correctly if it gives any label to a network with a fault, and none to a healthy one.
gradlab gives one label, its verdict; the others may give several. Takes two minutes on one core.
"""

import argparse
import sys
import warnings
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from diagnosis.answers import Answer
from diagnosis.networks import HELD_OUT, TRAINING, Network
from diagnosis.record import Record, record
from diagnosis.rivals import RIVALS
from diagnosis.tables import confusion, mistakes, shares, totals

from gradlab.diagnosis.diagnose import diagnose

SETS = {"training": TRAINING, "held_out": HELD_OUT}


def gradlab_verdict(record: Record) -> set[str]:
    """Return gradlab's verdict as a label: the empty set for healthy, overflow for diverged."""
    found = diagnose(record.layers, record.steps, record.settings.flat)
    word = "diverged" if record.status == "diverged" else found.verdict
    return {"overflow" if word == "diverged" else word} - {"healthy"}


TOOLS = {"gradlab": gradlab_verdict, **RIVALS}


def examine(network: Network) -> Answer:
    """Train a network, and return the labels of every tool."""
    run = record(network.overrides)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 0/0 and the like in the rules of others
        return Answer(network, {name: frozenset(tool(run)) for name, tool in TOOLS.items()})


def main(names: list[str]) -> None:
    """Examine the networks of some sets, and print the tables."""
    for name in names:
        answers: list[Answer] = []
        for network in SETS[name]:
            answers.append(examine(network))
            if sys.stderr.isatty():
                print(f"\r{name}: {len(answers)} of {len(SETS[name])}", end="", file=sys.stderr)
        tables = [totals(answers), shares(answers), confusion(answers)]
        print(f"\n== {name}: {len(answers)} networks ==\n")
        print("\n\n".join(table.to_string() for table in tables))
        if name == "training" or names == [name]:  # who sets thresholds need not see the others
            print(f"\ngradlab's mistakes:\n{mistakes(answers)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--set", choices=[*SETS, "all"], default="all")
    torch.set_num_threads(1)
    chosen = parser.parse_args().set
    main(list(SETS) if chosen == "all" else [chosen])
