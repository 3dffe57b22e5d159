"""Windows of concurrent requests, recognised together: one thread owns the model, requests wait for their answers."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

from ...types import Prediction
from ..recognition import Recognition, Window


@dataclass
class Job:
    """Windows of one request that want an answer, in order; `only` restricts modalities."""

    windows: Sequence[Window]
    only: tuple[str, ...] | None
    answer: Future[list[Prediction]] = field(default_factory=Future)


@dataclass
class SubsetsJob:
    """A window that wants an answer for each of several subsets of its modalities."""

    window: Window
    subsets: Sequence[Sequence[str]]
    answer: Future[list[Prediction]] = field(default_factory=Future)


class Batcher:
    """Collects jobs for `wait_seconds` or until `batch_size` windows are there, then runs them as one batch."""

    def __init__(
        self, recognition: Recognition, batch_size: int, wait_seconds: float = 0.004,
        on_batch: Callable[[int, float], None] | None = None,
    ) -> None:  # fmt: skip
        self.recognition, self.batch_size, self.wait_seconds, self.on_batch = recognition, batch_size, wait_seconds, on_batch
        self.jobs: queue.SimpleQueue[Job | SubsetsJob | None] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def submit(self, windows: Sequence[Window], only: tuple[str, ...] | None) -> Future[list[Prediction]]:
        """The predictions of some windows, later."""
        job = Job(windows, only)
        self.jobs.put(job)
        return job.answer

    def submit_subsets(self, window: Window, subsets: Sequence[Sequence[str]]) -> Future[list[Prediction]]:
        """The predictions of one window under several subsets of its modalities, later; extractors run once."""
        job = SubsetsJob(window, subsets)
        self.jobs.put(job)
        return job.answer

    def close(self) -> None:
        self.jobs.put(None)
        self.thread.join(timeout=10)

    def work(self) -> None:
        while (job := self.jobs.get()) is not None:
            if isinstance(job, SubsetsJob):
                self.run_subsets(job)
                continue
            jobs, deadline = [job], time.monotonic() + self.wait_seconds
            while sum(len(other.windows) for other in jobs) < self.batch_size:
                try:
                    other = self.jobs.get(timeout=max(deadline - time.monotonic(), 0))
                except queue.Empty:
                    break
                if not isinstance(other, Job):
                    self.jobs.put(other)
                    break
                jobs.append(other)
            self.run(jobs)

    def run_subsets(self, job: SubsetsJob) -> None:
        """Extractors run once, whatever the number of subsets."""
        try:
            job.answer.set_result(self.recognition.predict_subsets(job.window, job.subsets))
        except Exception as error:
            job.answer.set_exception(error)

    def run(self, jobs: list[Job]) -> None:
        """Recognise; a failure is the failure of all that shared the batch only if each fails alone, too."""
        started = time.perf_counter()
        try:
            cut = [restricted(window, job.only) for job in jobs for window in job.windows]
            predictions = self.recognition.predict_windows(cut)
        except Exception as error:
            if len(jobs) == 1:
                jobs[0].answer.set_exception(error)
                return
            for job in jobs:
                self.run([job])
            return
        if self.on_batch is not None:
            self.on_batch(len(predictions), time.perf_counter() - started)
        for job in jobs:
            own, predictions = predictions[: len(job.windows)], predictions[len(job.windows) :]
            job.answer.set_result(own)


def restricted(window: Window, only: tuple[str, ...] | None) -> Window:
    """The window with some of its modalities."""
    inputs = {name: value for name, value in window.inputs.items() if only is None or name in only}
    return replace(window, inputs=inputs)
