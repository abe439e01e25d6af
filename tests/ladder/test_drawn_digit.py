"""Drawings laid out as MNIST's makers did theirs."""

from __future__ import annotations

import numpy as np
import pytest

from cutaway.ladder.drawn_digit import BOX, MIDDLE, SIDE, centred


def drawn(top: int, left: int, rows: int, columns: int) -> np.ndarray:
    sheet = np.zeros((SIDE, SIDE), np.float32)
    sheet[top : top + rows, left : left + columns] = 1
    return sheet


def test_an_empty_sheet_stays_empty() -> None:
    assert not centred(drawn(0, 0, 0, 0)).any()


@pytest.mark.parametrize("place", [(0, 0), (3, 9), (17, 20)])
def test_where_it_was_drawn_makes_no_difference(place: tuple[int, int]) -> None:
    assert np.array_equal(centred(drawn(*place, 10, 6)), centred(drawn(5, 5, 10, 6)))


def test_the_longer_side_fills_the_box_and_the_middle_is_the_middle() -> None:
    image = centred(drawn(2, 3, 10, 5))
    rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
    assert len(rows) == BOX
    assert len(columns) == BOX // 2
    weights = image / image.sum()
    for axis in (0, 1):
        assert abs((weights.sum(axis=1 - axis) * (np.arange(SIDE) + 0.5)).sum() - MIDDLE) <= 0.5


def test_an_image_that_is_laid_out_so_already_is_left_as_it_is() -> None:
    image = centred(drawn(2, 3, 10, 5))
    assert np.allclose(centred(image), image, atol=1e-6)
