"""The schema of `run.json`: the type of each entry, checked by pydantic."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gradlab import schema
from gradlab.config.ranges import RULES

GROUPS = (
    "model",
    "model.activation",
    "model.init",
    "model.norm",
    "data",
    "loss",
    "optim",
    "clip",
    "diagnose",
)
"""Keys of the configuration whose value is the name of a choice."""
Whole = Annotated[int, Field(ge=0, lt=2**64)]


class _Entries(BaseModel):
    """Entries of a JSON object. Other entries may follow; values are not converted."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)


class FindingEntries(_Entries):
    """A finding, as in `diagnosis.finding.Finding`."""

    kind: Literal[schema.KINDS]  # pyright: ignore[reportInvalidTypeForm]
    where: list[Whole]
    since: Whole
    severity: Literal["note", "mild", "severe"]
    cause: str
    evidence: dict[str, float]
    remedies: list[str]
    confidence: float | None = None
    axis: Literal[schema.AXES] = "depth"  # pyright: ignore[reportInvalidTypeForm]
    cause_of: list[str] = []


class NonfiniteEntries(_Entries):
    """The first value that is not finite."""

    where: str
    step: Whole
    module: str | None = None


class DataEntries(_Entries):
    """The sizes of the data."""

    inputs: Whole | None = None
    outputs: Whole | None = None
    input_rms: float | None = None


class TestEntries(_Entries):
    """Loss and accuracy on held-out samples."""

    loss: float | None = None
    accuracy: float | None = None


class TimingEntries(_Entries):
    """Start as text in ISO 8601, and duration in seconds."""

    started: str | None = None
    seconds: float | None = None


class RunEntries(_Entries):
    """The content of `run.json`."""

    # attributes: one for each entry of the file.

    status: Literal[schema.STATUSES]  # pyright: ignore[reportInvalidTypeForm]
    verdict: Literal[schema.VERDICTS] | None = None  # pyright: ignore[reportInvalidTypeForm]
    learning: Literal[schema.LEARNING] | None = None  # pyright: ignore[reportInvalidTypeForm]
    findings: list[FindingEntries]
    config: dict[str, Any]
    config_hash: str | None = None
    seed: Whole | None = None
    data: DataEntries | None = None
    test: TestEntries | None = None
    error: str | None = None
    first_nonfinite: NonfiniteEntries | None = None
    nonfinite: dict[str, Any] | None = None
    watched: bool | None = None
    versions: dict[str, str] | None = None
    timings: TimingEntries | None = None
    slope: float | None = None
    steps: Whole | None = None


def wrong_info(info: Any) -> str | None:
    """Check the content of a `run.json` for the keys and types that other code relies on.

    Args:
        info: Content of a `run.json` of this schema.

    Returns:
        A text with the expected and the actual value; None if the content is valid.
    """
    try:
        entries = RunEntries.model_validate(info)
    except ValidationError as errors:
        error = errors.errors(include_url=False)[0]
        key = ".".join(map(str, error["loc"])) or "the content"
        if error["type"] == "missing":
            return f"{key} is missing"
        expected = error["msg"].replace("Input should be ", "").replace("'", "")
        expected = expected.split(" or instance of")[0].removesuffix(" instance")
        return f"expected {key} to be {expected}, but it is {error['input']!r:.40}"
    return None if entries.watched else _wrong_config(entries.config)


def _wrong_config(config: Mapping[str, Any]) -> str | None:
    """Check the configuration of `gradlab run`, whose keys have rules."""
    for key, value in config.items():
        rule = RULES.get(key, RULES.get(key.rpartition(".")[2]))
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if key in GROUPS and not isinstance(value, str):
            expected = "a name"
        elif key not in GROUPS and rule is not None and not rule.holds(value):
            expected = rule.expected
        elif key.startswith("diagnose.") and not number:
            expected = "a number"
        else:
            continue
        return f"expected {key} of config to be {expected}, but it is {value!r:.40}"
    return None
