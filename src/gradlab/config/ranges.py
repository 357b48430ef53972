"""Check the keys and values of a configuration against the files in `conf/`.

A key must exist in the chosen files. Its value must obey the rule that `RULES` has for the key. A
value whose key has no rule must have the type of the default.
"""

import re
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gradlab.errors import SettingsError, nearest

DTYPES = ("float16", "bfloat16", "float32", "float64")


MAX_KEYS = 10
"""The largest number of keys that a message lists."""
FIXED = ("_target_", "tasks", "reads")
"""Keys that define a choice. To change one, write a file with another name."""


def validate(
    config: Mapping[str, Any],
    defaults: Mapping[str, Any],
    prefix: str = "",
    known: Collection[str] = (),
) -> dict[str, Any]:
    """Return `config` after checking every key; whole numbers become floats where one is expected.

    Args:
        config: the configuration, nested.
        defaults: the same keys with their defaults.
        prefix: the keys above these, with a final dot, for messages.
        known: the dotted keys of the whole configuration, for messages; default: those below.

    Returns:
        The configuration, nested.

    Raises:
        SettingsError: a key is missing or unknown, or a value has a wrong type or is out of range.
    """
    known = known or flatten(defaults)
    for key in defaults:
        if key not in config:
            raise SettingsError(f"{prefix}{key} is missing")
    checked: dict[str, Any] = {}
    for key, value in config.items():
        dotted = f"{prefix}{key}"
        if key not in defaults:
            section = [each for each in known if each.startswith(prefix)]
            valid = known if same_last_part(dotted, known) else section or [prefix[:-1]]
            raise SettingsError(f"{dotted} is not a key; {nearest_key(dotted, valid)}")
        default = defaults[key]
        if isinstance(default, Mapping):
            if not isinstance(value, Mapping):
                raise SettingsError(f"{dotted} is a section of keys, given {value!r}")
            checked[key] = validate(value, default, f"{dotted}.", known)
        elif key in FIXED:
            if value != default:
                raise SettingsError(
                    f"{dotted}={value}: expected {default}, as in the choice's file"
                )
            checked[key] = value
        else:
            if not (key == "name" and prefix):
                check_value(dotted, value, default)
            checked[key] = cast(value, default)
    return checked


def same_last_part(key: str, known: Iterable[str]) -> list[str]:
    """Return the known keys with the last part of `key`, sorted: `train.lr` finds `optim.lr`."""
    last = key.rpartition(".")[2]
    return sorted(each for each in known if each.rpartition(".")[2] == last)


def nearest_key(key: str, known: Collection[str]) -> str:
    """Return a clause that names the keys that an unknown key may stand for.

    >>> nearest_key("train.lr", ["optim.lr", "train.dtype"])
    'did you mean optim.lr?'
    """
    same = same_last_part(key, known)
    if same:
        return f"did you mean {' or '.join(same)}?"
    clause = nearest(key, known)
    long = len(known) > MAX_KEYS and not clause.startswith("did")
    return "gradlab run --cfg job lists all keys" if long else clause


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the configuration with dotted keys; the key of a group has the choice as value."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        elif key == "name" and prefix:
            flat[prefix.rstrip(".")] = value
        elif key not in FIXED:
            flat[f"{prefix}{key}"] = value
    return flat


def cast(value: Any, default: Any) -> Any:
    """Return a whole number as a float unless the default is whole: 1 and 1.0 are the same."""
    if isinstance(default, list):
        kind: Any = next(iter(default), None)
        return [each if kind is None else cast(each, kind) for each in value]
    if isinstance(value, int) and not isinstance(value, bool) and not isinstance(default, int):
        return float(value)
    return value


@dataclass(frozen=True)
class Rule:
    """A condition on a value: in words, as a function, and with the largest value for messages."""

    expected: str
    holds: Callable[[Any], bool]
    most: float | None = None


LARGEST = 3.4028234663852886e38
"""The largest float32: larger numbers are infinite in a run."""
LARGEST_GAIN = sys.float_info.max
"""The largest float64: weights are drawn in float64, and a gain may make them overflow."""
LARGEST_WHOLE = 2**31 - 1
"""The largest int32, the type of the columns for steps and positions."""


def _is_number(value: Any, most: float = LARGEST) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value) <= most  # False for NaN


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST_WHOLE


def _whole(least: int) -> Rule:
    words = f"a whole number of at least {least}"
    return Rule(words, lambda v: _is_whole(v) and v >= least, LARGEST_WHOLE)


def _one_of(*valid: str) -> Rule:
    return Rule(f"one of {', '.join(valid)}", lambda v: v in valid)


def _or_null(rule: Rule) -> Rule:
    return Rule(f"{rule.expected}, or null", lambda v: v is None or rule.holds(v), rule.most)


