"""`gradlab.watch`: record the gradients of any PyTorch network in any training loop."""

import signal
import time
import traceback
import warnings
import weakref
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.optimizer import Optimizer

from gradlab.black_box.black_box_folder import write_recording
from gradlab.black_box.step_memory import BlackBox, StepMemory
from gradlab.config.interrupt import uninterrupted
from gradlab.diagnosis.diagnose import diagnose
from gradlab.diagnosis.finding import Findings
from gradlab.diagnosis.grid import overflowed, slope
from gradlab.diagnosis.record import LIMITS
from gradlab.errors import WatchError, first_line
from gradlab.monitor.activations import ONE_SIDED
from gradlab.monitor.combine import can_repeat, count_ranks, is_first_rank
from gradlab.monitor.failsafe import Failures
from gradlab.monitor.optimizers import WatchedOptimizers, read_configuration
from gradlab.monitor.signals import WatchedSignals
from gradlab.monitor.spike_guard import SpikeGuard
from gradlab.monitor.statistics import make_rows, measure, sort_by_depth
from gradlab.monitor.step_tracker import StepTracker, schedule
from gradlab.monitor.termination import complete_on_sigterm, sigterm_delayed
from gradlab.monitor.watched_modules import Choice, WatchedModule, find_modules, unwrap
from gradlab.monitor.watched_step import WatchedStep
from gradlab.nonfinite.guard import NonfiniteGuard
from gradlab.pages.output_folder import check_replaceable
from gradlab.results.context import ALONE, attach
from gradlab.sinks.memory import Memory
from gradlab.sinks.protocol import RunInfo, Sink, Sinks
from gradlab.sinks.run_folder import Parquet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_watched: weakref.WeakSet[nn.Module] = weakref.WeakSet()
MOST_NAMES = 5  # in a warning


def watch(
    model: nn.Module,
    optimizer: Optimizer | LRScheduler | Sequence[Optimizer] | None = None,
    *,
    every: int | str = 1,
    modules: Choice | Sequence[Choice] | None = None,
    sinks: Sink | Sequence[Sink] = (),
    locate: bool = True,
    on_spike: Literal["skip"] | None = None,
    black_box: str | Path | BlackBox | None = None,
) -> "Monitor":
    """Record the gradients and signals of each layer of a network while it trains.

    The training loop stays as it is, and computes the same numbers to the last bit. gradlab reads
    the gradients of the parameters once in each optimiser step, when they are complete: after
    accumulation, averaging over processes and unscaling, and before clipping. `docs/watch.md`
    describes each recorded column.

    Args:
        model: Any network, also inside `DistributedDataParallel`, `fully_shard` or
            `torch.compile`.
        optimizer: The optimiser whose updates are the steps, or its learning rate scheduler. With a
            list of optimisers, a step is complete when each has made one update. None: each update
            of the model, by any optimiser, is a step.
        every: 1 records each step, N records each N-th step from step 0 on, and "log" records ten
            steps per factor of 10.
        modules: The modules to record: a type, a pattern of names ("h.*.mlp.*"), a function
            f(name, module), or a list of these. None: all modules that own a parameter with two or
            more dimensions.
        sinks: Further destinations of the rows, from `gradlab.sinks`. The monitor always stores
            the rows in memory. Without a sink, no file is written.
        locate: Whether to check the loss and all gradients in each step, and to name the operation
            and the line at which the first inf or NaN begins.
        on_spike: None changes nothing. "skip" changes the training, and needs `every=1`: gradlab
            skips an update if loss and gradient norm are both 6 standard deviations above their
            median over the last 128 steps, or if one of them is inf or NaN. It sets the gradients
            to None, so that the optimiser does nothing.
        black_box: A folder, or `gradlab.BlackBox` with its options. The last steps stay in memory.
            After the first inf or NaN, or an exception in the `with` block, they are written to the
            folder, and `gradlab replay` repeats them. None stores nothing.

    Returns:
        A monitor, which is not started yet. Use it in a `with` statement around the loop, or call
        `start()` and `stop()`.

    Raises:
        WatchError: The model is already watched or cannot be watched, or an argument is invalid.

    Example:
        >>> import torch, gradlab
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 1))
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> with gradlab.watch(model, optimizer) as monitor:
        ...     for _ in range(20):
        ...         optimizer.zero_grad()
        ...         x = torch.randn(8, 4)
        ...         (model(x) - x.sum(1, keepdim=True)).square().mean().backward()
        ...         optimizer.step()
        >>> monitor
        Monitor(Sequential, completed, 20 recorded steps, 2 modules)
        >>> monitor.frame()["module"].unique().tolist()
        ['0', '2']
    """
    return Monitor(
        model, optimizer, every, modules, sinks,
        locate=locate, on_spike=on_spike, black_box=black_box,
    )  # fmt: skip


