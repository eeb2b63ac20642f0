//! The grid of aligned windows: the one place that computes alignment (T3, A1).
//!
//! Tumbling and sliding windows are one thing here: a window starts every `slide` and lasts `size`. Time is
//! cut into *slices* wherever a window starts or ends, so that a window is a run of whole slices and an
//! event touches one slice however many windows overlap it (Krishnamurthy et al., "On-the-fly sharing
//! for streamed aggregation", SIGMOD 2006; Traub et al., "Scotty", ICDE 2018).
//!
//! Slices are named by ordinals. Where `size` is a multiple of `slide`, one slice lies between two window
//! starts; otherwise two do, cut at `size mod slide`. With `slide > size` the second of them lies in no
//! window: a gap.
//!
//! Bounds of everything that [`Grid::admits`] fit `i64`, and saturate elsewhere; the arithmetic on the way
//! there is done in `i128`, and none of it is on the hot path (that is [`Ruler`]).

/// A window's start and end, in microseconds.
pub(crate) type Bounds = (i64, i64);

/// The grid of windows `[anchor + k·slide, anchor + k·slide + size)` for all integers `k`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grid {
    size: i64,
    slide: i64,
    /// The offset, brought into `[0, slide)`.
    anchor: i64,
    /// `size mod slide`: where a slide is cut in two, or 0 where it is whole.
    cut: i64,
    /// The first instant all of whose windows fit the range of time.
    first: i64,
    /// The first instant after it for which that no longer holds.
    beyond: i64,
}

impl Grid {
    /// `size` and `slide` must be positive.
    pub(crate) fn new(size: i64, slide: i64, offset: i64) -> Self {
        debug_assert!(size > 0 && slide > 0);
        let anchor = offset.rem_euclid(slide);
        let mut grid = Self { size, slide, anchor, cut: size % slide, first: 0, beyond: 0 };
        // The last window that starts before time begins is the last that does not fit.
        let misfit = grid.floor(i128::from(i64::MIN) - 1);
        grid.first = clamp(grid.start(misfit) + i128::from(size));
        // The first that ends after time does.
        let misfit = grid.floor(i128::from(i64::MAX) - i128::from(size)) + 1;
        grid.beyond = clamp(grid.start(misfit));
        grid
    }

    fn floor(&self, time: i128) -> i128 {
        let time = time - i128::from(self.anchor);
        match i64::try_from(time) {
            // As it almost always is, and several times as fast.
            Ok(time) => i128::from(time.div_euclid(self.slide)),
            Err(_) => time.div_euclid(i128::from(self.slide)),
        }
    }

    fn start(&self, window: i128) -> i128 {
        i128::from(self.anchor) + window * i128::from(self.slide)
    }

    /// Size, slide and offset, the last brought into `[0, slide)`.
    pub(crate) fn shape(&self) -> (i64, i64, i64) {
        (self.size, self.slide, self.anchor)
    }

    /// The instants whose windows all fit the range of time (T2), as `[first, beyond)`.
    pub(crate) fn admits(&self) -> (i64, i64) {
        (self.first, self.beyond)
    }

    // Windows.

    /// The last window that has ended by `time`.
    fn last_ended(&self, time: impl Into<i128>) -> i128 {
        self.floor(time.into() - i128::from(self.size))
    }

    fn bounds(&self, window: i128) -> Bounds {
        let start = self.start(window);
        (clamp(start), clamp(start + i128::from(self.size)))
    }

    /// Of the windows that end after `time` the one that ends first.
    pub(crate) fn first_ending_after(&self, time: impl Into<i128>) -> Bounds {
        self.bounds(self.last_ended(time) + 1)
    }

    /// The last of the windows that have started by `time`.
    pub(crate) fn last_starting_by(&self, time: i64) -> Bounds {
        self.bounds(self.floor(i128::from(time)))
    }

    /// Of the windows that contain `time` the last that has ended by `upto`, if one has, and how many those are.
    pub(crate) fn ended_of(&self, time: i64, upto: i64) -> Option<(Bounds, u64)> {
        let last = self.last_ended(upto).min(self.floor(i128::from(time)));
        let count = last - self.last_ended(time);
        (count > 0).then(|| (self.bounds(last), count as u64))
    }

    /// The first start of a window after `time`.
    pub(crate) fn next_start(&self, time: i64) -> i64 {
        clamp(self.start(self.floor(i128::from(time)) + 1))
    }

    // Slices.

    /// Slices between one window start and the next: 1, or 2 where `size` is no multiple of `slide`.
    pub(crate) fn slices_per_slide(&self) -> i64 {
        if self.cut == 0 { 1 } else { 2 }
    }

