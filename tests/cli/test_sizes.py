from __future__ import annotations

from cutaway.cli.sizes import size


def test_sizes() -> None:
    counts = (0, 999, 1000, 7_340_000, 9_960_000, 92_871_040, 999_400_000, 999_600_000, 1_234_000_000_000)
    assert [size(count) for count in counts] == [
        "0 B", "999 B", "1.0 kB", "7.3 MB", "10 MB", "93 MB", "999 MB", "1.0 GB", "1,234 GB",
    ]  # fmt: skip
