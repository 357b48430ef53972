"""A terminal shows a progress bar, a log gets lines; Ctrl-C stops a run in two stages."""

import io
import logging
import os
import signal

import pytest
from rich.console import Console

from gradlab.config.interrupt import Interrupt, Interrupted
from gradlab.recording.rows import STEPS, Rows
from gradlab.sinks.progress import Progress
from gradlab.sinks.protocol import RunInfo
from tests.configs import batch


def rows(step: int, loss: float) -> Rows:
    return Rows(batch({"step": [step], "loss": [loss]}, STEPS))


def show(screen: io.StringIO, *reports: Rows, interval: float = 10.0, terminal: bool = False):
    progress = Progress(Console(file=screen, force_terminal=terminal, width=80), interval)
    progress.open(RunInfo(steps=100))
    for each in reports:
        progress.write(each)
    progress.finish({})


def test_a_terminal_shows_a_bar():
    screen = io.StringIO()
    show(screen, rows(49, 1.25), terminal=True)
    assert "loss 1.25" in screen.getvalue()
    assert "50/100" in screen.getvalue()


def test_a_log_gets_a_line_after_each_interval(caplog):
    screen = io.StringIO()
    with caplog.at_level(logging.INFO):
        show(screen, rows(49, 1.25), interval=0.0)
        show(screen, rows(50, 1.0), interval=1e6)
    assert [r.getMessage() for r in caplog.records] == ["step 50 of 100, loss 1.25"]
    assert not screen.getvalue()


def test_the_first_signal_requests_a_stop_and_the_second_interrupts():
    before = signal.getsignal(signal.SIGINT)
    with Interrupt() as interrupt:
        assert not interrupt.requested
        os.kill(os.getpid(), signal.SIGTERM)
        assert interrupt.requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_at_once_raises_an_exception_with_the_exit_code_of_the_signal(number, code):
    with pytest.raises(Interrupted, match=number.name) as caught, Interrupt(at_once=True):
        os.kill(os.getpid(), number)
    assert caught.value.exit_code == code