@dataclass
class _Session:
    """The time from `start` to `stop`, and how the training ended.

    Attributes:
        status: One of `schema.STATUSES`.
        error: The exception that ended the training, in one line.
        started: Date and time of the first start; empty before the first start.
        began: Clock at the start, minus the seconds of earlier sessions.
        seconds: Duration up to the last recorded step, or up to the stop.
        hooks: Removes the hooks when it closes; None while stopped.
        order: Indices of the modules, the first layer first; empty before the first record.
        steps_before: Stores the last steps for the black box; None without one.
    """

    status: str = "running"
    error: str | None = None
    started: str = ""
    began: float = 0.0
    seconds: float = 0.0
    hooks: ExitStack | None = field(default=None, repr=False)
    order: list[int] = field(default_factory=list[int])
    steps_before: StepMemory | None = field(default=None, repr=False)

    def start(self) -> ExitStack:
        """Start or resume, and return the stack for the hooks."""
        self.status, self.error = "running", None
        self.began = time.perf_counter() - self.seconds
        self.started = self.started or datetime.now(UTC).isoformat(timespec="seconds")
        self.hooks = ExitStack()
        return self.hooks

    def elapse(self) -> float:
        """Update and return the duration."""
        self.seconds = time.perf_counter() - self.began
        return self.seconds

    def stop(self, error: BaseException | None) -> None:
        """Remove the hooks, and set status and error."""
        self.elapse()
        if self.hooks is not None:
            self.hooks.close()
        self.hooks = None
        ended = "completed" if error is None else "interrupted"
        self.status = "failed" if isinstance(error, Exception) else ended
        self.error = None if error is None else f"{type(error).__name__}: {first_line(error)}"