    /// The slice that `time` falls into.
    pub(crate) fn slice_of(&self, time: i64) -> i64 {
        let slide = self.floor(i128::from(time));
        let within = i128::from(time) - self.start(slide);
        let slice = match self.cut {
            0 => slide,
            cut => 2 * slide + i128::from(within >= i128::from(cut)),
        };
        // Saturating: only the rest of a gap at the very edges of time has no number; any gap's will do.
        clamp(slice)
    }

    /// Where a slice starts.
    pub(crate) fn slice_start(&self, slice: i64) -> i64 {
        let per_slide = self.slices_per_slide();
        let whole = self.start(i128::from(slice.div_euclid(per_slide)));
        clamp(whole + i128::from(slice.rem_euclid(per_slide) * self.cut))
    }

    /// The smallest multiple of the slices in a slide that is not above `slice`.
    pub(crate) fn whole_slide(&self, slice: i64) -> i64 {
        slice - slice.rem_euclid(self.slices_per_slide())
    }

    pub(crate) fn ruler(&self) -> Ruler {
        let slide = self.slide as u64;
        let shift = slide.ilog2();
        Ruler {
            slide,
            reciprocal: (1_u128 << (63 + shift)).div_ceil(u128::from(slide)) as u64,
            shift,
            cut: if self.cut == 0 { None } else { Some(self.cut as u64) },
        }
    }
}

/// The windows `[c, c + i·step)` for `i = 1..=max/step` and all `c = offset + k·max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cumulative {
    step: i64,
    /// The cycles: the longest windows are a tumbling grid.
    cycles: Grid,
}

impl Cumulative {
    /// `step` must be a part of `max`.
    pub(crate) fn new(step: i64, max: i64, offset: i64) -> Self {
        Self { step, cycles: Grid::new(max, max, offset) }
    }

    pub(crate) fn admits(&self) -> (i64, i64) {
        self.cycles.admits()
    }

    /// Step, longest window and offset.
    pub(crate) fn shape(&self) -> (i64, i64, i64) {
        let (max, _, anchor) = self.cycles.shape();
        (self.step, max, anchor)
    }

    /// Of the windows that end after `time` the one that ends first.
    pub(crate) fn first_ending_after(&self, time: impl Into<i128>) -> Bounds {
        let time = time.into();
        let cycle = self.cycles.start(self.cycles.floor(time));
        let steps = (time - cycle) / i128::from(self.step) + 1;
        (clamp(cycle), clamp(cycle + steps * i128::from(self.step)))
    }

    /// The last of the windows that contain `time`.
    pub(crate) fn last_of(&self, time: i64) -> Bounds {
        self.cycles.first_ending_after(time)
    }

    /// Of the windows that contain `time` the last that has ended by `upto`, if one has, and how many those are.
    pub(crate) fn ended_of(&self, time: i64, upto: i64) -> Option<(Bounds, u64)> {
        let (start, end) = self.last_of(time);
        let steps = |until: i64| (i128::from(until) - i128::from(start)) / i128::from(self.step);
        let last = steps(upto.min(end));
        let count = last - steps(time);
        (count > 0).then(|| ((start, clamp(i128::from(start) + last * i128::from(self.step))), count as u64))
    }
}

fn clamp(time: i128) -> i64 {
    time.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

/// The hot path's part of a [`Grid`]: how many slices lie between the start of a slide and an instant
/// after it, without a hardware division (which costs as much as the rest of an insert).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ruler {
    slide: u64,
    /// `⌈2^(63 + shift) / slide⌉`, with `shift` such that it takes all 64 bits (Granlund and Montgomery,
    /// "Division by invariant integers using multiplication", PLDI 1994).
    reciprocal: u64,
    shift: u32,
    cut: Option<u64>,
}

impl Ruler {
    /// Distances below this are measured exactly: an excess of less than `slide < 2^(shift + 1)` in the
    /// reciprocal, times the distance, stays below the `2^(63 + shift)` that it is divided by.
    pub(crate) const REACH: u64 = 1 << 62;

