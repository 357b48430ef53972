"""Compares tools on programs with a planted non-finite operation, and on their correct twins.

    python benchmarks/nonfinite/run.py                        all programs and tools, ten minutes
    python benchmarks/nonfinite/run.py ctc_short polar_angle  only these programs
    python benchmarks/nonfinite/run.py --tools detect_anomaly only these tools
    python benchmarks/nonfinite/run.py --verbose              each wrong report in full

A tool *names* the operation, the line and the step if its first finding does. Any finding on a twin
is an alarm. The time is the median ratio of the time of a twin with the tool to the time without
it; `gradlab doctor` stops a training early and repeats it in experiments. Tools that are not
installed are left out. Each training runs in a new process.
"""

import argparse
import importlib
import multiprocessing
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from nonfinite.answers import Answer, names_line, names_operation, names_step
from nonfinite.corpus import Program, programs, write
from nonfinite.tools import PACKAGES, TOOLS, Report, bare

SECONDS = 180


def answer_through(connection: Connection, tool: Callable[[Path], Report], path: Path) -> None:
    """Apply a tool, and send its report; the text of an error is its report too."""
    warnings.simplefilter("ignore")
    sys.stdout = sys.stderr = open("/dev/null", "w")  # noqa: SIM115  # until the process ends
    try:
        connection.send(tool(path))
    except BaseException as error:  # a tool that fails
        connection.send(Report(f"failed: {type(error).__name__}: {error}", float("nan")))


def apply(tool: Callable[[Path], Report], path: Path) -> Report:
    """Apply a tool to a program in a new process."""
    processes = multiprocessing.get_context("fork")  # torch is imported only once
    ours, theirs = processes.Pipe()
    process = processes.Process(target=answer_through, args=(theirs, tool, path))
    process.start()
    theirs.close()
    try:
        if ours.poll(SECONDS):
            return ours.recv()
    except EOFError:
        return Report("failed: the process ended without a report", float("nan"))
    finally:
        process.kill()
        process.join()
    return Report(f"failed: no report in {SECONDS} s", float("nan"))


def examine(program: Program, tools: Sequence[str], folder: Path) -> dict[str, Answer]:
    """Apply some tools to a program and its twin.

    Args:
        program: the program.
        tools: names of tools.
        folder: a folder for files.

    Returns:
        By tool, its answer.
    """
    broken, fixed = write(program, folder)
    alone = apply(bare, fixed).seconds
    answers = {}
    for name in tools:
        report, twin = apply(TOOLS[name], broken), apply(TOOLS[name], fixed)
        answers[name] = Answer(
            program,
            report.text,
            names_operation(report.text, program.truth),
            names_line(report.text, program.truth),
            names_step(report.text, program.truth),
            twin.text,
            twin.seconds / alone,
        )
    return answers


def is_installed(tool: str) -> bool:
    """Import the package of a tool, and return whether it is installed."""
    try:
        importlib.import_module(PACKAGES.get(tool, "torch"))
    except ModuleNotFoundError:
        print(f"{tool} is not installed", file=sys.stderr)
        return False
    return True


def row(label: str, answers: Sequence[Answer]) -> str:
    """Return a row of the table: the counts of some answers of a tool."""
    counts = [sum(getattr(each, name) for each in answers) for name in ("operation", "line")]
    both = sum(each.operation and each.line for each in answers)
    steps = sum(each.step for each in answers)
    alarms = sum(bool(each.alarm) for each in answers)
    ratios = [each.ratio for each in answers if each.ratio == each.ratio]
    time = f"{median(ratios):.1f}" if ratios else "-"
    cells = [label, str(len(answers)), *map(str, (*counts, both, steps, alarms)), time]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Examine the programs of the command line, by default all, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("programs", nargs="*", help="names of programs, all by default")
    parser.add_argument("--tools", nargs="+", choices=TOOLS, default=list(TOOLS), metavar="TOOL")
    parser.add_argument("--verbose", action="store_true", help="print each wrong report")
    options = parser.parse_args()
    unknown = {*options.programs} - {program.name for program in programs()}
    if unknown:
        parser.error(f"no such program: {', '.join(sorted(unknown))}")
    torch.set_num_threads(1)
    tools = [name for name in options.tools if is_installed(name)]
    chosen = [p for p in programs() if p.name in options.programs or not options.programs]
    with tempfile.TemporaryDirectory() as folder:
        answers = [examine(program, tools, Path(folder)) for program in chosen]
    head = ("tool", "programs", "operation", "line", "operation and line", "step", "alarms", "time")
    print(f"| {' | '.join(head)} |\n|{' --- |' * len(head)}")
    for name in tools:
        print(row(name, [each[name] for each in answers]))
    for name in tools:
        print(f"\n{name}, by phase:")
        for phase in dict.fromkeys(program.truth.phase for program in chosen):
            print(row(phase, [a[name] for a in answers if a[name].program.truth.phase == phase]))
    if options.verbose:
        for name in tools:
            for each in (answer[name] for answer in answers):
                print_mistakes(name, each)


def print_mistakes(tool: str, answer: Answer) -> None:
    """Print the report of a tool on a program, if a part is wrong, and its alarm on the twin."""
    parts = {"operation": answer.operation, "line": answer.line, "step": answer.step}
    wrong = [part for part, right in parts.items() if not right]
    truth = answer.program.truth
    if wrong:
        place = f"{truth.phase}, {'/'.join(sorted(truth.operations))}, lines {sorted(truth.lines)}"
        print(f"\n== {tool}, {answer.program.name}: wrong {', '.join(wrong)}")
        print(f"   truth: {place}, step {truth.step}, sample {truth.sample}\n{answer.text or '-'}")
    if answer.alarm:
        print(f"\n== {tool}, twin of {answer.program.name}: alarm\n{answer.alarm}")


if __name__ == "__main__":
    main()
