"""Named sweeps: each file names its command, and each of its jobs is a valid configuration."""

from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

import gradlab
from gradlab.config import choices
from gradlab.config.settings import from_config


@pytest.mark.parametrize("name", choices.names("experiment"))
def test_a_sweep_names_its_command_and_all_its_jobs_are_valid(name):
    file = choices.conf_dir() / "experiment" / f"{name}.yaml"
    # Hydra reads the package only from the first line; the command is on the second.
    assert file.read_text().splitlines()[1] == f"# gradlab run -m +experiment={name}"
    with initialize_config_dir(str(choices.conf_dir()), version_base="1.3"):
        overrides = [f"+experiment={name}"]
        whole = compose("config", overrides, return_hydra_config=True)
        swept = OmegaConf.to_container(whole.hydra.sweeper.params)
        parser = OverridesParser.create()
        levels = {
            key: list(parser.parse_override(f"{key}={value}").sweep_string_iterator())
            for key, value in swept.items()
        }
        for key, values in levels.items():
            for value in values:
                config = compose("config", [*overrides, f"{key}={value}"])
                plain = OmegaConf.to_container(config, resolve=True)
                assert str(from_config(plain).flat[key]) == value
    count = 1
    for values in levels.values():
        count *= len(values)
    assert f"{count} runs" in file.read_text()


@pytest.mark.parametrize("name", choices.names("experiment"))
def test_a_sweep_can_run_without_tracking(name):
    with initialize_config_dir(str(choices.conf_dir()), version_base="1.3"):
        config = compose("config", [f"+experiment={name}", "tracking=none"])
    plain = OmegaConf.to_container(config, resolve=True)
    assert from_config(plain).tracking == ()


def test_the_demo_has_at_least_48_runs():
    assert "144 runs" in (choices.conf_dir() / "experiment" / "depth_activation.yaml").read_text()


@pytest.mark.parametrize(
    "file", sorted(choices.conf_dir().rglob("*.yaml")), ids=lambda f: f"{f.parent.name}/{f.stem}"
)
def test_every_choice_has_the_name_of_its_file_and_an_existing_target(file):
    group = file.parent.relative_to(choices.conf_dir()).as_posix()
    assert file.read_text().startswith("# ")
    if group in (".", "experiment"):
        return
    from gradlab.config.choices import locate

    content = choices.load(group, file.stem)
    if group == "tracking":  # any number of sinks, each with the name of the file that defines it
        for name in content:
            assert callable(locate(choices.load_sink(name)["_target_"]))
        return
    assert content["name"] == file.stem
    if content["_target_"] is not None:
        assert callable(locate(content["_target_"]))


@pytest.mark.parametrize("name", choices.names("experiment"))
def test_every_experiment_has_a_page_with_its_command(name):
    page = Path(__file__).parents[1] / "experiments" / name / "README.md"
    assert f"gradlab run -m +experiment={name}" in page.read_text()


@pytest.mark.parametrize("group", ["model", "data", "loss", "optim", "clip", "tracking"])
def test_the_comments_in_the_configuration_list_every_choice(group):
    lines = (choices.conf_dir() / "config.yaml").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith(f"  - {group}: ")]
    listed = line.split("# ")[1].split(" | ")
    assert sorted(name for name in listed if "[" not in name) == choices.names(group)


def test_every_sink_is_a_choice_of_tracking():
    classes = {f"gradlab.sinks.{name}" for name in gradlab.sinks.__all__}
    neither = {f"gradlab.sinks.{name}" for name in ("Memory", "Parquet", "RunInfo", "Sink")}
    files = (choices.conf_dir() / "tracking").glob("*.yaml")
    sections = [
        section for file in files for section in (yaml.safe_load(file.read_text()) or {}).values()
    ]
    targets = {section["_target_"] for section in sections if "_target_" in (section or {})}
    assert targets == classes - neither
