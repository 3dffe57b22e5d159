"""The HTTP application: uploads in, predictions out; health, readiness, metrics; a page."""

from __future__ import annotations

import asyncio
import logging
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import prometheus_client
from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ...types import KarmmaError, Prediction, subset_name, subsets_of
from ..answers import prediction_row
from ..recognition import Recognition, Window
from ..recordings import MEDIA_SUFFIXES
from .batching import Batcher
from .fields import Recording, fields_of, recording_form, safe_suffix, sensor_suffix
from .pictures import describe_inputs
from .uploads import RefusedError, ServiceLimits, read_tensors, read_windows

LOG = logging.getLogger("karmma.serve")
MOST_SUBSETS_MODALITIES = 5  # with more sensors than that the page asks for each subset when it is chosen
WindowSeconds = Annotated[float | None, Query(gt=0, le=60, description="length of windows; default: as training clips, at least 2 s")]
HopSeconds = Annotated[float | None, Query(gt=0, le=60, description="from one window to the next; default: no overlap")]
Only = Annotated[str | None, Query(description="use only these modalities, e.g. rgb+audio")]


class Metrics:
    """Prometheus metrics of one application."""

    def __init__(self) -> None:
        self.registry = prometheus_client.CollectorRegistry()
        options = {"registry": self.registry}
        self.requests = prometheus_client.Counter("karmma_requests", "requests by path and status", ["path", "status"], **options)  # type: ignore[arg-type]
        self.seconds = prometheus_client.Histogram("karmma_request_seconds", "time of requests", ["path"], **options)  # type: ignore[arg-type]
        self.batch = prometheus_client.Histogram(
            "karmma_batch_windows", "windows recognised together", buckets=(1, 2, 4, 8, 16, 32, 64), **options  # type: ignore[arg-type]
        )
        self.model_seconds = prometheus_client.Counter("karmma_model_seconds", "time spent in the model", **options)  # type: ignore[arg-type]
        self.inside = prometheus_client.Gauge("karmma_requests_inside", "requests in the house", **options)  # type: ignore[arg-type]

    def batched(self, windows: int, seconds: float) -> None:
        self.batch.observe(windows)
        self.model_seconds.inc(seconds)