class Monitor:
    """The record of a watched network; `gradlab.watch` returns it.

    `findings` lists the faults, `frame()` and `steps()` return the recorded rows, `figure(name)`
    draws them, and `report(folder)` writes a page. `print(monitor)` shows state and findings.

    Args:
        model: As in `gradlab.watch`.
        optimizer: As in `gradlab.watch`.
        every: As in `gradlab.watch`.
        modules: As in `gradlab.watch`.
        sinks: As in `gradlab.watch`.
        ranks: Number of processes that average their gradients; None reads it from the model.
        locate: As in `gradlab.watch`.
        on_spike: As in `gradlab.watch`.
        black_box: As in `gradlab.watch`.

    Attributes:
        notes: Warnings about steps and modules that were not recorded, one line each.
    """

    # attributes: the parts of a record, each with its class.

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer | LRScheduler | Sequence[Optimizer] | None = None,
        every: int | str = 1,
        modules: Choice | Sequence[Choice] | None = None,
        sinks: Sink | Sequence[Sink] = (),
        ranks: int | None = None,
        locate: bool = True,
        on_spike: str | None = None,
        black_box: str | Path | BlackBox | None = None,
    ) -> None:
        if not isinstance(model, nn.Module):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise WatchError(f"expected a torch.nn.Module to watch, given {type(model).__name__}")
        self.notes: list[str] = []
        network, self._every = unwrap(model), every
        _check_not_watched(network)
        self._ranks = ranks or count_ranks(model)
        self._sinks = Sinks(sinks, self._note)
        optimizers = WatchedOptimizers(optimizer, network)
        failures = Failures(self._ranks == 1, self._note_failure)
        self._signals = WatchedSignals(network, find_modules(network, modules), failures)
        self._tracker = StepTracker(self._signals, optimizers, schedule(every), self._record)
        self._guard = self._make_guard() if locate else None
        self._spikes = self._make_spike_guard() if _skips_spikes(on_spike, every) else None
        self._memory, self._session = Memory(), _Session()
        if black_box is not None:
            self._session.steps_before = self._make_step_memory(black_box)

    @property
    def _network(self) -> nn.Module:
        """The watched network, without wrappers."""
        return self._tracker.optimizers.network

    def start(self) -> "Monitor":
        """Start or resume recording, without a `with` statement.

        In a notebook, call `monitor.start()` in one cell, train in other cells, and call
        `monitor.stop()` at the end.

        Returns:
            This monitor.

        Raises:
            WatchError: The model is already watched, by this or another monitor.
        """
        _check_not_watched(self._network)
        if is_first_rank(self._ranks):
            self._sinks.open(RunInfo(record={"watched": True}))
        _watched.update(self._network.modules())
        hooks = self._session.start()
        hooks.callback(lambda: _watched.difference_update(list(self._network.modules())))
        hooks.enter_context(self._signals.observe())
        hooks.enter_context(self._tracker.observe())
        if self._guard is not None:
            hooks.enter_context(self._guard.observe(self._network.modules()))
        if self._session.steps_before is not None:
            hooks.enter_context(
                self._session.steps_before.observe(self._tracker.optimizers.chosen or ())
            )
        if self._spikes is not None:
            hooks.enter_context(self._spikes.observe())
        if self._sinks and is_first_rank(self._ranks):
            hooks.enter_context(complete_on_sigterm(self._terminate))
        return self

    def stop(self) -> None:
        """Stop recording, and close the sinks. A second call has no effect."""
        self._stop(None)

    def __enter__(self) -> "Monitor":
        try:
            with uninterrupted([signal.SIGINT]):
                return self.start()
        except BaseException as error:  # Python does not call `__exit__` then
            self._stop(error)
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop(error)

    def _terminate(self) -> None:
        """Complete the sinks, because the process ends."""
        self._session.status, self._session.error = "interrupted", "SIGTERM"
        self._session.elapse()
        self._sinks.finish(self._info())

    def _stop(self, error: BaseException | None) -> None:
        if self._session.hooks is None:
            return
        delayed = uninterrupted([signal.SIGINT])  # a second Ctrl-C
        with complete_on_sigterm(lambda: None), sigterm_delayed(), delayed:
            self._complete(error)

    def _complete(self, error: BaseException | None) -> None:
        self._session.stop(error)
        if self._guard is not None:
            self._guard.finish()
        if self._session.steps_before is not None:
            self._session.steps_before.finish(self._session.error)
        self._tracker.finish(failed=error is not None)
        last = self.steps().tail(1)
        diverged = any(overflowed(last, name).any() for name in ("loss", "grad_norm"))
        if diverged and self._session.status == "completed":
            self._session.status = "diverged"
        self.notes += _describe_skipped_steps(self._tracker.skips.take_count())
        self.notes += _describe_spikes(self._spikes.take()) if self._spikes else []
        unknown = (
            [] if self._session.order else _describe_unknown_optimizer(self._tracker.optimizers)
        )
        self.notes += unknown
        if is_first_rank(self._ranks):
            self._sinks.finish(self._info() if self._sinks else {})
        for text in unknown if error is None else ():
            warnings.warn(text, stacklevel=3)

    @property
    def modules(self) -> list[str]:
        """Names of the recorded modules, the first layer first."""
        return [self._signals.modules[index].name or "model" for index in self._session.order]

    def frame(self) -> pd.DataFrame:
        """Return the record of the layers: a row per recorded step and module.

        Returns:
            The columns of `layers.parquet`.
        """
        return attach(self._memory.layers(), {ALONE: self._diagnosis_info()}, self.steps())

    def steps(self) -> pd.DataFrame:
        """Return the record of the steps: a row per recorded step.

        Returns:
            The columns of `steps.parquet`.
        """
        return self._memory.steps()

    @property
    def findings(self) -> Findings:
        """The findings so far, the most severe first.

        A finding names layers by their position in `modules`, from 1.

        Raises:
            WatchError: No step was recorded.
        """
        if not self._nonfinite_info():
            self._check_recorded()
        return diagnose(self.frame())

    def diagnose(self) -> Findings:
        """Return `findings`, for code that calls `diagnose` as a method."""
        return self.findings

    def figure(self, name: str) -> "Figure":
        """Draw a figure of the record so far.

        Args:
            name: "signal" (error signal over depth), "gradients" (weight gradients over depth),
                "timeline" (error signal over depth and steps) or "loss".

        Returns:
            A matplotlib figure, which a notebook displays.

        Raises:
            WatchError: The name is unknown, or no step was recorded.
        """
        from gradlab.report.watch_figures import draw_watched

        self._check_recorded()
        title = f"{type(self._network).__name__}: {self.findings.verdict}"
        return draw_watched(name, self.frame(), self.steps(), title)

    def report(self, folder: str | Path) -> Path:
        """Write the record and a report page into a folder.

        The folder gets the same files as a run of `gradlab run`.

        Args:
            folder: A new or empty folder. An earlier record of a watched network is replaced.

        Returns:
            Path of the page.

        Raises:
            StoreError: The folder contains another run, or cannot be written.
            WatchError: No step was recorded.
        """
        from gradlab.report.report_page import write_report

        self._check_recorded()
        if is_first_rank(self._ranks):
            files = Parquet(folder, replace="watched")
            files.open(RunInfo(record={"watched": True}))
            for rows in self._memory.rows:
                files.write(rows)
            files.finish(self._info())
            write_report(folder)
        return Path(folder) / "report" / "index.html"

    def __repr__(self) -> str:
        state = self._session.status if self._session.started else "not started"
        count = len(self._memory.rows)
        steps = f"{count} recorded step{'' if count == 1 else 's'}"
        network = type(self._network).__name__
        return f"Monitor({network}, {state}, {steps}, {len(self._signals.modules)} modules)"

    def __str__(self) -> str:
        if not self._has_findings:
            return repr(self)
        return "\n".join([repr(self), str(self.findings), *self.notes])

    def _repr_html_(self) -> str:
        """Return the state, a table of the findings and the notes, for a notebook."""
        parts = [f"<p><b>{escape(repr(self))}</b></p>"]
        if self._has_findings:
            parts.append(self.findings.to_html())
        return "".join([*parts, *(f"<p>{escape(note)}</p>" for note in self.notes)])

    @property
    def _has_findings(self) -> bool:
        """Whether there is a record to diagnose, or an inf or NaN without a recorded step."""
        return bool(self._session.order or self._nonfinite_info())

    def _check_recorded(self) -> None:
        if not self._session.started:
            raise WatchError(
                "the monitor was not started; put `with gradlab.watch(...) as monitor:` around the "
                "training loop, or call `monitor.start()` before it"
            )
        if not self._session.order:
            raise WatchError(
                "no step was recorded; expected a call of the optimiser's `step()` since the start"
            )

    def _record(self, step: WatchedStep) -> None:
        """Write a recorded step to memory and to the sinks."""
        with sigterm_delayed():
            self._record_step(step)

    def _record_step(self, step: WatchedStep) -> None:
        modules = self._signals.modules
        layers_SC, of_step = measure(modules, step, self._ranks)
        if not self._session.order:
            self._session.order = sort_by_depth(len(modules), self._signals.order)
            for text in _describe_silent_modules(modules, step):
                self._note(text)
        seconds = self._session.elapse()
        rows = make_rows(step, self.modules, layers_SC[self._session.order], of_step, seconds)
        self._memory.write(rows)
        if is_first_rank(self._ranks):
            self._sinks.write(rows)

    def _note(self, text: str) -> None:
        self.notes.append(text)
        warnings.warn(text, stacklevel=2)

    def _note_failure(self, error: Exception) -> None:
        line = traceback.extract_tb(error.__traceback__)[-1]
        self._note(
            "gradlab failed, so the record ends here; training continues. "
            f"{type(error).__name__}: {first_line(error)} "
            f"({Path(line.filename).name}:{line.lineno})"
        )

    def _config(self) -> dict[str, Any]:
        first = self._tracker.optimizers.first
        return read_configuration(self._network, [first] if first else [], self._every)

    def _diagnosis_info(self) -> dict[str, Any]:
        """Return the entries of `run.json` that a diagnosis needs."""
        one_sided = [
            self._signals.modules[index].name or "model"
            for index, phi in self._signals.phi.items()
            if isinstance(phi, ONE_SIDED)
        ]
        return {
            "watched": True,
            "status": self._session.status,
            "config": self._config(),
            "one_sided": one_sided,
            "nonfinite": self._nonfinite_info(),
        }

    def _make_guard(self) -> NonfiniteGuard:
        """Return the checks for inf and NaN."""
        network, tracker = self._network, self._tracker
        return NonfiniteGuard(
            lambda: dict(network.named_parameters()),
            lambda: {id(module): name or "model" for name, module in network.named_modules()},
            lambda: tracker.attempts,
            repeats=can_repeat(network),
            may_wait=lambda: tracker.is_recorded_now,
            pause=self._signals.pause,
            on_failure=self._signals.failures.handle,
        )

    def _make_spike_guard(self) -> SpikeGuard:
        """Return the check for spikes of the loss."""
        tracker = self._tracker
        return SpikeGuard(
            lambda: tracker.current,
            tracker.optimizers.includes,
            tracker.failures,
            self._ranks,
            LIMITS["spike"],
        )

    def _make_step_memory(self, black_box: str | Path | BlackBox) -> StepMemory:
        """Return the memory of the last steps.

        Raises:
            WatchError: `locate` is False.
            StoreError: The folder cannot be replaced.
        """
        if self._guard is None:
            raise WatchError("expected locate=True with black_box, given locate=False")
        box = black_box if isinstance(black_box, BlackBox) else BlackBox(black_box)
        rank = "" if self._ranks == 1 else f"rank_{torch.distributed.get_rank()}"
        folder, skips = Path(box.folder, rank), self._tracker.skips
        check_replaceable(folder)
        return StepMemory(
            box.every,
            self._network,
            self._guard,
            lambda: self._tracker.attempts,
            self._tracker.optimizers.includes,
            lambda step: step in skips.steps,
            lambda recording: write_recording(folder, recording, box.limit),
            self._note,
        )

    def _nonfinite_info(self) -> dict[str, Any]:
        """Return the located faults and the skipped steps; empty if there are none."""
        skips, faults = self._tracker.skips, self._guard.faults if self._guard else []
        if not faults and not skips.steps:
            return {}
        marked = [replace(fault, skipped=fault.step in skips.steps) for fault in faults]
        return {
            "faults": [fault.as_dict() for fault in marked],
            "skipped": skips.steps,
            "scales": skips.scales,
            "attempts": self._tracker.attempts,
        }

    def _info(self) -> dict[str, Any]:
        layers = self.frame()
        findings = self.findings if len(layers) else Findings()
        return self._diagnosis_info() | {
            "verdict": findings.verdict if len(layers) else None,
            "learning": findings.learning,
            "findings": findings.as_dicts(),
            "slope": slope(layers),
            "seed": torch.initial_seed(),
            "config_hash": None,
            "timings": {"started": self._session.started, "seconds": self._session.seconds},
            "error": self._session.error,
            "notes": self.notes,
            "steps": int(layers["step"].max()) + 1 if len(layers) else 0,
        }


