"""Classes and functions at dotted paths: found, or refused in one line with the nearest name."""

import sys

import pytest

from gradlab.config.choices import locate, wrap_errors
from gradlab.errors import JobError, SettingsError


def test_an_existing_path_is_imported():
    import torch

    assert locate("torch.nn.Mish") is torch.nn.Mish
    assert locate("email.mime.text.MIMEText").__name__ == "MIMEText"  # not yet imported


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("torch.nn.Tanhshrin", "torch.nn has no Tanhshrin; did you mean torch.nn.Tanhshrink"),
        ("torch.nm.Tanh", "torch has no nm; did you mean torch.n"),
        ("torhc.nn.Tanh", "No module named 'torhc'"),
        ("torch.nn.Tanh.", "torch.nn.Tanh has no "),
        ("..", "Empty module name"),
        ("sys.path", "sys.path is a list"),
    ],
)
def test_a_missing_path_gives_a_one_line_error_with_the_reason(path, words, capfd):
    with pytest.raises(SettingsError, match=words) as caught:
        locate(path)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("line", ["import a_missing_one", "raise SystemExit", "1 / 0"])
def test_the_error_of_a_module_names_its_cause(line, tmp_path, monkeypatch):
    (tmp_path / "user_module.py").write_text(line)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "user_module", raising=False)
    with pytest.raises(SettingsError, match=r"a_missing_one|ends the program|division by zero"):
        locate("user_module.Activation")


@pytest.mark.parametrize("error", [ValueError("a\nb"), MemoryError(), SystemExit(0)])
def test_every_error_becomes_one_line(error):
    with (
        pytest.raises(SettingsError, match=r"^it: (a|MemoryError|it ends the program)$"),
        wrap_errors("it"),
    ):
        raise error


def test_gradlab_errors_and_ctrl_c_pass_unchanged():
    for error in JobError("as it is"), KeyboardInterrupt():
        with pytest.raises(type(error)) as caught, wrap_errors("it"):
            raise error
        assert caught.value is error
