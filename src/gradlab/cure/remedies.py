"""What to try on a sick run: the overrides that its findings, and their kinds, propose."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from gradlab.config import choices
from gradlab.cure.offers import Config, offers
from gradlab.diagnosis.finding import Finding


@dataclass(frozen=True)
class Remedy:
    """Overrides that are tried together, and why; of the run as it is, there are none."""

    overrides: tuple[str, ...]
    reason: str = ""
    pair: bool = False

    @property
    def name(self) -> str:
        """What a user types."""
        return " ".join(self.overrides) or "unchanged"

    @property
    def subjects(self) -> set[str]:
        """What the remedy changes: of the model and the training a key, else the whole group."""
        keys = {each.split("=")[0].lstrip("+~") for each in self.overrides}
        return {key if key.startswith(("model", "train")) else key.split(".")[0] for key in keys}


UNCHANGED = Remedy((), "the run as it is")


def propose(findings: Sequence[Finding], diverged: bool, config: Config) -> list[Remedy]:
    """Return what the findings propose and what their kinds do, the findings' own first.

    Nothing that the run has already, nothing twice, no choice that is not there.

    Args:
        findings: of the run, gravest first.
        diverged: whether the run ended in what is not finite.
        config: the run's, flat.
    """
    kinds = [*(["diverged"] if diverged else []), *(finding.kind for finding in findings)]
    by_kind = [each for kind in kinds for each in offers(kind, config)]
    reasons = dict(reversed(by_kind))
    own = [
        (text, reasons.get(text, f"proposed for {finding.kind}"))
        for finding in findings
        for text in finding.remedies
    ]
    return usable([*own, *by_kind], config)


def usable(offered: Iterable[tuple[str, str]], config: Config) -> list[Remedy]:
    """Return what is offered as remedies: nothing that the run has, that is not there, or twice."""
    found: dict[tuple[str, ...], Remedy] = {}
    for text, reason in offered:
        overrides = completed(tuple(text.split()), config)
        if _worth_a_try(overrides, config):
            found.setdefault(overrides, Remedy(overrides, reason))
    return list(found.values())


def completed(overrides: tuple[str, ...], config: Config) -> tuple[str, ...]:
    """Add what a choice needs beside it.

    Its own gain or learning rate, if the run set it for another; and the rate with which a larger
    loss makes the same steps, for the remedy is of rounding.
    """
    values = dict(each.split("=", 1) for each in overrides)
    if "model.init" in values and config.get("model.init_gain") is not None:
        return (*overrides, "model.init_gain=null")
    own_rate = config["optim.lr"] != _rate(config["optim"])
    if "optim" in values and "optim.lr" not in values and own_rate:
        return (*overrides, f"optim.lr={_rate(values['optim']):g}")
    if config["optim"] == "sgd" and {*values} == {"loss.scale"} and float(values["loss.scale"]) > 1:
        rate = config["optim.lr"] * config["loss.scale"] / float(values["loss.scale"])
        return (*overrides, f"optim.lr={rate:.10g}")
    return overrides


def _worth_a_try(overrides: Sequence[str], config: Config) -> bool:
    values = dict(each.split("=", 1) for each in overrides)
    there = all(_is_there(key, value) for key, value in values.items())
    new = any(not _has(config, key, value) for key, value in values.items())
    faster = float(values.get("optim.lr", 0)) > config["optim.lr"] and "optim" not in values
    lonely = values.get("model.norm") == "batch" and config["train.batch_size"] < 2
    return there and new and not faster and not lonely


def _has(config: Config, key: str, value: str) -> bool:
    if key not in config:
        return False
    held = config[key]
    with suppress(ValueError, TypeError):  # of what is no number
        return float(value) == float(held)
    return value == ("null" if held is None else str(held))


def _is_there(key: str, value: str) -> bool:
    """Say whether what is chosen is a choice, or the path of a class; a number always is."""
    valid = choices.names(key.replace(".", "/"))
    return not valid or value in valid or "." in value


def _rate(optim: str) -> float:
    """Return the learning rate that ships with an optimiser; NaN of one that does not ship."""
    ships = optim in choices.names("optim")
    return choices.load("optim", optim)["lr"] if ships else float("nan")
