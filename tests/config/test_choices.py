"""Code of others: found, or named with the nearest; its errors told in one line."""

import sys

import pytest

from gradlab.config.choices import locate, wrap_errors
from gradlab.errors import JobError, SettingsError


def test_what_is_there_is_found():
    import torch

    assert locate("torch.nn.Mish") is torch.nn.Mish
    assert locate("email.mime.text.MIMEText").__name__ == "MIMEText"  # modules nobody imported


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
def test_what_is_not_there_is_one_line_that_says_why(path, words, capfd):
    with pytest.raises(SettingsError, match=words) as caught:
        locate(path)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("line", ["import a_missing_one", "raise SystemExit", "1 / 0"])
def test_a_module_that_fails_is_told_by_its_own_cause(line, tmp_path, monkeypatch):
    (tmp_path / "users_own.py").write_text(line)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "users_own", raising=False)
    with pytest.raises(SettingsError, match=r"a_missing_one|ends the program|division by zero"):
        locate("users_own.Activation")


@pytest.mark.parametrize("error", [ValueError("a\nb"), MemoryError(), SystemExit(0)])
def test_whatever_fails_is_a_line(error):
    with (
        pytest.raises(SettingsError, match=r"^it: (a|MemoryError|it ends the program)$"),
        wrap_errors("it"),
    ):
        raise error


def test_errors_of_ours_and_ctrl_c_pass():
    for error in JobError("as it is"), KeyboardInterrupt():
        with pytest.raises(type(error)) as caught, wrap_errors("it"):
            raise error
        assert caught.value is error
