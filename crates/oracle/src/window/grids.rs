//! Windows that are there whatever the events are (T2, T3, A1).

use crate::case::Kind;
use crate::window::Window;

/// The windows of a definition, if they don't depend on the events.
///
/// All arithmetic is in `i128`, where nothing here can overflow (T2).
#[derive(Clone, Debug)]
pub enum Grid {
    /// `[offset + k * slide, + size)` for all integers `k`.
    Sliding {
        /// Length of a window.
        size: i128,
        /// Distance between window starts.
        slide: i128,
        /// One of the starts.
        offset: i128,
    },
    /// `[c, c + step)`, `[c, c + 2 * step)` and so on up to `[c, c + max)` for all
    /// `c = offset + k * max`.
    Cumulative {
        /// How much longer each window is than the one before.
        step: i128,
        /// Length of the longest.
        max: i128,
        /// One of the starts.
        offset: i128,
    },
    /// The windows between neighbouring edges.
    Edges(Vec<i64>),
}

impl Grid {
    /// The grid of a kind; none for sessions.
    #[must_use]
    pub fn of(kind: &Kind) -> Option<Self> {
        match *kind {
            Kind::Sliding { size, slide, offset } => {
                Some(Self::Sliding { size: size.into(), slide: slide.into(), offset: offset.into() })
            }
            Kind::Cumulative { step, max, offset } => {
                Some(Self::Cumulative { step: step.into(), max: max.into(), offset: offset.into() })
            }
            Kind::Session { .. } => None,
            Kind::Global => Some(Self::Edges(vec![i64::MIN, i64::MAX])),
            Kind::Edges { ref edges } => Some(Self::Edges(edges.clone())),
        }
    }

    /// The windows that contain `time`, in firing order, or `None` when the
    /// event has to be rejected because one of them does not fit (T2). The last
    /// instant is always rejected: an ascending watermark there would be the end
    /// of input.
    #[must_use]
    pub fn windows_of(&self, time: i64) -> Option<Vec<Window>> {
        if time == i64::MAX {
            return None;
        }
        let at = i128::from(time);
        match *self {
            Self::Sliding { size, slide, offset } => sliding_windows(size, slide, offset, at),
            Self::Cumulative { step, max, offset } => cumulative_windows(step, max, offset, at),
            Self::Edges(ref edges) => {
                let pairs = edges.windows(2).map(|pair| Window { start: pair[0], end: pair[1] });
                Some(pairs.filter(|window| window.contains(time)).collect())
            }
        }
    }

    /// Whether a window is one of these.
    #[must_use]
    pub fn has(&self, window: Window) -> bool {
        let (start, end) = (i128::from(window.start), i128::from(window.end));
        match *self {
            Self::Sliding { size, slide, offset } => {
                start == floor(start, slide, offset) && end == start + size
            }
            Self::Cumulative { step, max, offset } => {
                let length = end - start;
                start == floor(start, max, offset) && (step..=max).contains(&length) && length % step == 0
            }
            Self::Edges(ref edges) => {
                edges.windows(2).any(|pair| (pair[0], pair[1]) == (window.start, window.end))
            }
        }
    }

    /// The windows that end after one time and not after another, by their ends;
    /// no two end together.
    #[must_use]
    pub fn ending_in(&self, after: i64, up_to: i64) -> Vec<Window> {
        let first = i128::from(after) + 1;
        match *self {
            Self::Sliding { size, slide, offset } => {
                let ends = multiples(first, up_to.into(), slide, offset + size);
                ends.filter_map(|end| fitting(end - size, end)).collect()
            }
            Self::Cumulative { step, max, offset } => {
                let ends = multiples(first, up_to.into(), step, offset);
                ends.filter_map(|end| fitting(floor(end - 1, max, offset), end)).collect()
            }
            Self::Edges(ref edges) => {
                let pairs = edges.windows(2).map(|pair| Window { start: pair[0], end: pair[1] });
                pairs.filter(|window| after < window.end && window.end <= up_to).collect()
            }
        }
    }

