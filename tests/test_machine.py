"""What the system tells of processor and memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from karmma import machine

CPUINFO = """processor\t: 0
model name\t: Some CPU @ 2 GHz
flags\t\t: fpu avx2 avx512f avx512_bf16

processor\t: 1
model name\t: Another
"""


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(machine, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(machine, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(machine, "CAMERAS", tmp_path / "video4linux")
    monkeypatch.setattr(machine, "SOUND_CARDS", tmp_path / "cards")
    monkeypatch.setattr(machine, "LIMITS", (tmp_path / "memory.max",))
    return tmp_path


def test_processor_and_extensions_come_from_the_system(system: Path) -> None:
    (system / "cpuinfo").write_text(CPUINFO)
    assert machine.processor_name() == "Some CPU @ 2 GHz"
    assert machine.instruction_sets() == ("AVX2", "AVX-512", "AVX-512 BF16")


def test_a_system_that_does_not_tell_is_no_error(system: Path) -> None:
    assert machine.processor_name()
    assert machine.instruction_sets() == ()
    assert machine.usable_memory_bytes() is None
    assert machine.usable_cores() >= 1
    assert machine.cameras() == {} == machine.sound_cards()


def test_a_container_has_the_memory_it_is_given(system: Path) -> None:
    (system / "meminfo").write_text("MemTotal:       24684096 kB\nMemFree: 1 kB\n")
    assert machine.usable_memory_bytes() == 24684096 * 1024
    (system / "memory.max").write_text("2147483648\n")
    assert machine.usable_memory_bytes() == 2 << 30
    (system / "memory.max").write_text("max\n")
    assert machine.usable_memory_bytes() == 24684096 * 1024


def test_cameras_and_sound_cards_have_addresses_for_karmma_stream(system: Path) -> None:
    for name, title in (("video10", "Other"), ("video2", "HD Webcam: HD Webcam\n")):
        (system / "video4linux" / name).mkdir(parents=True)
        (system / "video4linux" / name / "name").write_text(title)
    cards = " 0 [PCH            ]: HDA-Intel - HDA Intel PCH\n                      HDA Intel PCH at 0xa1330000 irq 144\n"
    (system / "cards").write_text(cards + " 1 [Webcam         ]: USB-Audio - HD Webcam\n                      HD Webcam at usb\n")
    assert machine.cameras() == {"/dev/video2": "HD Webcam: HD Webcam", "/dev/video10": "Other"}
    assert list(machine.cameras()) == ["/dev/video2", "/dev/video10"]
    assert machine.sound_cards() == {
        "alsa:default:CARD=PCH": "HDA-Intel - HDA Intel PCH", "alsa:default:CARD=Webcam": "USB-Audio - HD Webcam",
    }  # fmt: skip
