"""Write the last steps of a training into a folder, and read them again.

The folder has two files: `black_box.json`, and `tensors.safetensors` with the tensors that the JSON
names. Neither contains code. Reading does not follow links, and a damaged file is one line.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from gradlab.black_box.random_states import from_tensors, to_tensors
from gradlab.black_box.step_memory import Recording, Snapshot, StoredCall, StoredStep
from gradlab.black_box.tensor_tree import TensorTable, decode
from gradlab.errors import StoreError, first_line
from gradlab.nonfinite.fault import Fault
from gradlab.pages.output_folder import new_folder
from gradlab.results.files import open_regular, read_json

JSON, TENSORS = "black_box.json", "tensors.safetensors"
FORMAT = 1


@dataclass(frozen=True)
class ReadRecording:
    """A recording that was read.

    Attributes:
        recording: The recording; a value that was not stored is `COMPUTED`.
        norms: The norm of the gradient of each step; None where it was not finite.
        left_out: A clause about each part that the size limit left out.
        not_stored: A clause about each value that could not be stored.
        threads: Number of torch's threads.
        versions: Versions of packages.
    """

    recording: Recording
    norms: dict[int, Tensor | None]
    left_out: list[str]
    not_stored: list[str]
    threads: int
    versions: dict[str, str]


def write_recording(folder: Path, recording: Recording, limit: int) -> None:
    """Write a recording; it replaces an earlier one in the folder.

    Args:
        folder: The folder.
        recording: The recording.
        limit: The most bytes of tensors. The weights come first, then the optimiser states, then
            the steps in order; a part that does not fit is left out.

    Raises:
        StoreError: The folder has files of other programs, or cannot be written.
    """
    table, left_out, used = TensorTable(), list[str](), 0

    def encode(value: Any, label: str) -> Any:
        nonlocal used
        known, notes = set(table.tensors), len(table.not_stored)
        written = table.encode(value, label)
        size = sum(x.nbytes for name, x in table.tensors.items() if name not in known)
        if used + size <= limit:
            used += size
            return written
        left_out.append(f"{label} ({size:,} bytes; limit={limit:,})")
        table.discard(known, notes)
        return None

    snapshot = recording.snapshot
    content: dict[str, Any] = {
        "format": FORMAT,
        "step": snapshot.step,
        "weights": encode(snapshot.weights, "the weights"),
        "rng": encode(to_tensors(snapshot.rng), "the random states"),
        "optimizers": encode(snapshot.optimizers, "the optimiser states"),
        "attributes": table.encode(snapshot.attributes, "the attributes of modules"),
        "steps": [encode(_step_as_dict(each), f"step {each.step}") for each in recording.steps],
        "fault": recording.fault.as_dict() if recording.fault else None,
        "error": recording.error,
        "left_out": left_out,
        "not_stored": table.not_stored,
        "threads": torch.get_num_threads(),
        "versions": {name: version(name) for name in ("torch", "numpy", "gradlab")},
    }
    text = json.dumps(content, ensure_ascii=False, allow_nan=False)
    tensors = {name: x.detach().cpu().contiguous().clone() for name, x in table.tensors.items()}
    with new_folder(folder) as new:
        (new / JSON).write_text(text + "\n", encoding="utf-8")
        safetensors.torch.save_file(tensors, new / TENSORS)


def _step_as_dict(step: StoredStep) -> dict[str, Any]:
    norms = step.norms
    return {
        "step": step.step,
        "calls": [
            {
                "name": call.name,
                "args": call.args,
                "kwargs": call.kwargs,
                "rng": None if call.rng is None else to_tensors(call.rng),
            }
            for call in step.calls
        ],
        "losses": step.losses,
        "norm": None if norms is None else joint_norm(norms),
        "settings": step.settings,
    }


def joint_norm(norms: Tensor) -> Tensor:
    """Return the norm of all gradients from the norms of each, a float64 scalar."""
    return torch.linalg.vector_norm(norms.detach().double())


def read_recording(folder: str | Path) -> ReadRecording:
    """Read the recording in a folder.

    Args:
        folder: The folder.

    Returns:
        The recording.

    Raises:
        StoreError: The folder has no recording, or a file is damaged or is a link.
    """
    folder = Path(folder)
    try:
        content = read_json(folder / JSON)
        with open_regular(folder / TENSORS) as file:
            tensors = safetensors.torch.load(file.read())
    except FileNotFoundError:
        raise StoreError(
            f"{folder} has no black box: expected {JSON} and {TENSORS}, which "
            "gradlab.watch(..., black_box=FOLDER) writes after a fault"
        ) from None
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise StoreError(f"{folder / TENSORS} is damaged: {first_line(error)}") from error
    try:
        return _read(content, tensors)
    except StoreError as error:
        raise StoreError(f"{folder / JSON}: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise StoreError(f"{folder / JSON} is damaged: {first_line(error)}") from error


def _read(content: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> ReadRecording:
    if content["format"] != FORMAT:
        raise StoreError(f"expected format {FORMAT}, but it is {content['format']!r:.20}")

    def read(key: str) -> Any:
        written = content[key]
        return {} if written is None else decode(written, tensors)

    steps = [decode(each, tensors) for each in content["steps"] if each is not None]
    snapshot = Snapshot(
        int(content["step"]),
        _checked(read("weights"), Tensor),
        _checked(read("attributes"), dict),
        list(read("optimizers")),
        from_tensors(read("rng")),
    )
    fault = content["fault"]
    recording = Recording(
        snapshot,
        [_step_of(each) for each in steps],
        None if fault is None else Fault.from_dict(fault),
        None if content["error"] is None else str(content["error"]),
    )
    return ReadRecording(
        recording,
        {int(each["step"]): each["norm"] for each in steps},
        [str(each) for each in content["left_out"]],
        [str(each) for each in content["not_stored"]],
        int(content["threads"]),
        {str(key): str(value) for key, value in content["versions"].items()},
    )


def _step_of(read: Mapping[str, Any]) -> StoredStep:
    calls = [
        StoredCall(
            str(call["name"]),
            tuple(call["args"]),
            _checked(call["kwargs"], object),
            None if call["rng"] is None else from_tensors(call["rng"]),
        )
        for call in _list(read["calls"])
    ]
    losses = [each for each in _list(read["losses"]) if isinstance(each, Tensor)]
    return StoredStep(int(read["step"]), calls, losses, settings=_checked(read["settings"], list))


def _list(value: Any) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        raise TypeError(f"expected a list, but it is {value!r:.40}")
    return value


def _checked(value: Any, kind: type) -> dict[Any, Any]:
    """Return a dictionary after a check of its values' class."""
    if not isinstance(value, dict) or not all(isinstance(each, kind) for each in value.values()):
        raise TypeError(f"expected an object of {kind.__name__}, but it is {value!r:.40}")
    return value
