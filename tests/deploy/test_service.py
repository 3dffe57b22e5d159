"""The service: answers, refusals in one sentence, nothing left on disk, load beyond its limits."""

from __future__ import annotations

import io
import tempfile
import threading
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from safetensors.numpy import save as save_tensors

import karmma
from karmma.deploy.recognition import Window
from karmma.deploy.service.app import make_app
from karmma.deploy.service.batching import Batcher
from karmma.deploy.service.uploads import ServiceLimits
from karmma.media import tables
from karmma.media.write import VideoWriter

from .conftest import save_student

VIDEO = "videos/P02/P02_01.MP4"
LIMITS = ServiceLimits(megabytes=4, seconds=20, megapixels=0.5, windows=40, waiting=3)


@pytest.fixture(scope="module")
def client(student: karmma.Recognizer, kitchen_root: Path) -> Iterator[TestClient]:
    with TestClient(make_app(student, LIMITS, kitchen_root / "videos" / "P02")) as client:
        yield client


def upload(client: TestClient, content: bytes, path: str = "/v1/predict", name: str = "a.mp4", **query: Any) -> Any:
    return client.post(path, files={"file": (name, content)}, params=query)


def test_a_recording_is_answered_as_on_the_command_line(
    client: TestClient, student: karmma.Recognizer, kitchen_root: Path
) -> None:
    answer = upload(client, (kitchen_root / VIDEO).read_bytes(), window_seconds=3, hop_seconds=2)
    assert answer.status_code == 200
    rows = answer.json()["predictions"]
    expected = list(student.predict_file(kitchen_root / VIDEO, window_seconds=3.0, hop_seconds=2.0))
    assert [row["start_seconds"] for row in rows] == [prediction.start_seconds for prediction in expected]
    assert [next(iter(row["action"])) for row in rows] == [prediction.top("action").name for prediction in expected]
    assert rows[0]["modalities"] == ["rgb", "audio"]
    only = upload(client, (kitchen_root / VIDEO).read_bytes(), only="audio").json()["predictions"]
    assert only[0]["modalities"] == ["audio"]


def test_further_sensors_are_uploaded_beside_the_video(client: TestClient, kitchen_root: Path) -> None:
    imu = (kitchen_root / "imu/P02/P02_01.csv").read_bytes()
    files = {"file": ("a.mp4", (kitchen_root / VIDEO).read_bytes()), "imu": ("b.csv", imu)}
    assert client.post("/v1/predict", files=files).json()["predictions"][1]["modalities"] == ["rgb", "audio", "imu"]
    assert not [key for key in tables.KEPT.kept if "karmma-upload-" in key[0][0]]


def test_a_sensor_that_cannot_be_read_is_named_and_the_others_answer(client: TestClient, kitchen_root: Path) -> None:
    files = {"file": ("a.mp4", (kitchen_root / VIDEO).read_bytes()), "imu": ("b.csv", b"seconds,accel_x\n0.1,2\n")}
    answer = client.post("/v1/predict", files=files).json()["predictions"][0]
    assert answer["modalities"] == ["rgb", "audio"]
    assert answer["unreadable"] == {"imu": "imu: no column 'accel_y'; found: seconds, accel_x"}
    look = client.post("/v1/look", files=files).json()
    assert look["unreadable"] == answer["unreadable"] and look["modalities"] == ["rgb", "audio"]


def test_the_page_gets_pictures_and_every_subset(client: TestClient, kitchen_root: Path) -> None:
    look = upload(client, (kitchen_root / VIDEO).read_bytes(), "/v1/look", at_seconds=4).json()
    assert set(look["subsets"]) == {"rgb+audio", "rgb", "audio"} and look["start_seconds"] == 4
    assert look["inputs"]["rgb"]["frames"][0].startswith("data:image/jpeg;base64,") and look["inputs"]["audio"]["spectrogram"]
    assert len(look["timeline"]) == 7
    assert client.get("/v1/examples").json() == ["P02_01.MP4"]
    assert client.get("/v1/examples/P02_01.MP4").content == (kitchen_root / VIDEO).read_bytes()
    page = client.get("/").text
    assert "http://" not in page and "https://" not in page and "src=\"//" not in page


