"""Each command is a file in `gradlab/cli` with a help text, and `gradlab --help` lists it."""

import re
from importlib import import_module
from pathlib import Path

import pytest

from gradlab import cli
from gradlab.cli.main import COMMANDS, HELP, main

HELPERS = {"__init__", "main", "arguments"}


def test_each_command_has_a_file():
    files = {file.stem for file in Path(cli.__file__).parent.glob("*.py")} - HELPERS
    assert set(COMMANDS) == files
    assert set(re.findall(r"^  gradlab (\w+)", HELP, re.M)) == files


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_starts_with_its_usage(command):
    module = import_module(f"gradlab.cli.{command}")
    assert module.HELP.startswith(f"gradlab {command} ")
    assert all(len(line) <= 100 for line in module.HELP.splitlines())
    assert getattr(module, command).__doc__


@pytest.mark.parametrize("command", COMMANDS[1:])
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_prints_only_the_help(command, flag, capsys):
    assert main([command, "given", flag]) == 0
    assert capsys.readouterr().out == import_module(f"gradlab.cli.{command}").HELP


def test_help_after_two_dashes_belongs_to_the_program(capsys):
    assert main(["doctor", "missing.py", "--", "--help"]) == 2
    assert "usage" not in capsys.readouterr().out
