"""Equal scores stand in one order on every processor: the one numpy gives with AVX-512, recorded here."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from karmma.evaluation.tie_order import order_ascending

FEATURES: dict[str, bool] = np._core._multiarray_umath.__cpu_features__  # type: ignore[attr-defined]
has_avx512 = any(FEATURES.get(name, False) for name in ("X86_V4", "AVX512_SKX"))  # numpy renamed its levels in 2.4


def draw_keys(count: int, values: int, seed: int = 0) -> NDArray[Any]:
    return np.random.default_rng(count + seed).integers(0, values, count).astype(np.float64)


def test_a_short_order_is_the_recorded_one() -> None:
    keys = np.array([3, 0, 0, 0, 0, 3, 3, 2, 0, 0, 1, 3], np.float64)
    assert order_ascending(keys).tolist() == [1, 2, 3, 4, 9, 8, 10, 7, 6, 5, 0, 11]


@pytest.mark.parametrize(("count", "checksum"), [(97, 1667451906), (300, 974298725), (1000, 1084104211)])
def test_long_orders_are_the_recorded_ones(count: int, checksum: int) -> None:
    order = order_ascending(draw_keys(count, count // 3)).astype("<i8")
    assert zlib.crc32(order.tobytes()) == checksum


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 97, 256, 257, 300, 513, 2000])
@pytest.mark.parametrize("values", [1, 2, 10, 10**6])
def test_it_sorts(count: int, values: int) -> None:
    for keys in (draw_keys(count, values), np.sort(draw_keys(count, values))[::-1]):
        order = order_ascending(keys)
        assert sorted(order.tolist()) == list(range(count))
        assert (np.diff(keys[order]) >= 0).all()


@pytest.mark.skipif(not has_avx512, reason="numpy sorts without AVX-512 on this processor")
@pytest.mark.parametrize("count", [5, 97, 128, 256, 257, 300, 301, 352, 700])
def test_it_is_numpys_order_where_numpy_has_avx512(count: int) -> None:
    for seed in range(40):
        keys = draw_keys(count, 20 if seed % 2 else count, seed)
        assert order_ascending(keys).tolist() == np.argsort(keys).tolist()
