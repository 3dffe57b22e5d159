"""`karmma prepare`: a data set into shards, by worker processes of this machine or by a Ray cluster; resumable."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from typing import Any

from ..data.manifest import Manifest
from ..trees import plain
from ..types import KarmmaError
from ..workers import count_workers, worker_pool
from .segments import PrepareConfig, prepare_segment, refuse_names
from .shards import FAILED, SETTINGS, ShardJob, Store, make_jobs, write_index, write_shard

OnDone = Callable[[int, int, str], None]
ENGINES = ("local", "ray")
AHEAD = 4  # jobs handed to each worker in advance
FORMAT, FORMAT_VERSION = "karmma-prepared", 1


@dataclass(frozen=True)
class Prepared:
    """What came of it: segments in the index, rows of failed.csv."""

    segments: int
    failures: list[list[str]]


def prepare(
    manifest: Manifest, out: str, config: PrepareConfig, *, workers: int = 0, engine: str = "local",
    max_failures: int | None = None, on_done: OnDone | None = None,
) -> Prepared:  # fmt: skip
    """Write all shards that are not there yet, then the index. Every segment is there once or named in failed.csv.

    Raises KarmmaError for a directory prepared with other settings, a full disk, or more failures than allowed.
    """
    store = Store.open(out)
    splits = {name: list(segments) for name, segments in manifest.splits.items() if segments}
    for segments in splits.values():
        refuse_names(segments)
    write_settings(store, manifest, splits, config)
    jobs = make_jobs({name: tuple(segments) for name, segments in splits.items()}, out, config)
    todo = [job for job in jobs if not store.exists(f"shards/{job.name}.json")]
    total, failed = sum(map(len, splits.values())), 0
    done = total - sum(len(job.segments) for job in todo)
    results = run_on_ray(todo) if engine == "ray" else run_on_workers(todo, workers)
    for content in results:
        done, failed = done + content["segments"], failed + len(content["failures"])
        if on_done:
            on_done(done, total, f"{failed} failed")
        if max_failures is not None and failed > max_failures:
            raise KarmmaError(
                f"more than {max_failures} failures, the last: {': '.join(content['failures'][-1])}; what is done stays, "
                "the same command goes on"
            )
    count, failures = write_index(store, jobs)
    return Prepared(count, failures)


def write_settings(store: Store, manifest: Manifest, splits: dict[str, Any], config: PrepareConfig) -> None:
    """Note what the set is made of, or refuse a directory that was made of something else."""
    labels = {head: list(names) for head, names in manifest.labels.names.items()}
    settings = {key: value for key, value in plain(config).items() if value != {}}
    content = {
        "format": FORMAT, "version": FORMAT_VERSION, "dataset": manifest.name, "settings": settings, "labels": labels,
        "segments": {name: len(segments) for name, segments in splits.items()},
        "tail": {head: sorted(values) for head, values in manifest.tail.items()}, "unseen": sorted(manifest.unseen),
    }  # fmt: skip
    if store.exists(SETTINGS):
        before = json.loads(store.read(SETTINGS))
        for key, value in json.loads(json.dumps(content)).items():
            if before.get(key) != value:
                raise KarmmaError(f"{store.root}: was prepared with other {key}; choose another --out or the same settings")
        return
    store.write(SETTINGS, json.dumps(content, indent=1).encode())


def run_on_workers(jobs: Sequence[ShardJob], workers: int) -> Iterator[dict[str, Any]]:
    """Shards by worker processes. If a process dies its shard is read again, segment by segment, to find what kills it."""
    waiting, suspects = list(jobs), list[ShardJob]()
    count = count_workers(workers, len(jobs))
    while waiting:
        running: dict[Future[dict[str, Any]], ShardJob] = {}
        try:
            with worker_pool(count) as pool:
                while waiting or running:
                    while waiting and len(running) < count * AHEAD:
                        job = waiting.pop(0)
                        running[pool.submit(write_shard, job)] = job
                    finished, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in finished:
                        result = future.result()
                        del running[future]
                        yield result
        except BrokenProcessPool:
            suspects = list(running.values())
        for job in suspects:
            yield write_shard_alone(job)
        suspects = []


def write_shard_alone(job: ShardJob) -> dict[str, Any]:
    """A shard in a process of its own; if that dies, each segment in one, and those that kill it are left out."""
    result = survives(write_shard, job)
    if result is not None:
        return result
    deadly = tuple(
        segment.name for segment in job.segments if survives(prepare_segment, segment, job.split, job.config) is None
    )
    result = survives(write_shard, replace(job, deadly=deadly))
    if result is None:
        raise KarmmaError(f"shard {job.name}: the process that writes it keeps dying; is there enough memory?")
    return result


def survives(work: Callable[..., Any], *arguments: Any) -> Any | None:
    """The result of `work` in a fresh process, or None if that died."""
    with worker_pool(1) as pool:
        try:
            return pool.submit(work, *arguments).result()
        except BrokenProcessPool:
            return None


def run_on_ray(jobs: Sequence[ShardJob]) -> Iterator[dict[str, Any]]:
    """Shards by a Ray cluster (RAY_ADDRESS, else one on this machine); what a lost node was doing is done elsewhere."""
    try:
        import ray
    except ImportError as error:
        raise KarmmaError("the engine ray needs Ray: pip install 'karmma[cluster]'") from error
    if not ray.is_initialized():
        ray.init(log_to_driver=False, include_dashboard=False)
    remote = ray.remote(num_cpus=1, max_retries=-1)(write_shard)
    waiting, running = list(jobs), list[Any]()
    while waiting or running:
        limit = max(int(ray.cluster_resources().get("CPU", 1)), 1) * AHEAD
        while waiting and len(running) < limit:
            running.append(remote.remote(waiting.pop(0)))
        finished, running = ray.wait(running, num_returns=1)
        yield from ray.get(finished)


def describe_failures(prepared: Prepared) -> str:
    """One line for a person."""
    if not prepared.failures:
        return f"{prepared.segments} segments"
    first = prepared.failures[0]
    count = len(prepared.failures)
    return f"{prepared.segments} segments; {count} readings failed, first: {first[0]} {first[2]}: {first[3]}; all in {FAILED}"
