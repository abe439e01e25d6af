"""The fits against the tables that the papers print, and against a search along lines of equal operations."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cutaway.runs import BadInput
from cutaway.train.scaling_law import FITS, LossLaw, fit_of, read_law

# Hoffmann et al. 2022, tables 3 and A3: parameters, operations and tokens. Of approach 3 the row of 175 billion is left
# out: its operations are misprinted.
TABLES = {
    "hoffmann-1": [
        (400e6, 1.92e19, 8.0e9), (1e9, 1.21e20, 20.2e9), (10e9, 1.23e22, 205.1e9), (67e9, 5.76e23, 1.5e12),
        (175e9, 3.85e24, 3.7e12), (280e9, 9.90e24, 5.9e12), (520e9, 3.43e25, 11.0e12), (1e12, 1.27e26, 21.2e12),
        (10e12, 1.30e28, 216.2e12),
    ],
    "hoffmann-2": [
        (400e6, 1.84e19, 7.7e9), (1e9, 1.20e20, 20.0e9), (10e9, 1.32e22, 219.5e9), (67e9, 6.88e23, 1.7e12),
        (175e9, 4.54e24, 4.3e12), (280e9, 1.18e25, 7.1e12), (520e9, 4.19e25, 13.4e12), (1e12, 1.59e26, 26.5e12),
        (10e12, 1.75e28, 292.0e12),
    ],
    "hoffmann-3": [
        (400e6, 2.21e19, 9.2e9), (1e9, 1.62e20, 27.1e9), (10e9, 2.46e22, 410.1e9), (67e9, 1.71e24, 4.1e12),
        (280e9, 3.52e25, 20.1e12), (520e9, 1.36e26, 43.5e12), (1e12, 5.65e26, 94.1e12), (10e12, 8.55e28, 1425.5e12),
    ],
}  # fmt: skip
MARGIN = 0.08
OF_TOKENS = 0.12
"""The printed tokens of approach 3 are up to 6% off their own operations: 6 · 280e9 · 20.1e12 is 3.38e25."""
LAWS = [law for law in FITS.values() if isinstance(law, LossLaw)]


@pytest.mark.parametrize("name", TABLES)
def test_the_papers_own_tables(name: str) -> None:
    for parameters, flops, tokens in TABLES[name]:
        best = FITS[name].best(flops)
        assert best.parameters == pytest.approx(parameters, rel=MARGIN), flops
        assert best.tokens == pytest.approx(tokens, rel=OF_TOKENS), flops


def test_the_corrected_fit_agrees_with_the_first_two_approaches() -> None:
    fit = FITS["besiroglu"]
    # Besiroglu et al. 2024, section 4: the best size grows as C^0.513, and Chinchilla's budget is shared about 20 to 1.
    grown = fit.best(1e25).parameters / fit.best(1e24).parameters
    assert np.log10(grown) == pytest.approx(0.513, abs=0.001)
    chinchilla = fit.best(5.76e23)
    assert chinchilla.parameters == pytest.approx(70e9, rel=0.05)
    assert chinchilla.tokens == pytest.approx(1.4e12, rel=0.06)
    # The fit that it corrects has it a half too small, against the same paper's other two.
    assert FITS["hoffmann-3"].best(5.76e23).parameters < 45e9


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.about)
def test_no_other_split_has_a_lower_loss(law: LossLaw) -> None:
    for flops in (1e17, 1e21, 1e25):
        best = law.best(flops)
        assert 6 * best.parameters * best.tokens == pytest.approx(flops)
        sizes = best.parameters * np.geomspace(0.1, 10, 20_001)
        losses = law.E + law.A / sizes**law.alpha + law.B / (flops / 6 / sizes) ** law.beta
        assert sizes[losses.argmin()] == pytest.approx(best.parameters, rel=1e-3)
        assert law.loss(best.parameters, best.tokens) == pytest.approx(losses.min(), rel=1e-9)


@pytest.mark.parametrize("name", FITS)
def test_tokens_for_a_size_are_those_it_is_the_best_size_for(name: str) -> None:
    fit = FITS[name]
    for parameters in (1e7, 7e10):
        tokens = fit.tokens_for(parameters)
        best = fit.best(6 * parameters * tokens)
        assert best.parameters == pytest.approx(parameters)
        assert best.tokens == pytest.approx(tokens)


def test_ones_own_fit(tmp_path: Path) -> None:
    held = {"E": 1.1, "A": 200, "alpha": 0.31, "B": 900.0, "beta": 0.33, "bands": {"E": [1.0, 1.2]}, "runs": 24}
    (tmp_path / "law.json").write_text(json.dumps(held))
    law = fit_of(str(tmp_path / "law.json"))
    assert law == LossLaw("law.json", 1.1, 200, 0.31, 900.0, 0.33)
    assert fit_of("besiroglu") is FITS["besiroglu"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read as JSON"),
        ("{", "cannot be read as JSON"),
        ("[1]", "is no JSON object"),
        ('{"E": 1, "A": 2, "alpha": 0.3, "B": 4}', "has beta = null"),
        ('{"E": 1, "A": -2, "alpha": 0.3, "B": 4, "beta": 0.3}', "has A = -2"),
        ('{"E": 1, "A": 2, "alpha": "0.3", "B": 4, "beta": 0.3}', 'has alpha = "0.3"'),
        ('{"E": true, "A": 2, "alpha": 0.3, "B": 4, "beta": 0.3}', "has E = true"),
        ('{"E": 1, "A": NaN, "alpha": 0.3, "B": 4, "beta": 0.3}', "has A = NaN"),
    ],
)
def test_files_that_hold_no_fit(text: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "law.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(BadInput, match=r"law\.json") as raised:
        read_law(path)
    assert message in str(raised.value)


def test_a_name_that_is_no_fit() -> None:
    with pytest.raises(BadInput, match=r"no fit and no file hoffman; fits are hoffmann-1, .*besiroglu"):
        fit_of("hoffman")
