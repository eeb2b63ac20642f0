//! How time is cut into slices that several definitions of windows share (A3).
//!
//! A window of any of them is a run of whole slices, so an event touches one slice however many windows it is in
//! (Krishnamurthy et al., "On-the-fly sharing for streamed aggregation", SIGMOD 2006). Nothing outside this file knows
//! what a slice's number means, but that later slices have higher ones.

use alloc::vec::Vec;

use crate::grid::{Bounds, Grid};
use crate::windows::{Assigner, Definition};

/// A cut of time into slices.
#[derive(Clone, Debug)]
pub(crate) enum Lattice {
    /// Evenly: slices are numbered.
    Even(Grid),
    /// Wherever a window of one of these starts or ends: a slice's number is its last instant.
    Edges(Vec<Assigner>),
}

/// So many times more slices than there are edges are accepted where they are even.
const TOO_FINE: u128 = 8;

impl Lattice {
    pub(crate) fn of<'a>(definitions: impl Iterator<Item = &'a Definition>) -> Self {
        let assigners: Vec<Assigner> = definitions.map(|definition| definition.assigner.clone()).collect();
        match assigners.as_slice() {
            [Assigner::Periodic(grid)] => Self::Even(*grid),
            all => even(all).map_or(Self::Edges(assigners), Self::Even),
        }
    }

    /// The grid whose slices these are, if they are even.
    pub(crate) fn grid(&self) -> Option<&Grid> {
        match self {
            Self::Even(grid) => Some(grid),
            Self::Edges(_) => None,
        }
    }

    pub(crate) fn slice_of(&self, time: i64) -> i64 {
        match self {
            Self::Even(grid) => grid.slice_of(time),
            Self::Edges(assigners) => {
                let edges = assigners.iter().filter_map(|assigner| assigner.next_edge(time));
                edges.min().map_or(i64::MAX, |edge| edge - 1)
            }
        }
    }

    /// An instant in a slice: of even ones, the first.
    pub(crate) fn instant(&self, slice: i64) -> i64 {
        match self {
            Self::Even(grid) => grid.slice_start(slice),
            Self::Edges(_) => slice,
        }
    }

    /// Where a slice ends.
    pub(crate) fn end_of(&self, slice: i64) -> i64 {
        match self {
            Self::Even(grid) => grid.slice_start(slice.saturating_add(1)),
            Self::Edges(_) => slice.saturating_add(1),
        }
    }

    /// The slices `[first, beyond)` of a window, or of the time between two edges.
    pub(crate) fn slices(&self, (start, end): Bounds) -> (i64, i64) {
        match self {
            Self::Even(grid) => (grid.slice_of(start), grid.slice_of(end)),
            Self::Edges(_) => (start, end),
        }
    }

    /// The most slices between the end of one of these windows and that of the next.
    pub(crate) fn slices_per_slide(&self, windows: &Assigner) -> usize {
        let between = |(period, _, offset): (u64, u64, i64)| {
            let (first, beyond) = self.slices((offset, offset.saturating_add_unsigned(period)));
            usize::try_from(beyond - first).ok()
        };
        self.grid().and_then(|_| windows.period()).and_then(between).unwrap_or(usize::MAX)
    }

    /// The edges that `slices` gives these slices for.
    pub(crate) fn bounds(&self, (first, beyond): (i64, i64)) -> Bounds {
        match self {
            Self::Even(grid) => (grid.slice_start(first), grid.slice_start(beyond)),
            Self::Edges(_) => (first, beyond),
        }
    }

    /// From when on no slice has any part in a window that ends by `watermark`.
    pub(crate) fn sealed_at(&self, watermark: i64) -> i64 {
        match self {
            Self::Even(grid) if watermark < i64::MAX => grid.slice_start(grid.slice_of(watermark)),
            _ => watermark,
        }
    }
}