def _is_override(value: Any) -> bool:
    return isinstance(value, str) and all("=" in part for part in value.split()) and value != ""


NAME = Rule("a name", lambda v: isinstance(v, str))
POSITIVE = Rule("a number above 0", lambda v: _is_number(v) and v > 0, LARGEST)
GAIN = Rule(POSITIVE.expected, lambda v: _is_number(v, LARGEST_GAIN) and v > 0, LARGEST_GAIN)
NOT_NEGATIVE = Rule("a number of at least 0", lambda v: _is_number(v) and v >= 0, LARGEST)
DECAY = Rule("a number from 0 to below 1", lambda v: _is_number(v) and 0 <= v < 1)
SHARE = Rule("a number between 0 and 1", lambda v: _is_number(v) and 0 < v < 1)

RULES = {
    "seed": Rule("a whole number from 0 to 2^31 - 1", lambda v: _is_whole(v) and 0 <= v < 2**31),
    "depth": _whole(0),
    "width": _whole(1),
    "kernel": _whole(1),
    "heads": _whole(1),
    "expansion": _whole(1),
    "per_step": _whole(0),
    "spectral_radius": _or_null(GAIN),
    "length": _whole(2),
    "delay": _whole(1),
    "symbols": _whole(2),
    "copied": _whole(1),
    "steps": _whole(1),
    "batch_size": _whole(1),
    "every": _whole(1),
    "dir": Rule("the name of a folder", lambda v: isinstance(v, str) and v != ""),
    "resume": Rule("true or false", lambda v: isinstance(v, bool)),
    "sample": _whole(0),
    "layer": _whole(1),
    "after": _whole(0),
    "weight": Rule("[from, to], or null", lambda v: v is None or isinstance(v, list | tuple)),
    "scheme": _one_of("two_sided", "one_sided"),
    "elements": _or_null(_whole(1)),
    "tolerance": POSITIVE,
    "init_gain": _or_null(GAIN),
    "norm_position": _one_of("before", "after"),
    "mode": _one_of("offline", "online"),
    "entity": _or_null(NAME),
    "tags": Rule("a list of names", lambda v: isinstance(v, list) and all(map(NAME.holds, v))),
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
    "cure.steps": _or_null(_whole(1)),
    "cure.dir": _or_null(Rule("the name of a folder", lambda v: isinstance(v, str) and v != "")),
    "cure.remedies": Rule(
        "a list of overrides in quotes, or null",
        lambda v: v is None or (isinstance(v, list) and v != [] and all(map(_is_override, v))),
    ),
    "seeds": _whole(1),
    "samples": Rule(
        "a whole number from 10 to 10 million", lambda v: _is_whole(v) and 10 <= v <= 10_000_000
    ),
    "test_fraction": SHARE,
    "decades": POSITIVE,
    "severe_decades": POSITIVE,
    "starved_decades": POSITIVE,
    "growth": POSITIVE,
    "dead": SHARE,
    "saturated": SHARE,
    "symmetric": SHARE,
    "zeros": SHARE,
    "rise": POSITIVE,
    "update": POSITIVE,
    "betas": Rule(
        "two numbers from 0 to below 1",
        lambda v: isinstance(v, list | tuple) and len(v) == 2 and all(map(DECAY.holds, v)),
    ),
}
"""Rules by dotted key, or by the last part of a key."""

TYPES: tuple[tuple[type, Rule], ...] = (
    (bool, Rule("true or false", lambda v: isinstance(v, bool))),
    (int, Rule("a whole number", _is_whole, LARGEST_WHOLE)),
    (float, Rule("a finite number", _is_number, LARGEST)),
    (str, NAME),
    (list, Rule("a list", lambda v: isinstance(v, list | tuple))),
)


def expected_value(key: str) -> str:
    """Return in words the values that `key` can have; empty if it has no rule."""
    rule = RULES.get(key, RULES.get(key.rsplit(".", 1)[-1]))
    return "" if rule is None else rule.expected


def check_value(key: str, value: Any, default: Any) -> None:
    """Raise SettingsError if a value breaks the rule of its key, or lacks the default's type.

    Args:
        key: the dotted key.
        value: the value.
        default: the default.
    """
    by_type = next((rule for kind, rule in TYPES if isinstance(default, kind)), None)
    rule = RULES.get(key, RULES.get(key.rsplit(".", 1)[-1], by_type))
    if rule is not None and not rule.holds(value):
        text = "null" if value is None else value
        hint = ""
        if rule.expected.startswith("one of ") and isinstance(value, str):
            close = nearest(value, rule.expected.removeprefix("one of ").split(", "))
            hint = f"; {close}" if close.startswith("did") else ""
        elif rule.most is not None and isinstance(value, int | float) and value > rule.most:
            hint = f", of at most {rule.most:.10g}"
        raise SettingsError(f"{key}={text}: expected {rule.expected}{hint}")
