"""Sends signals to runs, sweeps and a watched program at many moments; counts lost and harmed data.

    python benchmarks/faults/signals.py [--quick]

Lost: a row that an earlier read of the files contained is missing after the signal, or a run that
recorded steps ends without them. Harmed: a file that cannot be read, or a run left as `running`.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from gradlab.results.load import find

RUN = "-m gradlab run tracking=none train.steps=1000000 record.every=5 model.depth=2"
SWEEP = f"{RUN.replace(' run ', ' run -m ')} seed=0,1,2,3 hydra.sweep.dir=out"
PROGRAMS = {
    "run": f"{RUN} hydra.run.dir=out",
    "sweep, fused": f"{SWEEP} hydra.launcher.workers=1",
    "sweep, fused, 2 workers": f"{SWEEP} clip=none,norm hydra.launcher.workers=2",
    "sweep, basic": f"{SWEEP} hydra/launcher=basic",
    "sweep, joblib": f"{SWEEP} hydra/launcher=joblib hydra.launcher.n_jobs=2",
    "watch": "watched.py",
}
WATCHED = """
import gradlab, torch
model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
with gradlab.watch(model, optimizer, sinks=gradlab.sinks.Parquet("out", interval=1e9)):
    while True:
        optimizer.zero_grad()
        model(torch.randn(4, 8)).square().mean().backward()
        optimizer.step()
"""
SIGNALS = {
    "INT": [signal.SIGINT],
    "INT twice": [signal.SIGINT] * 2,
    "INT five times": [signal.SIGINT] * 5,
    "TERM": [signal.SIGTERM],
    "KILL": [signal.SIGKILL],
}
MOMENTS = (0.0, 0.05, 0.3, 1.0, 2.5)
"""Seconds between the first `run.json` and the signal."""


def main() -> None:
    """Print a row for each program and signal."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one moment")
    moments = (0.3,) if parser.parse_args().quick else MOMENTS
    print("| program | signal | tried | lost | harmed | tracebacks | wrong exit code |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for program, command in PROGRAMS.items():
        for name, numbers in SIGNALS.items():
            counts = [0, 0, 0, 0]
            for moment in moments:
                with tempfile.TemporaryDirectory() as folder:
                    found = try_once(Path(folder), command, numbers, moment)
                counts = [a + b for a, b in zip(counts, found, strict=True)]
            print(f"| {program} | {name} |", " | ".join(map(str, [len(moments), *counts])), "|",
                  flush=True)  # fmt: skip


def try_once(
    folder: Path, command: str, numbers: list[signal.Signals], moment: float
) -> tuple[bool, bool, bool, bool]:
    """Return whether data were lost or harmed, a traceback was printed, the exit code was wrong."""
    (folder / "watched.py").write_text(WATCHED)
    errors = folder / "stderr"
    with errors.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, *command.split()],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=stream,
            start_new_session=True,  # Ctrl-C in a terminal reaches the group
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
    out = folder / "out"
    while not list(out.rglob("run.json")):
        if process.poll() is not None:
            raise RuntimeError(errors.read_text())
        time.sleep(0.005)
    time.sleep(moment)
    before = {run.path: len(run.steps()) for run in find(out).runs}
    for number in numbers:
        if process.poll() is None:
            os.killpg(process.pid, number)
            time.sleep(0.02)
    process.wait(120)
    time.sleep(0.2 if signal.SIGKILL in numbers else 0)
    runs, damaged = find(out)
    after = {run.path: len(run.steps()) for run in runs}
    text = errors.read_text()
    killed = signal.SIGKILL in numbers
    lost = any(after.get(path, -1) < steps for path, steps in before.items())
    unfinished = any(run.info["status"] == "running" for run in runs) and not killed
    watched = command == "watched.py"
    if watched and not killed:
        lost = lost or (moment >= 1.0 and not any(steps > 1 for steps in after.values()))
    code = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}[numbers[0]]
    allowed = {code, code - 128 - 2 * (code - 128)} if watched else {code}
    traceback = "Traceback" in text and not (watched and numbers[0] == signal.SIGINT)
    return lost, bool(damaged) or unfinished, traceback, process.returncode not in allowed


if __name__ == "__main__":
    main()
