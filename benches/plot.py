# /// script
# requires-python = ">=3.10"
# dependencies = ["matplotlib>=3.8"]
# ///
"""Draws benches/speed.svg from what `cargo bench --bench shapes` has left under target/criterion.

    python benches/plot.py [TARGET_DIRECTORY]
"""

import json
import pathlib
import sys

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

HERE = pathlib.Path(__file__).parent
PLOTS = {
    "keys": "keys",
    "size over slide": "windows that overlap (size / slide)",
    "definitions": "windows at once over one stream",
}
STYLES = {"batches": ("#0b6e4f", "o"), "pushed": ("#3a86c8", "s"), "by hand": ("#b5651d", "^")}


def points(group: pathlib.Path, row: str) -> list[tuple[int, float]]:
    """Place on the axis and millions of events a second, by criterion's estimates of the time of one run."""
    found = []
    for place in (group / row).glob("*/new"):
        events = json.loads((place / "benchmark.json").read_text())["throughput"]["Elements"]
        nanos = json.loads((place / "estimates.json").read_text())["median"]["point_estimate"]
        found.append((int(place.parent.name), events / nanos * 1e3))
    return sorted(found)


def main() -> None:
    target = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else HERE.parent / "target") / "criterion"
    if not target.is_dir():
        sys.exit(f"{target} is not there: run `cargo bench --bench shapes` first")
    plt.rcParams.update({"svg.hashsalt": "floodmark", "font.size": 9})
    figure, axes = plt.subplots(1, len(PLOTS), figsize=(11, 3.4), sharey=True, layout="constrained")
    for axis, (name, label) in zip(axes, PLOTS.items()):
        for row, (color, marker) in STYLES.items():
            line = points(target / name, row.replace(" ", "_")) or points(target / name, row)
            if line:
                axis.plot(*zip(*line), color=color, marker=marker, markersize=4, label=row)
        axis.set(xscale="log", yscale="log", xlabel=label)
        axis.grid(which="major", color="#dddddd")
    axes[0].set_ylabel("million events a second")
    axes[0].legend(frameon=False)
    figure.savefig(HERE / "speed.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
