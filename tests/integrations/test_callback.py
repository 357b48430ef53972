"""A callback checks its options when it is made, and names the extra of a missing library."""

import subprocess
import sys

import pytest

from gradlab.errors import WatchError
from gradlab.integrations.callback import WatchCallback


def test_wrong_options_are_refused_when_the_callback_is_made():
    with pytest.raises(TypeError, match="unexpected keyword argument 'evry'"):
        WatchCallback(evry=2)
    with pytest.raises(WatchError, match="given 0"):
        WatchCallback(every=0)


@pytest.mark.parametrize(
    ("name", "libraries", "packages"),
    [
        ("lightning", ["lightning", "pytorch_lightning"], "pytorch-lightning"),
        ("huggingface", ["transformers"], "transformers accelerate"),
    ],
)
def test_a_missing_library_is_one_line_with_the_command_to_install_it(name, libraries, packages):
    hide = "".join(f"sys.modules[{each!r}] = None; " for each in libraries)
    line = f"import sys; {hide}import gradlab; gradlab.integrations.{name}"
    done = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=False)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ImportError: ")
    assert last.endswith(f"is not installed: pip install {packages}")


def test_closing_a_callback_that_was_never_used_does_nothing():
    callback = WatchCallback()
    callback.close()
    assert callback.monitor is None