    /// The smallest end of any window that is not closed at a watermark, fitting
    /// or not; `None` when all are, as at the end of input.
    #[must_use]
    pub fn first_open_end(&self, lateness: i64, watermark: i64) -> Option<i128> {
        if watermark == i64::MAX {
            return None;
        }
        // Open is end + lateness > watermark.
        let closed = i128::from(watermark) - i128::from(lateness);
        match *self {
            Self::Sliding { size, slide, offset } => Some(floor(closed, slide, offset + size) + slide),
            // With a cycle being a whole number of steps, the ends are too.
            Self::Cumulative { step, offset, .. } => Some(floor(closed, step, offset) + step),
            Self::Edges(ref edges) => edges[1..].iter().map(|&end| end.into()).find(|&end| end > closed),
        }
    }
}

fn sliding_windows(size: i128, slide: i128, offset: i128, time: i128) -> Option<Vec<Window>> {
    // The end of the last window that starts below the limit, the start of the
    // first that ends above it: gaps out there are as far out as the windows.
    let lowest = floor(i128::from(i64::MIN) - 1, slide, offset) + size;
    let highest = floor(i128::from(i64::MAX) - size, slide, offset) + slide;
    if time < lowest || time >= highest {
        return None;
    }
    let mut windows = Vec::new();
    let mut start = floor(time, slide, offset);
    while start + size > time {
        windows.push(fitting(start, start + size)?);
        start -= slide;
    }
    windows.reverse();
    Some(windows)
}

fn cumulative_windows(step: i128, max: i128, offset: i128, time: i128) -> Option<Vec<Window>> {
    let start = floor(time, max, offset);
    let mut windows = Vec::new();
    let mut end = start + max;
    while end > time {
        windows.push(fitting(start, end)?);
        end -= step;
    }
    windows.reverse();
    Some(windows)
}

fn fitting(start: i128, end: i128) -> Option<Window> {
    Some(Window { start: i64::try_from(start).ok()?, end: i64::try_from(end).ok()? })
}

/// All `offset + k * distance` from `first` to `last`.
fn multiples(first: i128, last: i128, distance: i128, offset: i128) -> impl Iterator<Item = i128> {
    let from = floor(first - 1, distance, offset) + distance;
    (0..).map(move |k| from + k * distance).take_while(move |&at| at <= last)
}

