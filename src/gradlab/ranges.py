"""What a configuration may hold: every key is held against the default that ships for it.

A key must be one that the chosen files in `conf/` have, and its value must be in the key's range
or, where none is stated here, have the type of the default.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gradlab.errors import SettingsError, nearest

DTYPES = ("float16", "bfloat16", "float32", "float64")


def flatten(
    config: Mapping[str, Any], defaults: Mapping[str, Any], prefix: str = ""
) -> dict[str, Any]:
    """Hold each key against its default; return them flat, a group's choice under its own name.

    Raises:
        SettingsError: a key is missing or unknown, or a value is out of range or of a wrong type.
    """
    flat: dict[str, Any] = {}
    for key in defaults:
        if key not in config:
            raise SettingsError(f"{prefix}{key} is missing")
    for key, value in config.items():
        dotted = f"{prefix}{key}"
        if key not in defaults:
            valid = [f"{prefix}{name}" for name in defaults]
            raise SettingsError(f"{dotted} is not a key; {nearest(dotted, valid)}")
        if isinstance(defaults[key], Mapping):
            if not isinstance(value, Mapping):
                raise SettingsError(f"{dotted} is a section, but was given {value!r}")
            flat |= flatten(value, defaults[key], f"{dotted}.")
        elif key == "name" and prefix:
            flat[prefix.rstrip(".")] = value
        elif key not in ("_target_", "tasks"):
            check_value(dotted, value, defaults[key])
            flat[dotted] = value
    return flat


@dataclass(frozen=True)
class Rule:
    """What a value must be, in words and as a test."""

    expected: str
    holds: Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _whole(least: int) -> Rule:
    return Rule(f"a whole number of at least {least}", lambda v: _is_whole(v) and v >= least)


def _one_of(*valid: str) -> Rule:
    return Rule(f"one of {', '.join(valid)}", lambda v: v in valid)


POSITIVE = Rule("a number above 0", lambda v: _is_number(v) and v > 0)
NOT_NEGATIVE = Rule("a number of at least 0", lambda v: _is_number(v) and v >= 0)
DECAY = Rule("a number from 0 to below 1", lambda v: _is_number(v) and 0 <= v < 1)
SHARE = Rule("a number between 0 and 1", lambda v: _is_number(v) and 0 < v < 1)

RULES = {
    "seed": Rule("a whole number from 0 to 2^31 - 1", lambda v: _is_whole(v) and 0 <= v < 2**31),
    "depth": _whole(0),
    "width": _whole(1),
    "steps": _whole(1),
    "batch_size": _whole(1),
    "every": _whole(1),
    "sample": _whole(0),
    "layer": _whole(1),
    "after": _whole(0),
    "weight": Rule("[from, to], or null", lambda v: v is None or isinstance(v, list | tuple)),
    "scheme": _one_of("two_sided", "one_sided"),
    "elements": Rule(
        "a whole number of at least 1, or null", lambda v: v is None or (_is_whole(v) and v >= 1)
    ),
    "tolerance": POSITIVE,
    "init_gain": Rule("a number above 0, or null", lambda v: v is None or POSITIVE.holds(v)),
    "norm_position": _one_of("before", "after"),
    "dtype": _one_of(*DTYPES),
    "device": Rule(
        "cpu, cuda, cuda:N or auto",
        lambda v: isinstance(v, str) and re.fullmatch(r"cpu|cuda(:\d+)?|auto", v) is not None,
    ),
    "lr": POSITIVE,
    "momentum": DECAY,
    "alpha": DECAY,
    "weight_decay": NOT_NEGATIVE,
    "eps": NOT_NEGATIVE,
    "scale": POSITIVE,
    "max_norm": POSITIVE,
    "max_value": POSITIVE,
    "ratio": POSITIVE,
    "delta": POSITIVE,
    "gamma": NOT_NEGATIVE,
    "noise": NOT_NEGATIVE,
    "samples": _whole(10),
    "test_fraction": SHARE,
    "betas": Rule(
        "two numbers from 0 to below 1",
        lambda v: isinstance(v, list | tuple) and len(v) == 2 and all(map(DECAY.holds, v)),
    ),
}
"""Ranges by the last part of a key. A key that is not here must only have its default's type."""

TYPES: tuple[tuple[type, Rule], ...] = (
    (bool, Rule("true or false", lambda v: isinstance(v, bool))),
    (int, Rule("a whole number", _is_whole)),
    (float, Rule("a finite number", _is_number)),
    (str, Rule("a name", lambda v: isinstance(v, str))),
    (list, Rule("a list", lambda v: isinstance(v, list | tuple))),
)


def check_value(key: str, value: Any, default: Any) -> None:
    """Raise SettingsError unless `value` is what `key`, whose shipped default is given, may be."""
    by_type = next((rule for kind, rule in TYPES if isinstance(default, kind)), None)
    rule = RULES.get(key.rsplit(".", 1)[-1], by_type)
    if rule is not None and not rule.holds(value):
        given = "null" if value is None else value
        hint = ""
        if rule.expected.startswith("one of ") and isinstance(value, str):
            close = nearest(value, rule.expected.removeprefix("one of ").split(", "))
            hint = f"; {close}" if close.startswith("did") else ""
        raise SettingsError(f"{key}={given}: expected {rule.expected}{hint}")