@dataclass
class Service:
    """A student behind HTTP: admission, decoding slots, the batcher."""

    recognition: Recognition
    limits: ServiceLimits
    examples: dict[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.metrics, self.fields = Metrics(), fields_of(self.recognition.modalities)
        self.batcher = Batcher(self.recognition, self.limits.batch_size, on_batch=self.metrics.batched)
        self.slots = asyncio.Semaphore(self.limits.decoding)
        self.inside, self.ready = 0, False

    @asynccontextmanager
    async def admitted(self) -> AsyncIterator[None]:
        """A place in the house. Raises RefusedError 503 when it is full."""
        if self.inside >= self.limits.waiting:
            raise RefusedError(503, "too many requests at once; try again in a moment")
        self.inside += 1
        self.metrics.inside.set(self.inside)
        try:
            yield
        finally:
            self.inside -= 1
            self.metrics.inside.set(self.inside)

    async def predict(self, windows: Sequence[Window], only: tuple[str, ...] | None) -> list[Prediction]:
        """Predictions of windows, in batches shared with other requests."""
        size = self.limits.batch_size
        pieces = [windows[first : first + size] for first in range(0, len(windows), size)]
        answers = await asyncio.gather(*[asyncio.wrap_future(self.batcher.submit(piece, only)) for piece in pieces])
        return [prediction for answer in answers for prediction in answer]

    async def windows_of(self, upload: Recording, spans: tuple[float, float]) -> list[Window]:
        """Windows of an upload, decoded in a thread when a slot is free; nothing stays on disk."""
        deadline = time.monotonic() + self.limits.request_seconds
        if not upload:
            raise RefusedError(422, f"nothing to recognise: send file, or {', '.join(self.fields)}")
        with tempfile.TemporaryDirectory(prefix="karmma-upload-") as directory:
            path, sources, told = await save_upload(upload, self.fields, Path(directory))
            name = told[path] if path is not None else "the recording"
            async with self.slots:
                try:
                    windows = await run_in_threadpool(
                        read_windows, self.recognition, path, sources, spans, self.limits, deadline, Path(directory)
                    )
                except RefusedError as error:
                    raise RefusedError(error.status, hidden(str(error), told)) from error
                except KarmmaError as error:
                    raise RefusedError(422, hidden(str(error), told)) from error
                except (ArithmeticError, ValueError, MemoryError, IndexError) as error:
                    LOG.warning("an upload could not be read", exc_info=True)
                    raise RefusedError(422, f"{name}: cannot be read: {type(error).__name__}") from error
        return [
            replace(
                window, unreadable={key: hidden(words, told) for key, words in window.unreadable.items()},
                doubted={key: hidden(words, told) for key, words in window.doubted.items()},
            )
            for window in windows
        ]

    def spans_of(self, window_seconds: float | None, hop_seconds: float | None) -> tuple[float, float]:
        """Length of windows and from one to the next."""
        window = window_seconds or self.recognition.window_seconds
        return window, hop_seconds or window

    def only_of(self, text: str | None) -> tuple[str, ...] | None:
        names = None if text is None else tuple(text.replace(" ", "+").split("+"))
        for name in names or ():
            if name not in self.recognition.modalities:
                raise RefusedError(422, f"unknown modality {name!r}; this student has: {', '.join(self.recognition.modalities)}")
        return names


async def save_upload(
    upload: Recording, fields: Mapping[str, str], directory: Path
) -> tuple[Path | None, dict[str, Path], dict[Path, str]]:
    """Where a request's files lie: its recording, the others by modality, and how the client calls each of them."""
    path, sources, told = None, {}, {}
    for key, file in upload.items():
        name = file.filename or ""
        if key == "file":
            place = path = directory / f"recording{safe_suffix(name)}"
            told[place] = Path(name).name or "the file"
        else:
            modality = fields[key]
            place = sources[modality] = directory / f"{modality}{sensor_suffix(modality, name)}"
            told[place] = modality
        await run_in_threadpool(place.write_bytes, await file.read())
    return path, sources, told


def hidden(words: str, told: Mapping[Path, str]) -> str:
    """An error's words without this machine's paths."""
    for path, name in told.items():
        words = words.replace(str(path), name).replace(path.name, name)
    return words


class BodyLimit:
    """Cuts off requests whose body is longer than allowed, whether they announce it or not."""

    def __init__(self, app: ASGIApp, most_bytes: int) -> None:
        self.app, self.most_bytes = app, most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        words = f"the request is larger than {self.most_bytes / 1e6:g} MB"
        if announced.isdigit() and int(announced) > self.most_bytes:
            await JSONResponse({"error": words}, 413)(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self.most_bytes:
                raise RefusedError(413, words)
            return message

        await self.app(scope, counted, send)


class Measured:
    """Counts and times every request by the path of its route."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def noted(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self.app(scope, receive, noted)
        finally:
            path = getattr(scope.get("route"), "path", "other")
            self.metrics.requests.labels(path, status).inc()
            self.metrics.seconds.labels(path).observe(time.perf_counter() - started)


def make_app(recognition: Recognition, limits: ServiceLimits | None = None, examples: Path | None = None) -> FastAPI:
    """The application; `examples` is a directory of recordings that the page offers."""
    found = sorted(examples.iterdir()) if examples is not None else []
    service = Service(
        recognition, limits or ServiceLimits(), {path.name: path for path in found if path.suffix.lower() in MEDIA_SUFFIXES}
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.ready = True
        yield
        service.ready = False
        service.batcher.close()

    app = FastAPI(title="karmma", description="Action recognition from whatever sensors are there.", lifespan=lifespan,
                  docs_url=None, redoc_url=None)  # fmt: skip
    app.state.service = service
    add_errors(app)
    add_status(app, service)
    add_predictions(app, service)
    add_page(app, service)
    app.add_middleware(Measured, metrics=service.metrics)
    app.add_middleware(BodyLimit, most_bytes=int(service.limits.megabytes * 1e6))
    return app


def refusal(description: str) -> dict[str, Any]:
    """A refusal as the API's own description has it."""
    sentence = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
    return {"description": description, "content": {"application/json": {"schema": sentence}}}


REFUSALS: dict[int | str, dict[str, Any]] = {
    status: refusal(words)
    for status, words in {
        400: "nothing that could be read at all", 413: "more than this service takes",
        422: "nothing to recognise in it, or a parameter that cannot be", 503: "too many requests are waiting; try again",
    }.items()
}  # fmt: skip
TENSORS_BODY = {
    "requestBody": {"required": True, "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
}


def add_errors(app: FastAPI) -> None:
    """One clear sentence for every refusal."""

    @app.exception_handler(RefusedError)
    async def refused(request: Request, error: RefusedError) -> JSONResponse:
        headers = {"Retry-After": "1"} if error.status == 503 else {}
        return JSONResponse({"error": str(error)}, error.status, headers)

    @app.exception_handler(KarmmaError)
    async def unusable(request: Request, error: KarmmaError) -> JSONResponse:
        return JSONResponse({"error": str(error)}, 422)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"][1:])
        return JSONResponse({"error": f"{place or 'request'}: {first['msg']}"}, 422)

    @app.exception_handler(HTTPException)
    async def stopped(request: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"error": str(error.detail)}, error.status_code)


def add_status(app: FastAPI, service: Service) -> None:
    @app.get("/healthz", response_class=PlainTextResponse)
    async def healthz() -> str:
        """The process lives."""
        return "ok"

    @app.get("/readyz", response_class=PlainTextResponse, responses={503: {"description": "no room for a request"}})
    async def readyz() -> Response:
        """The model is loaded and there is room for a request."""
        ready = service.ready and service.inside < service.limits.waiting
        return PlainTextResponse("ready" if ready else "busy", 200 if ready else 503)

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Prometheus."""
        return Response(prometheus_client.generate_latest(service.metrics.registry), media_type=prometheus_client.CONTENT_TYPE_LATEST)

    @app.get("/v1/model")
    async def model() -> dict[str, Any]:
        """Modalities with the shapes that /v1/tensors takes, and by the form field of their files; classes, limits, window length."""
        recognition = service.recognition
        specs = {name: {"shape": spec.input_shape, "layout": spec.layout} for name, spec in recognition.specs.items()}
        return {"modalities": specs, "fields": service.fields, "labels": recognition.labels.names, "limits": asdict(service.limits),
                "window_seconds": recognition.window_seconds}  # fmt: skip


def add_predictions(app: FastAPI, service: Service) -> None:
    form = Depends(recording_form(service.fields))

    @app.post("/v1/predict", responses=REFUSALS)
    async def predict(
        upload: Recording = form, window_seconds: WindowSeconds = None, hop_seconds: HopSeconds = None, only: Only = None
    ) -> dict[str, Any]:
        """Actions over a recording, window by window."""
        names = service.only_of(only)
        async with service.admitted():
            windows = await service.windows_of(upload, service.spans_of(window_seconds, hop_seconds))
            usable = [window for window in windows if names is None or any(name in window.inputs for name in names)]
            if not usable:
                raise RefusedError(422, f"none of the modalities {', '.join(names or ())} is in the recording")
            predictions = await service.predict(usable, names)
        return {"predictions": [prediction_row(prediction, 5) for prediction in predictions]}

    @app.post("/v1/tensors", responses=REFUSALS, openapi_extra=TENSORS_BODY)
    async def tensors(request: Request, only: Only = None) -> dict[str, Any]:
        """Actions of model inputs in a safetensors body (application/octet-stream): one tensor per modality."""
        names = service.only_of(only)
        async with service.admitted():
            windows = await run_in_threadpool(read_tensors, service.recognition, await request.body())
            predictions = await service.predict(windows, names)
        return {"predictions": [prediction_row(prediction, 5) for prediction in predictions]}

    @app.post("/v1/look", responses=REFUSALS)
    async def look(
        upload: Recording = form, window_seconds: WindowSeconds = None, hop_seconds: HopSeconds = None,
        at_seconds: Annotated[float, Query(allow_inf_nan=False, description="the window nearest to this is shown in full")] = 0.0,
    ) -> dict[str, Any]:  # fmt: skip
        """What the page shows: a window's pictures, its predictions under every subset of sensors, the timeline of all."""
        async with service.admitted():
            windows = await service.windows_of(upload, service.spans_of(window_seconds, hop_seconds))
            timeline = await service.predict(windows, None)
            shown = min(windows, key=lambda window: abs(window.start_seconds - at_seconds))
            there = tuple(name for name in service.recognition.modalities if name in shown.inputs)
            subsets = subsets_of(there) if len(there) <= MOST_SUBSETS_MODALITIES else [there, *[(name,) for name in there]]
            answers = await asyncio.wrap_future(service.batcher.submit_subsets(shown, subsets))
            drawn = await run_in_threadpool(describe_inputs, service.recognition, shown)
        return {
            "start_seconds": shown.start_seconds, "stop_seconds": shown.stop_seconds, "modalities": there,
            "unreadable": shown.unreadable, "doubted": shown.doubted, "inputs": drawn,
            "subsets": {subset_name(subset): prediction_row(answer, 5) for subset, answer in zip(subsets, answers, strict=True)},
            "timeline": [prediction_row(prediction, 1) for prediction in timeline],
        }  # fmt: skip


def add_page(app: FastAPI, service: Service) -> None:
    page = resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8")

    @app.get("/", response_class=HTMLResponse)
    async def index() -> str:
        """The web page."""
        return page

    @app.get("/v1/examples")
    async def examples() -> list[str]:
        """Recordings that the page offers."""
        return list(service.examples)

    @app.get("/v1/examples/{name}", responses={404: refusal("no example of that name")})
    async def example(name: str) -> FileResponse:
        """One of them."""
        if name not in service.examples:
            raise RefusedError(404, f"no example {name!r}")
        return FileResponse(service.examples[name])
