"""The service at four times its saturating load for a minute: what it answers, how long that takes, what it leaves behind.

python benchmarks/service_load.py CHECKPOINT RECORDING [--seconds 60] [--factor 4]

A server process and a load generator share this machine. Saturation is the rate at which as many clients as the service
decodes at once get answers, back to back. Then requests arrive at random at four times that rate, whatever happens.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from recording import write_result

from karmma.media.audio import read_audio
from karmma.media.video import read_frames
from karmma.media.write import VideoWriter

PIECE_SECONDS, FRAMES_HZ, SOUND_HZ = 4.0, 12.0, 16000


def piece_of(recording: Path) -> bytes:
    """Four seconds of a recording as a file of its own."""
    seconds = [2.0 + index / FRAMES_HZ for index in range(int(PIECE_SECONDS * FRAMES_HZ))]
    samples = read_audio(recording, 2.0, 2.0 + PIECE_SECONDS, SOUND_HZ)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "piece.mp4"
        with VideoWriter(path, 160, 120, FRAMES_HZ, SOUND_HZ) as writer:
            for picture in read_frames(recording, seconds, 160, 120):
                writer.write_frame(picture)
            assert samples is not None
            writer.write_audio(samples)
        return path.read_bytes()


def resident_megabytes(process: int) -> float:
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


async def ask(client: httpx.AsyncClient, content: bytes) -> tuple[int, float]:
    """Status and seconds of one request; −1 where the connection failed."""
    started = time.perf_counter()
    try:
        answer = await client.post("/v1/predict", files={"file": ("piece.mp4", content)})
        return answer.status_code, time.perf_counter() - started
    except httpx.HTTPError:
        return -1, time.perf_counter() - started


async def saturate(client: httpx.AsyncClient, content: bytes, clients: int, seconds: float) -> float:
    """Answers per second to clients that ask back to back."""
    stop, statuses = time.perf_counter() + seconds, Counter[int]()

    async def one() -> None:
        while time.perf_counter() < stop:
            status, _ = await ask(client, content)
            statuses[status] += 1

    await asyncio.gather(*[one() for _ in range(clients)])
    if not statuses[200]:
        raise RuntimeError(f"the service answered nothing: {dict(statuses)}")
    return statuses[200] / seconds


async def flood(
    client: httpx.AsyncClient, content: bytes, rate: float, seconds: float, process: int
) -> tuple[list[tuple[int, float]], list[float]]:
    """Requests that arrive at random; statuses with seconds, and the server's memory each second."""
    random, tasks, memory = np.random.default_rng(0), list[asyncio.Task[tuple[int, float]]](), list[float]()
    started = time.perf_counter()
    due = 0.0
    while due < seconds:
        await asyncio.sleep(max(started + due - time.perf_counter(), 0))
        tasks.append(asyncio.create_task(ask(client, content)))
        if len(memory) < time.perf_counter() - started:
            memory.append(resident_megabytes(process))
        due += float(random.exponential(1 / rate))
    return list(await asyncio.gather(*tasks)), memory


async def measure(address: str, content: bytes, options: argparse.Namespace, process: int) -> dict[str, Any]:
    limits = httpx.Limits(max_connections=512, max_keepalive_connections=512)
    async with httpx.AsyncClient(base_url=address, timeout=120, limits=limits) as client:
        await saturate(client, content, 2, 3.0)
        rate = await saturate(client, content, 2, 10.0)
        alone = [await ask(client, content) for _ in range(10)]
        before = resident_megabytes(process)
        answers, memory = await flood(client, content, options.factor * rate, options.seconds, process)
        afterwards = [await ask(client, content) for _ in range(10)]
        ready = (await client.get("/readyz")).status_code
    accepted = [seconds for status, seconds in answers if status == 200]
    refused = [seconds for status, seconds in answers if status == 503]
    return {
        "saturating_requests_per_second": round(rate, 1), "offered_requests_per_second": round(len(answers) / options.seconds, 1),
        "statuses": dict(Counter(status for status, _ in answers)),
        "accepted_per_second": round(len(accepted) / options.seconds, 1),
        "accepted_ms": {name: round(1000 * float(np.percentile(accepted, share)), 1) for name, share in (("p50", 50), ("p99", 99))},
        "refused_ms_p99": round(1000 * float(np.percentile(refused, 99)), 1) if refused else None,
        "alone_ms": round(1000 * statistics.median(seconds for _, seconds in alone), 1),
        "afterwards": {"statuses": dict(Counter(status for status, _ in afterwards)), "ready": ready,
                       "ms": round(1000 * statistics.median(seconds for _, seconds in afterwards), 1)},
        "memory_megabytes": {"before": round(before, 1), "largest": round(max(memory), 1), "last": round(memory[-1], 1)},
    }  # fmt: skip


def uploads_on_disk() -> set[Path]:
    return set(Path(tempfile.gettempdir()).glob("karmma-upload-*"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("recording", type=Path)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--factor", type=float, default=4.0)
    options = parser.parse_args()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    before = uploads_on_disk()
    command = [sys.executable, "-m", "karmma.cli", "serve", str(options.checkpoint), "--port", str(port)]
    server = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
    try:
        address = f"http://127.0.0.1:{port}"
        for _ in range(120):
            try:
                httpx.get(address + "/readyz").raise_for_status()
                break
            except httpx.HTTPError:
                time.sleep(0.5)
        result = asyncio.run(measure(address, piece_of(options.recording), options, server.pid))
    finally:
        server.terminate()
        server.wait(20)
    result["left_on_disk"] = len(uploads_on_disk() - before)
    write_result("service_load", {"seconds": options.seconds, "factor": options.factor, "piece_seconds": PIECE_SECONDS, **result})


if __name__ == "__main__":
    main()
