"""The form fields in which clients send files: those of every student, and one for each further sensor that this student has."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Iterable
from keyword import iskeyword
from pathlib import Path
from typing import Annotated

from fastapi import File, Request, UploadFile

from ...modalities import FROM_VIDEO
from ...types import kind_of
from ..recordings import words_and_suffixes
from .uploads import RefusedError

SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,5}$")
UNCHECKED = ".mat"  # nobody knows what it holds unpacked before all of it is
TABLE_FIELDS = {"boxes": "detections", "imu": "imu", "skeleton": "skeleton", "hands": "hands", "depth": "depth"}
DESCRIPTIONS = {
    "detections": "CSV of boxes, with seconds", "imu": "CSV of an IMU, with seconds", "skeleton": ".npz of skeletons, with seconds",
    "hands": ".npz of hands, with seconds", "depth": ".npz of depth pictures, with seconds, or a film of 16-bit grey (.mkv, .mov)",
    **dict.fromkeys(FROM_VIDEO, "a recording of its own"),
}  # fmt: skip
WHOLE = "a recording: video, sound or both; none if there is only what follows"
Recording = dict[str, UploadFile]  # by field


def fields_of(modalities: Iterable[str]) -> dict[str, str]:
    """Modalities by the form field of their files: those of every student, and those of this one that no recording itself has."""
    known = {*TABLE_FIELDS.values(), *FROM_VIDEO}
    return TABLE_FIELDS | {name: name for name in modalities if name not in known}


def safe_suffix(name: str) -> str:
    """The suffix of a client's file name; nothing else of the name is ever used for a path."""
    found = SUFFIX.search(Path(name).name)
    return found.group().lower() if found else ".bin"


def sensor_suffix(modality: str, name: str) -> str:
    """The suffix under which a client's file of a modality is kept: what it says if it may be that, else what it should be."""
    suffix, allowed = safe_suffix(name), [suffix for suffix in words_and_suffixes(modality)[1] if suffix != UNCHECKED]
    return suffix if suffix in allowed else allowed[0]


def parameter_name(field: str, number: int) -> str:
    """A field's own name, which older versions of FastAPI describe, unless no parameter can be called that."""
    return field if field.isidentifier() and not iskeyword(field) and field != "request" else f"sent_{number}"


def recording_form(fields: dict[str, str]) -> Callable[..., Awaitable[Recording]]:
    """A dependency that takes a form's files by field. A field that nobody reads is refused: its sensor would be missing unsaid."""
    described = {"file": WHOLE} | {key: DESCRIPTIONS.get(kind_of(name), f"file of {name}") for key, name in fields.items()}

    async def recording(request: Request, **files: UploadFile | None) -> Recording:
        unknown = [key for key in await request.form() if key not in described]
        if unknown:
            raise RefusedError(422, f"unknown field {unknown[0]!r}; this student takes: {', '.join(described)}")
        return {key: file for key, name in names.items() if (file := files[name]) is not None}

    names = {key: parameter_name(key, number) for number, key in enumerate(described)}
    parameters = [inspect.Parameter("request", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Request)]
    for key, words in described.items():
        wanted = Annotated[UploadFile | None, File(alias=key, description=words)]
        parameters.append(inspect.Parameter(names[key], inspect.Parameter.KEYWORD_ONLY, default=None, annotation=wanted))
    recording.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return recording