def test_tensors_are_answered_in_batches(client: TestClient, student: karmma.Recognizer) -> None:
    random = np.random.default_rng(0)
    clips = {name: random.normal(size=(3, *spec.input_shape)).astype(np.float32) for name, spec in student.specs.items()}
    answer = client.post("/v1/tensors", content=save_tensors(clips))
    assert answer.status_code == 200 and len(answer.json()["predictions"]) == 3
    alone = student.predict({name: values[1] for name, values in clips.items()})
    assert next(iter(answer.json()["predictions"][1]["verb"])) == alone.top("verb").name


def test_status_metrics_and_description(client: TestClient) -> None:
    assert client.get("/healthz").text == "ok" and client.get("/readyz").status_code == 200
    assert set(client.get("/v1/model").json()["modalities"]) == {"rgb", "audio", "imu"}
    assert 'karmma_requests_total{path="/v1/model",status="200"}' in client.get("/metrics").text
    described = client.get("/openapi.json").json()["paths"]
    assert {"/v1/predict", "/v1/tensors", "/v1/look", "/healthz", "/readyz", "/metrics"} <= set(described)
    for path in ("/v1/predict", "/v1/tensors", "/v1/look"):
        responses = described[path]["post"]["responses"]
        assert {"200", "400", "413", "422", "503"} == set(responses)
        sentences = [responses[status]["content"]["application/json"]["schema"] for status in ("400", "413", "422", "503")]
        assert all(list(schema["properties"]) == ["error"] for schema in sentences)
    assert list(described["/v1/tensors"]["post"]["requestBody"]["content"]) == ["application/octet-stream"]


def film(path: Path, width: int, height: int, frames: int) -> bytes:
    with VideoWriter(path, width, height, 10.0) as writer:
        for index in range(frames):
            writer.write_frame(np.full((height, width, 3), index % 250, np.uint8))
    return path.read_bytes()


def bomb() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros.bin", b"\0" * 50_000_000)
    return buffer.getvalue()


