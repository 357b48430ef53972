"""The result of `gradlab.load` in a terminal and in a notebook."""

import gradlab
from tests.report.runs import write_run


def test_runs_are_shown_with_the_keys_in_which_they_differ(tmp_path):
    for name, depth in (("a", 2), ("b", 3)):
        write_run(tmp_path / name, **{"model.depth": depth, "model.width": 8})
    found = gradlab.load(tmp_path)
    lines = repr(found).splitlines()
    assert lines[0] == "2 runs; 6 rows of steps, 18 rows of layers"
    assert lines[2].split() == ["run", "status", "verdict", "model.depth"]
    assert lines[3].split() == ["a", "completed", "healthy", "2"]
    assert str(found) == repr(found)
    assert "<td>b</td>" in found._repr_html_()
    assert "model.width" not in found._repr_html_()


def test_the_notebook_output_shows_at_most_20_runs(tmp_path):
    for name in range(22):
        write_run(tmp_path / str(name))
    assert gradlab.load(tmp_path)._repr_html_().count("<tr>") == 1 + 20 + 1
