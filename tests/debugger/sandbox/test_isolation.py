"""Output, command line, folder and environment are restored after a training."""

import logging
import os
import sys
import warnings
from pathlib import Path

from gradlab.debugger.sandbox.isolation import isolated


def environment():
    return (
        sys.stdout,
        sys.stderr,
        [*sys.argv],
        [*sys.path],
        Path.cwd(),
        dict(os.environ),
        logging.root.manager.disable,
        [*warnings.filters],
    )


def test_the_environment_is_restored(tmp_path):
    before = environment()
    with isolated("train.py"):
        assert sys.argv == ["train.py"]
        os.chdir(tmp_path)
        os.environ["GRADLAB_TEST"] = "1"
        sys.path.insert(0, "elsewhere")
        sys.argv.append("--more")
        warnings.simplefilter("error")
        logging.disable(logging.NOTSET)
    assert environment() == before


def test_output_is_discarded(capfd):
    handler = logging.StreamHandler(sys.stderr)
    logger = logging.getLogger("theirs")
    logger.addHandler(handler)
    with isolated():
        print("loss", 0.1)
        sys.stdout.buffer.write(b"bytes")
        print("bad", file=sys.stderr)
        os.write(sys.stdout.fileno(), b"below Python")
        warnings.warn("old", stacklevel=1)
        logger.error("loud")
    logger.removeHandler(handler)
    assert capfd.readouterr() == ("", "")


def test_wandb_and_matplotlib_windows_are_disabled():
    with isolated():
        assert (os.environ["WANDB_MODE"], os.environ["MPLBACKEND"]) == ("disabled", "agg")


def test_a_logger_made_inside_still_works_afterwards(capfd):
    with isolated():
        handler = logging.StreamHandler()
    assert not handler.stream.closed
    handler.stream.write("later")
    handler.flush()
    assert capfd.readouterr() == ("", "")
