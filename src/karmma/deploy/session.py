"""A stream's state: buffers that sensors fill, health, and the windows that are cut out of both."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..media.containers import MediaError
from ..media.depth_pictures import millimetres_of, thinned
from ..media.live import LAZY_PIXELS, ArrayBuffer, Buffer, FrameBuffer, RowBuffer, SampleBuffer
from ..media.tables import SENSOR_COLUMNS
from ..media.video import DecodedFrame
from ..modalities import FROM_PICTURES, DoubtfulStreams, LiveReader, LiveRows
from ..modalities.audio import Audio
from ..modalities.hands import Hands
from ..modalities.joints import in_source_shape
from ..modalities.skeleton import Skeleton
from ..types import KINDS, VIDEO, KarmmaError, Prediction, kind_of
from .answers import prediction_row
from .health import ABSENT, DEGRADED, HealthConfig, HealthMonitor, make_monitors
from .recognition import UNMET, Recognition, Window

LIVE = tuple(kind for kind in KINDS if kind != "features")  # kinds of modalities that a stream can have
SPARE_SECONDS = 1.0  # kept beyond a window: readers look a little around it
HEALTH_SIZE = (128, 96)  # of the pictures that the camera's health is judged by


@dataclass(frozen=True)
class StreamConfig:
    """Windows of `window_seconds` every `hop_seconds`. `monitor` lets health decide presence; else data that came is present.

    `use_degraded` keeps a sensor that delivers poor data. One that was absent counts again once it has been there for
    `clean_share` of a window: before that most of the window is what it delivered while it was ill. `late_windows` is how
    many hops the recogniser may lag behind before windows are dropped.

    Extractors see a whole window, so tokens belong to it. With `token_hop_seconds` longer than the hop each extractor runs
    only so often, sensors taking turns, and windows in between use its last tokens, which are then up to that much older.
    """

    window_seconds: float = 2.0
    hop_seconds: float = 0.5
    monitor: bool = True
    use_degraded: bool = False
    clean_share: float = 0.5
    late_windows: int = 1
    token_hop_seconds: float | None = None
    health: HealthConfig = field(default_factory=HealthConfig)

    def __post_init__(self) -> None:
        if self.window_seconds <= 0 or self.hop_seconds <= 0:
            raise KarmmaError(f"window and hop must be longer than 0 seconds, not {self.window_seconds} and {self.hop_seconds}")
        if self.token_hop_seconds is not None and not self.hop_seconds <= self.token_hop_seconds <= self.window_seconds:
            raise KarmmaError(
                f"token hop: {self.token_hop_seconds} s does not lie between the hop of {self.hop_seconds} s "
                f"and the window of {self.window_seconds} s"
            )

    @property
    def shares_tokens(self) -> bool:
        """Whether some windows use tokens of earlier ones."""
        return self.token_hop_seconds is not None and self.token_hop_seconds > self.hop_seconds


@dataclass(frozen=True)
class KeptTokens:
    """The last tokens `(tokens, width)` of a modality, of the window that ended at `stop_seconds`, and which turn that was."""

    turn: int
    stop_seconds: float
    tokens: NDArray[np.float32]


@dataclass(frozen=True)
class StreamEvent:
    """The answer for one window, or None where no sensor was there; milliseconds.

    `health`: what each sensor was judged to be; `reasons`: what the data of those that are not well looks like now.
    """

    start_seconds: float
    stop_seconds: float
    prediction: Prediction | None
    health: dict[str, str]
    reasons: dict[str, str] = field(default_factory=dict)
    latency_ms: float = 0.0

    def row(self, top: int = 5) -> dict[str, Any]:
        """As JSON."""
        nothing = Prediction({}, (), self.start_seconds, self.stop_seconds)
        row = prediction_row(self.prediction or nothing, top)
        return {**row, "health": self.health, "reasons": self.reasons, "latency_ms": round(self.latency_ms, 2)}


def sensor_of(modality: str) -> str:
    """Which sensor a modality is read from; those of other packages are their own."""
    kind = kind_of(modality)
    return modality.removesuffix(kind) + VIDEO if kind in FROM_PICTURES else modality


def live_columns(recognition: Recognition) -> dict[str, tuple[str, ...]]:
    """Of sensors of other packages, what stands in a row behind `seconds`."""
    others = {name: modality for name, modality in recognition.modalities_by_name.items() if kind_of(name) not in LIVE}
    return {name: modality.live_columns for name, modality in others.items() if isinstance(modality, LiveRows)}


def pose_of(sensor: str, values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Joints that come one after another, or number after number, in their shape, without the confidence behind their places.

    A hand that has no numbers at all is one that is not in view.
    """
    found = in_source_shape(values[None], shape)
    values = values if found is None else found[0, ..., : shape[-1]]
    if kind_of(sensor) == "hands" and values.shape == shape:
        values = np.where(np.isfinite(values).any((1, 2), keepdims=True), values, 0)
    return values