def test_bad_uploads_get_one_sentence_and_leave_nothing(client: TestClient, kitchen_root: Path, tmp_path: Path) -> None:
    whole = (kitchen_root / VIDEO).read_bytes()
    cases: dict[str, tuple[bytes, str, dict[str, Any], str]] = {
        "empty": (b"", "a.mp4", {}, "empty"),
        "garbage": (b"garbage" * 1000, "a.mp4", {}, "Invalid data"),
        "truncated": (whole[: len(whole) // 3], "a.mp4", {}, "a.mp4"),
        "text": (b"hello, world\n", "a.txt", {}, "a.txt"),
        "zip bomb": (bomb(), "a.zip", {}, "a.zip"),
        "huge pictures": (film(tmp_path / "huge.mp4", 1024, 768, 12), "a.mp4", {}, "1024 × 768 pixels"),
        "too long": (film(tmp_path / "long.mp4", 32, 32, 250), "a.mp4", {}, "takes up to 20 s"),
        "too large": (b"\0" * 5_000_000, "a.mp4", {}, "larger than 4 MB"),
        "path traversal": (b"garbage", "../../../etc/passwd.mp4", {}, "passwd.mp4"),
        "too many windows": (whole, "a.mp4", {"hop_seconds": 0.01}, "take a longer hop"),
        "windows beyond count": (whole, "a.mp4", {"hop_seconds": 1e-9}, "take a longer hop"),
        "a hop of nothing": (whole, "a.mp4", {"hop_seconds": 5e-324}, "inf windows"),
        "no such modality": (whole, "a.mp4", {"only": "sonar"}, "unknown modality 'sonar'"),
        "absent modality": (whole, "a.mp4", {"only": "imu"}, "none of the modalities imu"),
        "bad number": (whole, "a.mp4", {"window_seconds": "-1"}, "window_seconds"),
    }
    before = set(Path(tempfile.gettempdir()).glob("karmma-upload-*"))
    for name, (content, file_name, query, words) in cases.items():
        answer = upload(client, content, name=file_name, **query)
        assert 400 <= answer.status_code < 500, (name, answer.status_code, answer.text)
        sentence = answer.json()["error"]
        assert words in sentence and "\n" not in sentence and tempfile.gettempdir() not in sentence, (name, sentence)
    assert set(Path(tempfile.gettempdir()).glob("karmma-upload-*")) <= before
    assert client.post("/v1/predict").status_code == 422 and client.get("/v1/examples/..%2F..%2Fetc%2Fpasswd").status_code == 404
    tensors = {
        b"nonsense": "not safetensors",
        save_tensors({"sonar": np.zeros(3, np.float32)}): "unknown modality 'sonar'",
        save_tensors({"rgb": np.zeros((3, 3), np.float32)}): "rgb: shape",
        save_tensors({"imu": np.full((50, 6), np.nan, np.float32)}): "finite",
    }
    for content, words in tensors.items():
        answer = client.post("/v1/tensors", content=content)
        assert 400 <= answer.status_code < 500 and words in answer.json()["error"], words
    assert upload(client, whole).status_code == 200


def test_no_upload_stays_open(client: TestClient, kitchen_root: Path) -> None:
    for _ in range(3):
        assert upload(client, (kitchen_root / VIDEO).read_bytes()).status_code == 200
    links = [path.readlink() for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    assert [link for link in links if "karmma-upload-" in str(link)] == []


def test_a_body_that_hides_its_length_is_cut_off(client: TestClient) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(100):
            yield b"\0" * 100_000

    answer = client.post("/v1/tensors", content=endless())
    assert answer.status_code == 413 and "larger than 4 MB" in answer.json()["error"]


def test_beyond_its_limits_it_says_503_and_goes_on(client: TestClient, kitchen_root: Path) -> None:
    content, statuses = (kitchen_root / VIDEO).read_bytes(), Counter[int]()

    def ask() -> None:
        answer = upload(client, content)
        statuses[answer.status_code] += 1
        if answer.status_code == 503:
            assert answer.headers["Retry-After"] == "1" and "too many requests" in answer.json()["error"]

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(statuses) <= {200, 503} and statuses[200] >= 1 and statuses[503] >= 1
    assert upload(client, content).status_code == 200


def test_windows_of_several_requests_share_a_batch(student: karmma.Recognizer) -> None:
    sizes: list[int] = []
    batcher = Batcher(student, 8, wait_seconds=0.2, on_batch=lambda windows, seconds: sizes.append(windows))
    random = np.random.default_rng(0)
    windows = [
        Window({name: random.normal(size=spec.input_shape).astype(np.float32) for name, spec in student.specs.items()})
        for _ in range(5)
    ]
    answers = [batcher.submit([window], None) for window in windows[:4]]
    missing = batcher.submit([windows[4]], ("imu",))
    expected = [student.predict_windows([window])[0].top("verb").name for window in windows[:4]]
    assert [answer.result(10)[0].top("verb").name for answer in answers] == expected
    assert missing.result(10)[0].modalities == ("imu",) and sum(sizes) == 5 and max(sizes) > 1
    empty = batcher.submit([Window({})], None)
    with pytest.raises(karmma.KarmmaError, match="none of the modalities"):
        empty.result(10)
    batcher.close()


def test_a_field_may_have_a_name_that_no_parameter_can_have(tmp_path: Path, kitchen_root: Path) -> None:
    student = karmma.load(save_student(tmp_path / "student", {"left-wrist_imu": {"seconds": 1.0}}))
    with TestClient(make_app(student)) as client:
        sent = {"left-wrist_imu": ("w.csv", (kitchen_root / "imu/P02/P02_01.csv").read_bytes())}
        (first, *_) = client.post("/v1/predict", files=sent).json()["predictions"]
        assert first["modalities"] == ["left-wrist_imu"]
