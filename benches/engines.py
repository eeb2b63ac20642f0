# /// script
# requires-python = ">=3.10"
# dependencies = ["duckdb>=1.4", "numpy>=2", "polars>=1.30"]
# ///
"""What batch engines on one thread make of the tumbling streams of `cargo bench --bench insert`, beside what that has left
under target/criterion. They have all events at once, know no watermarks and give each result once.

    python benches/engines.py [TARGET_DIRECTORY]

Prints millions of events a second, the median of five, and the checksum that the benchmark prints.
"""

import json
import os
import pathlib
import statistics
import sys
import time

os.environ["POLARS_MAX_THREADS"] = "1"

import duckdb
import numpy as np
import polars as pl

HERE = pathlib.Path(__file__).parent
SECOND = 1_000_000
START = 1_700_000_000 * SECOND
SIZE = 10 * SECOND
# Group, events, keys and events in a second of event time, as in benches/insert.rs.
SHAPES = [
    ("tumbling 10 s, 1 key", 4_000_000, 1, 100_000),
    ("tumbling 10 s, 1 k keys", 4_000_000, 1_000, 100_000),
    ("tumbling 10 s, 100 k keys", 4_000_000, 100_000, 100_000),
    ("tumbling 10 s, 1 M keys", 16_000_000, 1_000_000, 500_000),
]

u64 = np.uint64


def mix(z: np.ndarray) -> np.ndarray:
    z = (z ^ (z >> u64(30))) * u64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> u64(27))) * u64(0x94D049BB133111EB)
    return z ^ (z >> u64(31))


def below(random: np.ndarray, n: int) -> np.ndarray:
    """The upper half of the product, as benches/streams has it."""
    high, low = random >> u64(32), random & u64(0xFFFFFFFF)
    return (high * u64(n) + ((low * u64(n)) >> u64(32))) >> u64(32)


def stream(events: int, keys: int, rate: int) -> dict[str, np.ndarray]:
    # Four numbers an event: of its partition (there is one), disorder, key and value.
    steps = np.arange(1, 4 * events + 1, dtype=u64)
    random = mix(u64(0x5EED) + steps * u64(0x9E3779B97F4A7C15)).reshape(events, 4)
    base = START + np.arange(events, dtype=np.int64) * SECOND // rate
    return {
        "time": base - below(random[:, 1], SECOND).astype(np.int64),
        "key": (mix(below(random[:, 2], keys)) >> u64(1)).astype(np.int64),
        "value": 1 + below(random[:, 3], 1000).astype(np.int64),
    }


def checksum(key, window, count, total) -> str:
    def rotated(words: np.ndarray, by: int) -> np.ndarray:
        return (words << u64(by)) | (words >> u64(64 - by))

    start, count, total = (np.asarray(column).astype(u64) for column in (window * SIZE, count, total))
    words = np.asarray(key).astype(u64) ^ mix(start) ^ rotated(mix(count), 17) ^ rotated(mix(total), 31)
    return f"Checksum {{ panes: {len(start):x}, sum: {int(total.sum()):x}, hash: {int(mix(words).sum()):x} }}"


def by_polars(columns):
    frame = pl.DataFrame(columns)
    window = (pl.col("time") // SIZE).alias("window")
    query = frame.lazy().group_by("key", window).agg(count=pl.len(), total=pl.col("value").sum())
    return query.collect, lambda out: [out[name].to_numpy() for name in ("key", "window", "count", "total")]


def by_duckdb(columns):
    connection = duckdb.connect()
    connection.execute("SET threads = 1")
    connection.execute("CREATE TABLE events AS SELECT * FROM columns")
    query = f"SELECT key, time // {SIZE} AS win, count(*) AS n, sum(value)::BIGINT AS total FROM events GROUP BY ALL"
    return lambda: connection.execute(query).fetchnumpy(), lambda out: [out[n] for n in ("key", "win", "n", "total")]


def kernel(target: pathlib.Path, group: str, row: str) -> float | None:
    place = target / "criterion" / group / row / "new"
    if not place.is_dir():
        return None
    events = json.loads((place / "benchmark.json").read_text())["throughput"]["Elements"]
    return events / json.loads((place / "estimates.json").read_text())["median"]["point_estimate"] * 1e3


def main() -> None:
    target = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else HERE.parent / "target")
    for group, events, keys, rate in SHAPES:
        columns = stream(events, keys, rate)
        batches = kernel(target, group, "batches")
        for name, engine in (("polars", by_polars), ("duckdb", by_duckdb)):
            run, columns_of = engine(columns)
            times = []
            for _ in range(5):
                start = time.perf_counter()
                out = run()
                times.append(time.perf_counter() - start)
            rate_of = events / statistics.median(times) / 1e6
            beside = f", the kernel {batches:.1f} ({batches / rate_of:.1f} times)" if batches else ""
            print(f"{group}: {name} {rate_of:.1f}{beside}: {checksum(*columns_of(out))}")


if __name__ == "__main__":
    main()