def pose_shapes(recognition: Recognition) -> dict[str, tuple[int, ...]]:
    """By sensor, the joints that a tracker of a student's delivers at once."""
    modalities = recognition.modalities_by_name.items()
    return {name: modality.source_shape for name, modality in modalities if isinstance(modality, Skeleton | Hands)}


class StreamSession:
    """Buffers for a student's sensors. Sensors push from their own threads; one thread asks for windows.

    Decoding, resizing and flow between two frames are done once, however many windows share them; a window asked for again
    (with other sensors switched off, say) is not prepared again.
    """

    def __init__(self, recognition: Recognition, config: StreamConfig) -> None:
        self.recognition, self.config = recognition, config
        self.modalities = tuple(name for name in recognition.modalities if self.is_live(name))
        if not self.modalities:
            raise KarmmaError(f"none of {', '.join(recognition.modalities)} can be read from live sensors yet")
        self.sensors = tuple(dict.fromkeys(sensor_of(name) for name in self.modalities))
        self.buffers = {sensor: self.make_buffer(sensor) for sensor in self.sensors}
        self.monitors: dict[str, HealthMonitor] = make_monitors(self.buffers, config.health)
        self.now = 0.0
        self.kept_inputs: tuple[tuple[float, float], dict[str, NDArray[np.float32]]] = ((0.0, 0.0), {})
        self.kept_tokens: dict[str, KeptTokens] = {}
        self.refused: dict[str, str] = {}  # by sensor, what of the window that is being made could not be read

    def is_live(self, name: str) -> bool:
        return isinstance(self.recognition.modalities_by_name[name], LiveReader if kind_of(name) in LIVE else LiveRows)

    def make_buffer(self, sensor: str) -> Buffer:
        horizon, by_name = self.config.window_seconds + SPARE_SECONDS, self.recognition.modalities_by_name
        kind = kind_of(sensor)
        if kind == VIDEO:
            sizes = [by_name[name].stored_size[::-1] for name in self.modalities if sensor_of(name) == sensor]  # type: ignore[attr-defined]
            return FrameBuffer(horizon, [*dict.fromkeys([HEALTH_SIZE, *sizes])])
        if kind == "audio":
            audio = by_name[sensor]
            assert isinstance(audio, Audio)
            return SampleBuffer(max(horizon, audio.seconds + SPARE_SECONDS), audio.sample_rate_hz)
        if kind in SENSOR_COLUMNS:
            return RowBuffer(horizon, SENSOR_COLUMNS[kind])
        if kind not in LIVE:
            return RowBuffer(horizon, live_columns(self.recognition)[sensor], gaps=True)
        shape = pose_shapes(self.recognition).get(sensor)
        return ArrayBuffer(horizon, shape, gaps=shape is not None)

    def push(self, sensor: str, seconds: float, sample: Any) -> None:
        """What a sensor delivered: a frame for `video`, mono samples at the student's rate for `audio`, a row for `imu` and
        `detections`, joints `(joints, 3)` for `skeleton` and `(2, joints, 3)` for `hands` as their trackers have them, with or without
        a confidence, hands that are not in view as zeros or without numbers; for `depth` a frame of 16-bit grey, or a picture
        of millimetres in whole numbers or metres in floats."""
        buffer = self.buffers[sensor]
        if kind_of(sensor) == "depth":
            picture = sample.grey16() if isinstance(sample, DecodedFrame) else np.asarray(sample)
            sample = thinned(millimetres_of(picture))
        if isinstance(buffer, FrameBuffer):
            pixels = sample.frame.width * sample.frame.height if isinstance(sample, DecodedFrame) else LAZY_PIXELS + 1
            buffer.push(seconds, sample, pixels)
        elif isinstance(buffer, ArrayBuffer):
            buffer.push(seconds, np.asarray(sample) if buffer.shape is None else pose_of(sensor, np.asarray(sample), buffer.shape))
        elif isinstance(buffer, SampleBuffer | RowBuffer):
            buffer.push(seconds, sample)

    def health_at(self, seconds: float) -> dict[str, str]:
        """What each sensor is judged to be at a moment; to be asked in order of time."""
        self.now = seconds
        return {sensor: monitor.judge(seconds) for sensor, monitor in self.monitors.items()}

    def believed(self, modality: str, health: dict[str, str]) -> bool:
        """Whether a modality counts as present, health permitting."""
        if not self.config.monitor:
            return True
        state = health[sensor_of(modality)]
        if state == ABSENT or (state == DEGRADED and not self.config.use_degraded):
            return False
        return self.clean_until(modality, self.now)

    def clean_until(self, modality: str, stop_seconds: float) -> bool:
        """Whether a modality's sensor was usable for enough of the window that ended at `stop_seconds`."""
        usable = stop_seconds - self.monitors[sensor_of(modality)].usable_since
        return usable >= self.config.clean_share * self.config.window_seconds - 1e-9

    def inputs(self, start_seconds: float, stop_seconds: float, wanted: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Model inputs of the wanted modalities that delivered anything; a window's are prepared once."""
        span = (start_seconds, stop_seconds)
        if self.kept_inputs[0] != span:
            self.kept_inputs = (span, {})
        kept = self.kept_inputs[1]
        for name in wanted:
            if name in kept:
                continue
            modality = self.recognition.modalities_by_name[name]
            assert isinstance(modality, LiveReader)
            try:
                stored = modality.read_live(self.buffers[sensor_of(name)], start_seconds, stop_seconds)
            except MediaError as error:  # the others go on
                self.refused[sensor_of(name)] = str(error)
                continue
            if stored is not None:
                kept[name] = self.recognition.prepare(name, stored)
        return {name: kept[name] for name in wanted if name in kept}

    def tokens(self, start_seconds: float, stop_seconds: float, wanted: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Extractor tokens of the wanted modalities: those of this window where it is their turn, else the last ones."""
        for name in wanted:
            turn, kept = self.turn(name, stop_seconds), self.kept_tokens.get(name)
            if kept is not None and kept.turn == turn and (not self.config.monitor or self.clean_until(name, kept.stop_seconds)):
                continue
            inputs = self.inputs(start_seconds, stop_seconds, [name])
            if name in inputs:
                encoded = self.recognition.encode(name, inputs[name][None])[0]
                self.kept_tokens[name] = KeptTokens(turn, stop_seconds, encoded)
            else:
                self.kept_tokens.pop(name, None)
        return {name: self.kept_tokens[name].tokens for name in wanted if name in self.kept_tokens}

    def turn(self, modality: str, stop_seconds: float) -> int:
        """Which turn of a modality's extractor a window falls in; modalities' turns begin at different windows."""
        token_hop = self.config.token_hop_seconds or self.config.hop_seconds
        place = self.modalities.index(modality) * self.config.hop_seconds
        return math.floor((stop_seconds - place) / token_hop + 1e-6)

    def window(
        self, stop_seconds: float, present: Callable[[str, dict[str, str]], bool] | None = None
    ) -> tuple[Window, dict[str, str]]:
        """The window that ends at `stop_seconds` (encoded if tokens are shared) and each sensor's health.

        `present` overrules who counts as present.
        """
        start = stop_seconds - self.config.window_seconds
        health = self.health_at(stop_seconds)
        believed = present or self.believed
        wanted = [name for name in self.modalities if believed(name, health)]
        shares = self.config.shares_tokens
        inputs = (self.tokens if shares else self.inputs)(start, stop_seconds, wanted)
        doubts = {name: words for name in inputs if (words := self.doubt(name))}
        return Window(inputs, "stream", start, stop_seconds, encoded=shares, doubted=doubts), health

    def doubt(self, name: str) -> str:
        """What speaks against what a modality's sensor delivers, although it looks well."""
        if self.recognition.is_unmet(name):
            return UNMET
        sensor, modality = sensor_of(name), self.recognition.modalities_by_name[name]
        if isinstance(modality, DoubtfulStreams):
            return modality.doubt_live(self.buffers[sensor])
        return self.monitors[sensor].doubted

    def answer(self, stop_seconds: float) -> StreamEvent:
        """Recognise the window that ends at `stop_seconds`."""
        self.refused = {}
        window, health = self.window(stop_seconds)
        prediction = self.recognition.predict_windows([window])[0] if window.inputs else None
        reasons = {sensor: monitor.reason for sensor, monitor in self.monitors.items() if monitor.reason}
        return StreamEvent(window.start_seconds, stop_seconds, prediction, health, reasons | self.refused)