/// Even slices for all of these, unless they would be much finer than the windows ask for.
fn even(assigners: &[Assigner]) -> Option<Grid> {
    let (mut unit, mut anchor) = (0, None);
    for assigner in assigners {
        let (period, within, offset) = assigner.period()?;
        let anchor = *anchor.get_or_insert(offset);
        unit = [period, within, offset.abs_diff(anchor)].into_iter().fold(unit, gcd);
    }
    // Edges of all definitions in the time of as many slices as this.
    const SLICES: u128 = 1 << 32;
    let edges = |assigner: &Assigner| {
        let (period, within, _) = assigner.period()?;
        let each = if within % period == 0 { 1 } else { 2 };
        Some(each * SLICES * u128::from(unit) / u128::from(period))
    };
    let edges: u128 = assigners.iter().filter_map(edges).sum();
    let unit = i64::try_from(unit).ok().filter(|&unit| unit > 0)?;
    (edges * TOO_FINE >= SLICES).then(|| Grid::new(unit, unit, anchor.unwrap_or(0)))
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;
    use proptest::prelude::*;

    use crate::windows::Windows;

    fn lattice(windows: &[Windows]) -> Lattice {
        let definitions: Vec<Definition> = windows.iter().map(|windows| windows.rules().unwrap()).collect();
        Lattice::of(definitions.iter())
    }

    fn sliding((size, slide, offset): (i64, i64, i64)) -> Windows {
        let micros = TimeDelta::microseconds;
        Windows::sliding(micros(size), micros(slide)).offset(micros(offset))
    }

    #[test]
    fn a3_slices_are_even_unless_that_is_too_fine() {
        let tumbling = |size| sliding((size, size, 0));
        let seconds: Vec<Windows> = (1..=80).map(|n| tumbling(n * 1_000_000)).collect();
        assert_eq!(lattice(&seconds).grid().unwrap().shape(), (1_000_000, 1_000_000, 0));
        assert_eq!(lattice(&[tumbling(6), sliding((9, 3, 4))]).grid().unwrap().shape(), (1, 1, 0));
        assert!(lattice(&[tumbling(1_000_000), tumbling(999_999)]).grid().is_none());
        let micros = TimeDelta::microseconds;
        let cumulative = Windows::cumulative(micros(10), micros(60)).offset(micros(5));
        assert_eq!(lattice(&[cumulative, tumbling(15)]).grid().unwrap().shape(), (5, 5, 0));
    }

    proptest! {
        #[test]
        fn a3_windows_of_all_definitions_are_whole_slices(
            shapes in prop::collection::vec((1..30i64, 1..30i64, -30..30i64), 1..4),
            times in prop::collection::vec(-200..200i64, 1..40),
            fine in any::<bool>(),
        ) {
            let windows: Vec<Windows> = shapes.iter().copied().map(sliding).collect();
            let definitions: Vec<Definition> = windows.iter().map(|w| w.rules().unwrap()).collect();
            let lattice = match fine {
                true => Lattice::of(definitions.iter()),
                false => Lattice::Edges(definitions.iter().map(|d| d.assigner.clone()).collect()),
            };
            for &time in &times {
                let slice = lattice.slice_of(time);
                prop_assert_eq!(lattice.slice_of(lattice.instant(slice)), slice);
                prop_assert!(lattice.end_of(slice) > time);
                prop_assert_eq!(lattice.slice_of(lattice.end_of(slice) - 1), slice);
                let sealed = lattice.sealed_at(time);
                for definition in &definitions {
                    let windows: Vec<Bounds> = definition.assigner.windows_of(time).collect();
                    let same: Vec<Bounds> = definition.assigner.windows_of(lattice.instant(slice)).collect();
                    prop_assert_eq!(&windows, &same, "one slice, the same windows");
                    for window in windows {
                        let (first, beyond) = lattice.slices(window);
                        prop_assert!(first <= slice && slice < beyond);
                        prop_assert_eq!(lattice.bounds((first, beyond)), window);
                        for other in &times {
                            let inside = window.0 <= *other && *other < window.1;
                            let other = lattice.slice_of(*other);
                            prop_assert_eq!(inside, first <= other && other < beyond);
                        }
                        prop_assert!(window.1 > sealed || lattice.slice_of(sealed) >= beyond);
                    }
                }
            }
        }
    }
}
