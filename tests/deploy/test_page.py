"""The web page in headless Chromium: load, upload, toggle, result, error."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI

import karmma
from karmma.deploy.service.app import make_app

from .conftest import save_student

CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")


@pytest.fixture(scope="module")
def address(student: karmma.Recognizer, kitchen_root: Path) -> Iterator[str]:
    with served(make_app(student, examples=kitchen_root / "videos" / "P02")) as address:
        yield address


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}/"
    server.should_exit = True
    thread.join(10)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    with opened(browser, address) as page:
        yield page


@contextmanager
def opened(browser: Any, address: str) -> Iterator[Any]:
    """A page that may reach nothing but the service, and whose errors fail the test."""
    page, foreign, errors = browser.new_page(), [], []
    page.on("request", lambda request: foreign.append(request.url) if not request.url.startswith((address, "data:")) else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address)
    page.wait_for_selector("body[data-ready=yes]")
    yield page
    assert foreign == [] and errors == []
    page.close()


def answers(page: Any, head: str) -> str:
    return str(page.inner_text(f"#answer-{head}"))


def test_an_example_is_shown_and_sensors_toggle_at_once(page: Any) -> None:
    page.click("#examples button")
    page.wait_for_selector("#result:not(.hidden)")
    assert "from rgb + audio" in page.inner_text("#heading")
    assert page.locator("#look figure").count() == 2 and page.locator("#look .strip img").count() == 2
    assert page.locator("#answer-action .row").count() == 5
    assert page.is_disabled("[data-sensor=imu].sensor")
    everything = answers(page, "verb")
    page.click("[data-sensor=rgb].sensor")
    assert "from audio" in page.inner_text("#heading") and answers(page, "verb") != everything
    assert "off" in str(page.get_attribute("#look figure[data-sensor=rgb]", "class"))
    page.click("[data-sensor=rgb].sensor")
    assert answers(page, "verb") == everything


def test_the_last_sensor_cannot_be_switched_off(page: Any) -> None:
    page.click("#examples button")
    page.wait_for_selector("#result:not(.hidden)")
    page.click("[data-sensor=rgb].sensor")
    page.click("[data-sensor=audio].sensor")
    assert page.get_attribute("[data-sensor=audio].sensor", "aria-pressed") == "true"


def test_an_upload_with_an_imu_and_a_click_on_the_timeline(page: Any, kitchen_root: Path, tmp_path: Path) -> None:
    video, imu = tmp_path / "mine.mp4", tmp_path / "imu.csv"
    shutil.copyfile(kitchen_root / "videos/P02/P02_01.MP4", video)
    shutil.copyfile(kitchen_root / "imu/P02/P02_01.csv", imu)
    page.set_input_files("#file", [str(video), str(imu)])
    page.wait_for_selector("#result:not(.hidden)")
    page.wait_for_selector("#look figure[data-sensor=imu] canvas")
    assert not page.is_disabled("[data-sensor=imu].sensor")
    page.locator("#timeline").click(position={"x": 700, "y": 40})
    page.wait_for_function("!document.getElementById('heading').textContent.startsWith('0.0')")


def test_a_file_that_is_no_recording_gets_a_sentence(page: Any, tmp_path: Path) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"this is no film")
    page.set_input_files("#file", str(bad))
    page.wait_for_selector("#error:not(.hidden)")
    assert "bad.mp4" in page.inner_text("#error") and page.locator("#result").evaluate("e => e.classList.contains('hidden')")
    page.click("#examples button")
    page.wait_for_selector("#result:not(.hidden)")
    assert page.locator("#error").evaluate("e => e.classList.contains('hidden')")


def test_sensors_of_a_body_without_a_video(browser: Any, body_student: karmma.Recognizer, body_files: dict[str, Path]) -> None:
    with served(make_app(body_student)) as address, opened(browser, address) as page:
        page.set_input_files("#file", [str(path) for path in body_files.values()])
        page.wait_for_selector("#result:not(.hidden)")
        assert "from imu + skeleton + depth" in page.inner_text("#heading") and not page.inner_text("#amiss")
        assert page.locator("#look figure[data-sensor=depth] img").count() == 4
        drawn = page.locator("#look figure[data-sensor=skeleton] canvas")
        assert drawn.evaluate("c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(value => value > 0)")
        everything = answers(page, "verb")
        page.click("[data-sensor=depth].sensor")
        assert "from imu + skeleton" in page.inner_text("#heading") and answers(page, "verb") != everything
        page.fill("#window", "4")
        page.locator("#window").blur()
        page.wait_for_function("document.getElementById('heading').textContent.startsWith('0.0–4.0 s, from imu + skeleton')")
        strip = page.locator("#look figure[data-sensor=depth]")
        assert strip.evaluate("f => f.getBoundingClientRect().right <= f.closest('.card').getBoundingClientRect().right")


def test_hands_are_drawn_while_they_are_in_view(browser: Any, kitchen_root: Path, tmp_path: Path) -> None:
    student = karmma.load(save_student(tmp_path / "student", {"hands": {"frames": 8}}))
    out_of_view = tmp_path / "nobody_hands.npz"
    np.savez(out_of_view, hands=np.full((60, 2, 21, 3), np.nan), seconds=np.arange(60) / 20)
    with served(make_app(student)) as address:
        for file, drawn in ((kitchen_root / "hands/P02/P02_01.npz", True), (out_of_view, False)):
            shutil.copyfile(file, tmp_path / "mine_hands.npz")
            with opened(browser, address) as page:
                page.set_input_files("#file", str(tmp_path / "mine_hands.npz"))
                page.wait_for_selector("#look figure[data-sensor=hands] canvas")
                coloured = "(r, g, b) => Math.max(r, g, b) - Math.min(r, g, b) > 100"
                found = page.locator("#look figure[data-sensor=hands] canvas").evaluate(
                    f"c => {{ const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data, is = {coloured};"
                    "for (let i = 0; i < d.length; i += 4) if (d[i + 3] > 200 && is(d[i], d[i + 1], d[i + 2])) return true;"
                    "return false; }"
                )
                assert found == drawn


def test_hands_of_few_joints_are_told_apart(browser: Any, tmp_path: Path) -> None:
    student = karmma.load(save_student(tmp_path / "student", {"hands": {"frames": 8, "layout": "mano"}}))
    joints = np.random.default_rng(0).normal(0, 0.05, (60, 2, 16, 3)) + np.array([[[-0.2, 0, 0.4]], [[0.2, 0, 0.4]]])
    np.savez(tmp_path / "a_hands.npz", hands=joints, seconds=np.arange(60) / 20)
    with served(make_app(student)) as address, opened(browser, address) as page:
        page.set_input_files("#file", str(tmp_path / "a_hands.npz"))
        page.wait_for_selector("#look figure[data-sensor=hands] canvas")
        drawn = page.locator("#look figure[data-sensor=hands] canvas").evaluate(
            "c => { const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data, found = new Set();"
            "for (let i = 0; i < d.length; i += 4) if (d[i + 3] === 255) found.add(d[i] + ',' + d[i + 1] + ',' + d[i + 2]);"
            "return COLOURS.slice(0, 2).map(c => found.has([1, 3, 5].map(i => parseInt(c.slice(i, i + 2), 16)).join(','))); }"
        )
        assert drawn == [True, True]


def test_a_file_of_another_camera_goes_by_its_name(browser: Any, kitchen_root: Path, tmp_path: Path) -> None:
    picture = {"frames": 2, "height": 24, "width": 32}
    student = karmma.load(save_student(tmp_path / "student", {"rgb": picture, "side_rgb": picture, "wrist_imu": {"seconds": 1.0}}))
    sources = {"a.mp4": "videos/P02/P02_01.MP4", "a_side_rgb.mp4": "videos/P03/P03_01.MP4", "a_wrist_imu.csv": "imu/P02/P02_01.csv"}
    for name, source in sources.items():
        shutil.copyfile(kitchen_root / source, tmp_path / name)
    with served(make_app(student)) as address, opened(browser, address) as page:
        page.wait_for_function("document.getElementById('others').textContent.includes('wrist_imu, side_rgb')")
        page.set_input_files("#file", [str(tmp_path / name) for name in sources])
        page.wait_for_selector("#look figure[data-sensor=side_rgb] img")
        assert page.evaluate("shown.modalities") == ["rgb", "side_rgb", "wrist_imu"]
        pictures = [page.locator(f"#look figure[data-sensor={name}] img").first.get_attribute("src") for name in ("rgb", "side_rgb")]
        assert pictures[0] != pictures[1]


def test_a_subset_that_was_not_sent_along_is_asked_for_at_its_window(page: Any) -> None:
    page.click("#examples button")
    page.wait_for_selector("#result:not(.hidden)")
    page.evaluate("look(4)")
    page.wait_for_function("document.getElementById('heading').textContent.startsWith('4.0')")
    page.click("[data-sensor=rgb].sensor")
    known = answers(page, "verb")
    page.click("[data-sensor=rgb].sensor")
    page.evaluate("delete shown.subsets.audio")
    page.click("[data-sensor=rgb].sensor")
    page.wait_for_function("shown.subsets.audio !== undefined && shown.subsets.audio.start_seconds === 4")
    page.wait_for_function("document.getElementById('heading').textContent.endsWith('from audio')")
    assert answers(page, "verb") == known


def test_a_doubtful_sensor_is_used_and_named(browser: Any, body_student: karmma.Recognizer, in_g: Path) -> None:
    with served(make_app(body_student)) as address, opened(browser, address) as page:
        page.set_input_files("#file", str(in_g))
        page.wait_for_selector("#result:not(.hidden)")
        assert "imu (doubtful)" in page.inner_text("#sensors") and page.locator("#answer-action .row").count() == 5
        assert page.inner_text("#amiss").startswith("imu: the median force is 1.0")