/// The largest `offset + k * distance` that is not above `time`. Floor division,
/// so that it is right below zero too (T3).
fn floor(time: i128, distance: i128, offset: i128) -> i128 {
    offset + (time - offset).div_euclid(distance) * distance
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn sliding(size: i64, slide: i64, offset: i64) -> Grid {
        Grid::of(&Kind::Sliding { size, slide, offset }).unwrap()
    }

    fn cumulative(step: i64, max: i64, offset: i64) -> Grid {
        Grid::of(&Kind::Cumulative { step, max, offset }).unwrap()
    }

    fn bounds(grid: &Grid, time: i64) -> Vec<(i64, i64)> {
        let windows = grid.windows_of(time).unwrap();
        windows.iter().map(|window| (window.start, window.end)).collect()
    }

    fn starts(size: i64, slide: i64, offset: i64, time: i64) -> Vec<i64> {
        bounds(&sliding(size, slide, offset), time).iter().map(|window| window.0).collect()
    }

    #[test]
    fn t3_windows_by_hand() {
        assert_eq!(starts(10, 10, 0, -1), [-10]);
        assert_eq!(starts(10, 10, 0, 10), [10]);
        assert_eq!(starts(10, 10, -3, -4), [-13]);
        assert_eq!(starts(10, 10, -3, 7), [7]);
        assert_eq!(starts(10, 3, 0, 0), [-9, -6, -3, 0]);
        assert_eq!(starts(10, 3, 0, 1), [-6, -3, 0]);
        assert_eq!(starts(4, 10, 0, 3), [0]);
        assert_eq!(starts(4, 10, 0, 4), [0; 0], "a gap");
    }

    #[test]
    fn t3_windows_are_those_of_the_definition() {
        for (size, slide) in (1..7).flat_map(|size| (1..9).map(move |slide| (size, slide))) {
            for (offset, time) in (-20..20).flat_map(|o| (-20..20).map(move |t| (o, t))) {
                let all = (-50..50).map(|k| offset + k * slide);
                let expected: Vec<i64> = all.filter(|s| (*s..s + size).contains(&time)).collect();
                assert_eq!(starts(size, slide, offset, time), expected);
            }
        }
    }

    #[test]
    fn a1_cumulative_windows_by_hand() {
        let grid = cumulative(10, 30, 0);
        assert_eq!(bounds(&grid, 0), [(0, 10), (0, 20), (0, 30)]);
        assert_eq!(bounds(&grid, 9), [(0, 10), (0, 20), (0, 30)]);
        assert_eq!(bounds(&grid, 10), [(0, 20), (0, 30)]);
        assert_eq!(bounds(&grid, 29), [(0, 30)]);
        assert_eq!(bounds(&grid, 30), [(30, 40), (30, 50), (30, 60)]);
        assert_eq!(bounds(&grid, -1), [(-30, 0)]);
        assert_eq!(bounds(&cumulative(5, 10, -3), -4), [(-13, -3)]);
        assert_eq!(bounds(&cumulative(7, 7, 0), 6), [(0, 7)], "one step is tumbling");
    }

    #[test]
    fn a1_cumulative_windows_are_those_of_the_definition() {
        for (step, steps, offset) in
            (1..5).flat_map(|s| (1..5).flat_map(move |n| (-9..9).map(move |o| (s, n, o))))
        {
            let (max, grid) = (step * steps, cumulative(step, step * steps, offset));
            for time in -20..20 {
                let cycles = (-50..50).map(|k| offset + k * max);
                let all = cycles.flat_map(|c| (1..=steps).map(move |i| (c, c + i * step)));
                let expected: Vec<_> = all.filter(|(start, end)| (*start..*end).contains(&time)).collect();
                assert_eq!(bounds(&grid, time), expected, "{grid:?} {time}");
            }
        }
    }

    #[test]
    fn a1_edges_and_the_global_window_by_hand() {
        let edges = Grid::of(&Kind::Edges { edges: vec![-5, 0, 2, 9] }).unwrap();
        assert_eq!(bounds(&edges, -6), [(0, 0); 0]);
        assert_eq!(bounds(&edges, -5), [(-5, 0)]);
        assert_eq!(bounds(&edges, 1), [(0, 2)]);
        assert_eq!(bounds(&edges, 8), [(2, 9)]);
        assert_eq!(bounds(&edges, 9), [(0, 0); 0]);
        assert!(edges.windows_of(i64::MAX).is_none());
        let global = Grid::of(&Kind::Global).unwrap();
        assert_eq!(bounds(&global, i64::MIN), [(i64::MIN, i64::MAX)]);
        assert_eq!(bounds(&global, i64::MAX - 1), [(i64::MIN, i64::MAX)]);
        assert!(global.windows_of(i64::MAX).is_none());
    }

    #[test]
    fn a1_only_windows_of_the_grid_are_of_the_grid() {
        let edges = Grid::of(&Kind::Edges { edges: vec![-5, 0, 2, 9] }).unwrap();
        for grid in [sliding(5, 2, 1), sliding(2, 3, 0), cumulative(2, 6, 1), edges] {
            for (start, end) in (-15..15).flat_map(|start| (start + 1..16).map(move |end| (start, end))) {
                let window = Window { end, start };
                let expected = grid.windows_of(start).unwrap().contains(&window);
                assert_eq!(grid.has(window), expected, "{grid:?} {window:?}");
            }
        }
    }

    /// By looking at the windows of all times around.
    #[test]
    fn f1_ends_are_those_of_the_definition() {
        let edges = Grid::of(&Kind::Edges { edges: vec![-40, -7, 0, 2, 40] }).unwrap();
        let grids = [sliding(7, 3, 1), sliding(3, 5, -1), cumulative(2, 6, 1), cumulative(4, 4, 0), edges];
        for (grid, after, up_to) in
            grids.iter().flat_map(|g| (-15..15).flat_map(move |a| (-15..15).map(move |b| (g, a, b))))
        {
            let all = (-40..40).flat_map(|time| grid.windows_of(time).unwrap());
            let ending = all.filter(|window| (after + 1..=up_to).contains(&window.end));
            let expected: BTreeSet<Window> = ending.collect();
            let expected: Vec<Window> = expected.into_iter().collect();
            assert_eq!(grid.ending_in(after, up_to), expected, "{grid:?} {after} {up_to}");
        }
        let at_the_end = sliding(10, 10, 0).ending_in(i64::MAX - 20, i64::MAX);
        let ends: Vec<i64> = at_the_end.iter().map(|window| window.end).collect();
        assert_eq!(ends, [i64::MAX - 17, i64::MAX - 7], "none ends behind the end of time");
    }

    #[test]
    fn t2_limits_by_hand() {
        // Starts near MIN are MIN-2, MIN+8; ends near MAX are MAX-5, MAX+5.
        assert_eq!(i64::MIN % 10, -8);
        for tens in [sliding(10, 10, 0), cumulative(5, 10, 0), cumulative(1, 10, 0)] {
            let fits = |time| tens.windows_of(time).is_some();
            assert!(!fits(i64::MIN + 7) && fits(i64::MIN + 8), "{tens:?}");
            assert!(!fits(i64::MAX - 7) && fits(i64::MAX - 8), "{tens:?}");
        }
        let exact = sliding(10, 10, i64::MIN);
        assert!(exact.windows_of(i64::MIN).is_some(), "a window starts at MIN");
        assert!(sliding(1, 1, 0).windows_of(i64::MIN).is_some());
        assert!(sliding(1, 1, 0).windows_of(i64::MAX).is_none(), "its end is MAX + 1");
        assert!(sliding(1, 1, 0).windows_of(i64::MAX - 1).is_some());
    }

    /// A time is admitted if all windows that contain it fit, or, in a gap, if
    /// no window between it and the middle of time fails to.
    #[test]
    fn t2_limits_are_those_of_the_definition() {
        let (min, max) = (i128::from(i64::MIN), i128::from(i64::MAX));
        let shapes = (1..6).flat_map(|size| (1..8).map(move |slide| (size, slide)));
        for ((size, slide), offset) in shapes.flat_map(|shape| (0..9).map(move |o| (shape, o))) {
            let grid = sliding(size, slide, offset);
            let misfits = |edge: i128| {
                (edge - 30..edge + 30)
                    .filter(move |start| (start - i128::from(offset)) % i128::from(slide) == 0)
                    .map(move |start| (start, start + i128::from(size)))
                    .filter(move |&(start, end)| start < min || end > max)
            };
            for time in (0..30).flat_map(|by| [i64::MIN + by, i64::MAX - by]) {
                let at = i128::from(time);
                let refused = if time == i64::MAX {
                    true
                } else if time < 0 {
                    misfits(min).any(|(_, end)| at < end)
                } else {
                    misfits(max).any(|(start, _)| at >= start)
                };
                assert_eq!(grid.windows_of(time).is_none(), refused, "{grid:?} {time}");
            }
        }
    }

    /// By looking at the windows of all times around.
    #[test]
    fn f7_first_open_ends_are_those_of_the_definition() {
        let edges = Grid::of(&Kind::Edges { edges: vec![-40, -7, 0, 2, 40] }).unwrap();
        let grids = [sliding(7, 3, 1), sliding(3, 5, -1), cumulative(2, 6, 1), cumulative(4, 4, 0), edges];
        for (grid, lateness, watermark) in
            grids.iter().flat_map(|g| (0..4).flat_map(move |l| (-15..15).map(move |w| (g, l, w))))
        {
            let all = (-40..40).flat_map(|time| grid.windows_of(time).unwrap());
            let open = all.filter(|window| !window.is_closed(lateness, watermark));
            let expected = open.map(|window| window.end.into()).min();
            assert_eq!(grid.first_open_end(lateness, watermark), expected, "{grid:?} {lateness} {watermark}");
        }
        let passed = Grid::of(&Kind::Edges { edges: vec![0, 2] }).unwrap();
        assert_eq!(passed.first_open_end(3, 4), Some(2));
        assert_eq!(passed.first_open_end(3, 5), None);
    }
}
