"""The keys that a sweep varied, and the names of its settings."""

import pandas as pd
import pytest

from gradlab.report.reduce import reduce_folder
from gradlab.report.report_page import write_report
from gradlab.report.run_table import run_table
from gradlab.report.swept_keys import format_value, setting_label, varied_keys
from tests.report.runs import write_run


def test_seeds_and_keys_of_one_group_option_are_not_varied():
    none = {"clip": "none", "model.depth": 3}
    norm = {"clip": "norm", "model.depth": 3, "clip.max_norm": 1.0}
    configs = [{**none, "seed": 0}, {**norm, "seed": 1}, {**norm, "seed": 2}]
    assert varied_keys(configs) == ["clip"]
    assert varied_keys([*configs, {**norm, "clip.max_norm": 2.0}]) == ["clip", "clip.max_norm"]
    assert setting_label(pd.Series(norm), ["model.depth", "clip"]) == "depth 3, clip norm"


def test_a_key_that_comes_with_an_option_is_not_varied_too():
    lstm = {"model": "lstm", "model.norm_position": "before", "model.depth": 1}
    gru = {"model": "gru", "model.norm_position": "after", "model.depth": 2}
    assert varied_keys([lstm, gru]) == ["model.depth", "model"]
    both = {**lstm, "model.norm_position": "after"}
    assert varied_keys([lstm, gru, both]) == ["model.depth", "model", "model.norm_position"]


def test_a_sweep_can_vary_a_key_with_null(tmp_path):
    for number, (gain, seed) in enumerate(((None, 0), (None, 1), (3, 0), (3, 1))):
        delta = [1e-2 if gain else 1e-4, 1.0]
        write_run(tmp_path / str(number), delta, seed=seed, **{"model.init_gain": gain})
    frame, keys = run_table(*reduce_folder(tmp_path))
    assert keys == ["model.init_gain"]
    means = frame.groupby("model.init_gain", sort=False)["decades"].mean()
    assert means.to_dict() == {"unset": pytest.approx(-4), 3: pytest.approx(-2)}
    assert [setting_label(frame.iloc[i], keys) for i in (0, 2)] == [
        "init_gain unset",
        "init_gain 3",
    ]
    assert write_report(tmp_path).runs == 4


def test_a_list_can_be_a_varied_value(tmp_path):
    for number, betas in enumerate(([0.9, 0.99], [0.8, 0.9])):
        write_run(tmp_path / str(number), **{"optim.betas": betas})
    frame, keys = run_table(*reduce_folder(tmp_path))
    assert setting_label(frame.iloc[0], keys) == "betas [0.9, 0.99]"
    page = write_report(tmp_path).path.read_text()
    assert "betas = [0.9, 0.99], [0.8, 0.9]" in page


def test_a_damaged_run_does_not_count_as_varied(tmp_path):
    for name, depth in (("a", 2), ("b", 3)):
        write_run(tmp_path / name, **{"model.depth": depth})
    file = tmp_path / "b" / "layers.parquet"
    content = file.read_bytes()
    file.write_bytes(content[:4] + b"\xff" * 200 + content[204:])
    frame, keys = run_table(*reduce_folder(tmp_path))
    assert (frame["run"].tolist(), keys) == (["a"], [])


@pytest.mark.parametrize(
    ("value", "text"), [(3.0, "3"), (3, "3"), (1e-5, "1e-05"), (0.1234567, "0.1234567")]
)
def test_numbers_are_formatted_as_a_user_types_them(value, text):
    assert format_value(value) == text