def _check_not_watched(network: nn.Module) -> None:
    if any(module in _watched for module in network.modules()):
        raise WatchError(
            "the model, or a part of it, is already watched; first call `monitor.stop()`, or "
            "`watch.close()` for a callback of Lightning or Hugging Face"
        )


def _describe_silent_modules(modules: Sequence[WatchedModule], step: WatchedStep) -> list[str]:
    """Return a line about the modules with a gradient but without a signal, if there are any."""
    called = {call.index for call in step.calls}
    silent = [
        watched.name
        for index, watched in enumerate(modules)
        if index not in called and watched.output_of is not None
        if any(id(p) in step.readings for p in [*watched.all_weights(), *watched.all_biases()])
    ]
    if not silent:
        return []
    names = ", ".join(silent[:MOST_NAMES]) + (", …" if len(silent) > MOST_NAMES else "")
    return [
        f"no signals from {len(silent)} of {len(modules)} modules, only gradients and weights: "
        f"{names}. Possible causes: torch.compile; weights used without calling the module; "
        "no backward() through its output; an output that is not a dense tensor"
    ]


def _describe_skipped_steps(count: int) -> list[str]:
    """Return a line about the steps that a `GradScaler` has skipped, if there are any."""
    if not count:
        return []
    steps = "1 step, which was" if count == 1 else f"{count} steps, which were"
    return [f"a GradScaler skipped {steps} not recorded"]


