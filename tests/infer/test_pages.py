"""Pages hold what was written into them, where the contract says, and count who uses them."""

from __future__ import annotations

import pytest
import torch

from cutaway.infer.pages import NOTHING, PAGE, Pages, page_bytes, pages_for
from cutaway.model import ModelConfig
from cutaway.runs import BadInput

CONFIG = ModelConfig(vocab_size=50, n_layers=2, d_model=16, n_heads=4, n_kv_heads=2, d_head=8, d_mlp=16, context=64)
DTYPES = [torch.float32, torch.bfloat16, torch.int8]


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_written_lies_where_the_contract_says_and_comes_back(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    pages = Pages(CONFIG, 5, dtype=dtype)
    # Two sequences: pages 3, 1 and pages 4, 2; each writes its positions 14 to 18.
    places, positions = torch.tensor([[3, 1], [4, 2]]), torch.arange(14, 19)
    page = places[:, positions // PAGE]
    slots = pages.slots(page, (positions % PAGE).expand(2, -1))
    k, v = torch.randn(2, 2, 5, 8), torch.randn(2, 2, 5, 8) * 100
    pages.write(1, slots, k, v)
    found = pages.read(1, slots, torch.float32)
    for new, back, pool, scales in ((k, found[0], pages.k, pages.k_scale), (v, found[1], pages.v, pages.v_scale)):
        if dtype == torch.int8:
            # Rounding is off by at most half of the 127th part of the largest number of the vector.
            assert ((new - back).abs() <= new.abs().amax(-1, keepdim=True) / 254 * 1.0001).all()
        else:
            torch.testing.assert_close(back, new.to(dtype).float(), atol=0, rtol=0)
        for b, row in enumerate(((3, 14), (3, 15), (1, 0), (1, 1), (1, 2))):
            for head in range(2):
                stored = pool[1][row[0], head, row[1]].float()
                if scales is not None:
                    stored = stored * scales[1][row[0], head, row[1]]
                torch.testing.assert_close(stored, back[0, head, b])
    assert not pages.k[0].any()
    assert not pages.k[1][NOTHING].any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_page_takes_what_it_is_said_to_take(dtype: torch.dtype) -> None:
    pages = Pages(CONFIG, 3, dtype=dtype)
    tensors = [*pages.k, *pages.v, *(pages.k_scale or []), *(pages.v_scale or [])]
    assert sum(tensor[0].nbytes for tensor in tensors) == page_bytes(CONFIG, dtype)
    assert [pages_for(n) for n in (1, 16, 17)] == [1, 1, 2]


def test_zeros_stay_zeros_in_whole_numbers() -> None:
    pages = Pages(CONFIG, 1, dtype=torch.int8)
    slots = pages.slots(torch.tensor([1]), torch.tensor([0]))
    pages.write(0, slots, torch.zeros(2, 1, 8), torch.zeros(2, 1, 8))
    assert all(not found.any() for found in pages.read(0, slots, torch.float32))


def test_a_page_is_free_when_its_last_user_has_left_it() -> None:
    pages = Pages(CONFIG, 2)
    page = pages.take()
    pages.share(page)
    assert pages.take() != page
    assert not pages.free
    assert not pages.leave(page)
    assert pages.leave(page)
    pages.give_up(page)
    assert pages.take() == page
    pages.leave(page)
    with pytest.raises(AssertionError, match="given back twice"):
        pages.leave(page)


def test_no_room_and_unknown_numbers_are_refused() -> None:
    with pytest.raises(BadInput, match="holds nothing"):
        Pages(CONFIG, 0)
    with pytest.raises(BadInput, match="float64"):
        Pages(CONFIG, 4, dtype=torch.float64)
