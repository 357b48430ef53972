"""What surrounds a training is as it was: words, command line, folder, environment, logging."""

import logging
import os
import sys
import warnings
from pathlib import Path

from gradlab.debugger.sandbox.isolation import apart


def surroundings():
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


def test_all_is_put_back(tmp_path):
    before = surroundings()
    with apart("train.py"):
        assert sys.argv == ["train.py"]
        os.chdir(tmp_path)
        os.environ["GRADLAB_TEST"] = "1"
        sys.path.insert(0, "elsewhere")
        sys.argv.append("--more")
        warnings.simplefilter("error")
        logging.disable(logging.NOTSET)
    assert surroundings() == before


def test_nothing_is_said(capfd):
    handler = logging.StreamHandler(sys.stderr)
    logger = logging.getLogger("theirs")
    logger.addHandler(handler)
    with apart():
        print("loss", 0.1)
        sys.stdout.buffer.write(b"bytes")
        print("bad", file=sys.stderr)
        os.write(sys.stdout.fileno(), b"below Python")
        warnings.warn("old", stacklevel=1)
        logger.error("loud")
    logger.removeHandler(handler)
    assert capfd.readouterr() == ("", "")


def test_no_run_is_logged_and_no_window_opened():
    with apart():
        assert (os.environ["WANDB_MODE"], os.environ["MPLBACKEND"]) == ("disabled", "agg")


def test_a_logger_made_inside_can_go_on(capfd):
    with apart():
        handler = logging.StreamHandler()
    assert not handler.stream.closed
    handler.stream.write("later")
    handler.flush()
    assert capfd.readouterr() == ("", "")