    /// Slices from the start of a slide to the instant `distance` microseconds after it.
    #[inline(always)]
    pub(crate) fn slices(&self, distance: u64) -> u64 {
        debug_assert!(distance < Self::REACH);
        let slides = ((u128::from(2 * distance) * u128::from(self.reciprocal)) >> 64) as u64 >> self.shift;
        match self.cut {
            None => slides,
            Some(cut) => 2 * slides + u64::from(distance - slides * self.slide >= cut),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn windows_by_hand(size: i64, slide: i64, offset: i64, time: i64) -> alloc::vec::Vec<(i64, i64)> {
        let near = (time - offset).div_euclid(slide);
        (near - size / slide - 2..=near + 2)
            .map(|k| offset + k * slide)
            .filter(|&start| start <= time && time < start + size)
            .map(|start| (start, start + size))
            .collect()
    }

    fn any_shape() -> impl Strategy<Value = (i64, i64, i64)> {
        (1..40i64, 1..40i64, -100..100i64)
    }

    proptest! {
        #[test]
        fn a1_t3_slices_and_windows_agree_with_counting(
            (size, slide, offset) in any_shape(), time in -500..500i64, after in 0..200i64,
        ) {
            let grid = Grid::new(size, slide, offset);
            let slice = grid.slice_of(time);
            prop_assert!(grid.slice_start(slice) <= time && time < grid.slice_start(slice + 1));
            let expected = windows_by_hand(size, slide, offset, time);
            let mut mine = alloc::vec::Vec::new();
            let mut window = grid.first_ending_after(time);
            while window.0 <= time {
                // Every window is a run of whole slices.
                for edge in [window.0, window.1] {
                    prop_assert_eq!(grid.slice_start(grid.slice_of(edge)), edge);
                }
                mine.push(window);
                window = grid.first_ending_after(window.1);
            }
            prop_assert_eq!(&mine, &expected);
            if let Some(last) = expected.last() {
                prop_assert_eq!(grid.last_starting_by(time), *last);
            }
            let ended: alloc::vec::Vec<_> = expected.iter().filter(|w| w.1 <= time + after).collect();
            let found = ended.last().map(|last| (**last, ended.len() as u64));
            prop_assert_eq!(grid.ended_of(time, time + after), found);
            let start = grid.next_start(time);
            prop_assert!(start > time && start - slide <= time && (start - offset) % slide == 0);
        }

        #[test]
        fn a1_cumulative_windows_agree_with_counting(
            step in 1..10i64, steps in 1..8i64, offset in -50..50i64, time in -200..200i64, after in 0..100i64,
        ) {
            let grid = Cumulative::new(step, step * steps, offset);
            let cycle = offset + (time - offset).div_euclid(step * steps) * step * steps;
            let expected: alloc::vec::Vec<_> =
                (1..=steps).map(|i| (cycle, cycle + i * step)).filter(|w| w.1 > time).collect();
            prop_assert_eq!(grid.first_ending_after(time), expected[0]);
            prop_assert_eq!(grid.last_of(time), expected[expected.len() - 1]);
            let ended: alloc::vec::Vec<_> = expected.iter().filter(|w| w.1 <= time + after).collect();
            let found = ended.last().map(|last| (**last, ended.len() as u64));
            prop_assert_eq!(grid.ended_of(time, time + after), found);
        }

        #[test]
        fn the_ruler_divides_exactly(
            slide in prop_oneof![1..100i64, 1..i64::MAX],
            size in prop_oneof![1..100i64, 1..i64::MAX],
            distance in prop_oneof![0..1000u64, 0..Ruler::REACH],
        ) {
            let grid = Grid::new(size, slide, 0);
            let whole = distance / slide as u64;
            let expected = match grid.slices_per_slide() {
                1 => whole,
                _ => 2 * whole + u64::from(distance % slide as u64 >= (size % slide) as u64),
            };
            prop_assert_eq!(grid.ruler().slices(distance), expected);
        }

        #[test]
        fn t2_what_is_admitted_fits(
            size in prop_oneof![1..50i64, 1..i64::MAX],
            slide in prop_oneof![1..50i64, 1..i64::MAX],
            offset in any::<i64>(),
            from_edge in 0..200i64,
        ) {
            let grid = Grid::new(size, slide, offset);
            let (first, beyond) = grid.admits();
            for time in [i64::MIN + from_edge, i64::MAX - from_edge, first, beyond.saturating_sub(1)] {
                if !(first <= time && time < beyond) {
                    continue;
                }
                if grid.first_ending_after(time).0 > time {
                    // In a gap.
                    continue;
                }
                let slice = grid.slice_of(time);
                prop_assert!(i128::from(grid.slice_start(slice)) <= i128::from(time));
                for (start, end) in [grid.first_ending_after(time), grid.last_starting_by(time)] {
                    if start > time || time >= end {
                        continue;
                    }
                    prop_assert_eq!(i128::from(end) - i128::from(start), i128::from(size));
                }
            }
        }
    }
}