def _skips_spikes(on_spike: str | None, every: int | str) -> bool:
    """Return whether updates with a spike are left out.

    Raises:
        WatchError: The value is unknown, or not every step is recorded.
    """
    if on_spike not in (None, "skip"):
        raise WatchError(f'expected on_spike to be "skip" or None, given {on_spike!r}')
    if on_spike and every != 1:
        raise WatchError(f'expected every=1 with on_spike="skip", given every={every!r}')
    return on_spike is not None


def _describe_spikes(steps: Sequence[int]) -> list[str]:
    """Return a line about the steps that were left out, if there are any."""
    if not steps:
        return []
    shown = ", ".join(map(str, steps[:MOST_NAMES])) + (", …" if len(steps) > MOST_NAMES else "")
    updates = "the update of 1 step" if len(steps) == 1 else f"the updates of {len(steps)} steps"
    return [f'on_spike="skip" left out {updates}: {shown}']


def _describe_unknown_optimizer(optimizers: WatchedOptimizers) -> list[str]:
    """Return a line about an optimiser that was not passed to `watch`, if there is one."""
    if optimizers.unknown is None:
        return []
    return [
        f"no step was recorded: the optimiser that made the updates ({optimizers.unknown}) is not "
        "the optimiser passed to gradlab.watch; pass that one, or none to record all"
    ]
