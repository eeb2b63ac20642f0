//! When cells are due: a queue by time.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::RangeInclusive;

use super::Rank;
use crate::queue::growth;
use crate::windows::{Assigner, Base, Definition};

/// A calendar queue (Brown, "Calendar queues: a fast O(1) priority queue implementation for the simulation event set
/// problem", CACM 1988): a timer is put down under its day, in no order; a day is sorted when the watermark gets there.
///
/// A day is a power of two of microseconds, short enough that few timers are sorted together, long enough that most
/// days have some. The year has 64 of them; days of other years are in a tree. A day that has many timers is parted, and they are
/// sorted a part at a time.
#[derive(Debug)]
pub(super) struct Timers {
    /// The logarithm of a day.
    shift: u32,
    /// Timers of what was taken last, and up to that, last first.
    first: Vec<Timer>,
    /// The last instant of what was taken last.
    taken: Option<i64>,
    /// The first day of the year, and its days, each in the place of its number modulo 64. Empty or 64.
    new_year: i64,
    year: Vec<Stretch>,
    /// Which of those places have any.
    busy: u64,
    other_years: BTreeMap<i64, Stretch>,
    size: Size,
}

/// What all lists take.
#[derive(Clone, Copy, Debug, Default)]
struct Size {
    /// Cells that they have room for, all and the longest of them, at most.
    room: usize,
    longest: usize,
    /// How many days have been parted.
    parted: usize,
}

/// The cells of the timers of a stretch of time, or of each 64th of it.
#[derive(Debug, Default)]
struct Stretch {
    cells: Vec<u32>,
    /// None or 64, and which of them have any.
    parts: Vec<Self>,
    busy: u64,
}

/// Timers that are sorted together, at most, unless they are nearly at the same instant.
const MANY: usize = 1 << 13;
/// The logarithm of the number of parts.
const PARTS: u32 = 6;

impl Stretch {
    fn is_empty(&self) -> bool {
        self.cells.is_empty() && self.busy == 0
    }

    /// Puts a cell under an instant of this, which is two to the `shift` long. One that has many is parted, by where those of its
    /// cells are that are armed.
    fn push(&mut self, (at, shift): (i64, u32), cell: u32, size: &mut Size, armed: &impl Fn(u32) -> i64) {
        if self.parts.is_empty() && self.cells.len() >= MANY && shift > PARTS {
            let cells = core::mem::take(&mut self.cells);
            size.room -= cells.capacity();
            size.parted += 1;
            self.parts.resize_with(1 << PARTS, Self::default);
            // (All are asked first: cells are far away, and their misses overlap here.)
            let instants: Vec<i64> = cells.iter().map(|&cell| armed(cell)).collect();
            let is_here = |(_, other): &(u32, i64)| (other ^ at) >> shift == 0;
            for (cell, at) in cells.into_iter().zip(instants).filter(is_here) {
                self.push_to_part((at, shift), cell, size, armed);
            }
        }
        if !self.parts.is_empty() {
            return self.push_to_part((at, shift), cell, size, armed);
        }
        let before = self.cells.capacity();
        self.cells.push(cell);
        size.room += self.cells.capacity() - before;
        size.longest = size.longest.max(self.cells.capacity());
    }

    fn push_to_part(
        &mut self,
        (at, shift): (i64, u32),
        cell: u32,
        size: &mut Size,
        armed: &impl Fn(u32) -> i64,
    ) {
        let (shift, last) = (shift - PARTS, (1 << PARTS) - 1);
        let part = at >> shift & last;
        self.busy |= 1 << part;
        self.parts[part as usize].push((at, shift), cell, size, armed);
    }

    /// Takes the cells of the first part of this, which begins at `from`, that has any and is not parted itself, and gives the
    /// instants that it is about.
    fn take_first(&mut self, (from, shift): (i64, u32), size: &mut Size) -> (RangeInclusive<i64>, Vec<u32>) {
        if self.busy == 0 {
            let cells = core::mem::take(&mut self.cells);
            size.room -= cells.capacity();
            return (from..=from | ((1 << shift) - 1), cells);
        }
        let place = self.busy.trailing_zeros();
        let part = &mut self.parts[place as usize];
        let first = part.take_first((from | i64::from(place) << (shift - PARTS), shift - PARTS), size);
        if part.is_empty() {
            self.busy &= !(1 << place);
        }
        if self.busy == 0 {
            self.parts = Vec::new();
            size.parted -= 1;
        }
        first
    }

    fn all(&self) -> Box<dyn Iterator<Item = u32> + '_> {
        Box::new(self.cells.iter().copied().chain(self.parts.iter().flat_map(Self::all)))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Timer {
    pub(super) rank: Rank,
    pub(super) cell: u32,
}

const YEAR: i64 = 64;
/// What a day takes that is parted: its parts, and their lists before they have grown.
const PARTED_BYTES: usize = (size_of::<Stretch>() + 4 * size_of::<u32>()) << PARTS;
/// Days in the shortest of the times that a definition is about: what is about to happen falls into this year.
const DAYS: i64 = 24;

impl Timers {
    pub(super) fn new(rules: &Definition) -> Self {
        Self {
            shift: (shortest(rules) / DAYS).max(1).ilog2(),
            first: Vec::new(),
            taken: None,
            new_year: 0,
            year: Vec::new(),
            busy: 0,
            other_years: BTreeMap::new(),
            size: Size::default(),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.first.capacity() * size_of::<Timer>()
            + self.year.capacity() * size_of::<Stretch>()
            + self.size.parted * PARTED_BYTES
            + self.size.room * size_of::<u32>()
            + self.other_years.len() * size_of::<(i64, Stretch)>()
    }

    /// Bytes by which so many timers more may make this grow.
    pub(super) fn growth(&self, more: usize) -> usize {
        let Size { room, longest, .. } = self.size;
        let year = if self.year.is_empty() { YEAR as usize * size_of::<Stretch>() } else { 0 };
        // Each list grows to twice its size at most, or is parted, and others are new.
        let parted = if longest < MANY { 0 } else { more * PARTED_BYTES };
        let lists = (more * longest).min(room) * size_of::<u32>();
        let new = more * (4 * size_of::<u32>() + size_of::<(i64, Stretch)>());
        // When a day is sorted its timers are all here.
        let sorted = growth::<Timer>(self.first.len(), self.first.capacity(), longest + more);
        year + parted + lists + new + sorted
    }

    fn day_of(&self, at: i64) -> i64 {
        at >> self.shift
    }

    /// Puts down the timer of a cell; `armed` is when the one of another cell goes off that counts.
    pub(super) fn push(&mut self, rank: Rank, cell: u32, armed: impl Fn(u32) -> i64) {
        if Some(rank.0) <= self.taken {
            let timer = Timer { rank, cell };
            let place = self.first.partition_point(|other| *other > timer);
            return self.first.insert(place, timer);
        }
        let day = self.day_of(rank.0);
        if self.year.is_empty() {
            self.year.resize_with(YEAR as usize, Stretch::default);
            self.new_year = day.saturating_sub(YEAR / 4);
        }
        if day < self.new_year {
            self.end_year();
            self.begin_year(day.saturating_sub(YEAR / 4));
        }
        let stretch = match self.is_this_year(day) {
            true => {
                self.busy |= 1 << day.rem_euclid(YEAR);
                &mut self.year[day.rem_euclid(YEAR) as usize]
            }
            false => self.other_years.entry(day).or_default(),
        };
        stretch.push((rank.0, self.shift), cell, &mut self.size, &armed);
    }

    fn is_this_year(&self, day: i64) -> bool {
        day >= self.new_year && day.abs_diff(self.new_year) < YEAR as u64
    }

    /// The first day that has timers which have not been taken.
    fn first_day(&self) -> Option<i64> {
        let other = self.other_years.first_key_value().map(|(&day, _)| day);
        let rotated = self.busy.rotate_right(self.new_year.rem_euclid(YEAR) as u32);
        let this = (self.busy != 0).then(|| self.new_year + i64::from(rotated.trailing_zeros()));
        [this, other].into_iter().flatten().min()
    }

    /// The first timer, if it is of what has been taken.
    pub(super) fn first(&self) -> Option<Timer> {
        self.first.last().copied()
    }

    /// When the first timer goes off, or a little earlier.
    pub(super) fn next(&self) -> i64 {
        let day = || self.first_day().map_or(i64::MAX, |day| day << self.shift);
        self.first.last().map_or_else(day, |timer| timer.rank.0)
    }

    pub(super) fn pop(&mut self) -> Option<Timer> {
        self.first.pop()
    }

    /// Takes the first day, or a part of it, if the day has begun at this watermark and nothing before has anything left: its
    /// instants, and the cells that are put down under them. Those must all be [put back](Self::put_back), or forgotten, and that
    /// [ended](Self::end_taking).
    pub(super) fn take_first(&mut self, watermark: i64) -> Option<(RangeInclusive<i64>, Vec<u32>)> {
        let day = self.first_day().filter(|&day| day <= self.day_of(watermark))?;
        if day != self.new_year {
            self.begin_year(day);
        }
        let place = day.rem_euclid(YEAR);
        let stretch = &mut self.year[place as usize];
        let (instants, cells) = stretch.take_first((day << self.shift, self.shift), &mut self.size);
        if stretch.is_empty() {
            self.busy &= !(1 << place);
        }
        self.taken = Some(*instants.end());
        Some((instants, cells))
    }

    /// The year begins with this day; none of the days before it that it had has any timers.
    fn begin_year(&mut self, day: i64) {
        self.new_year = day;
        while let Some((&other, _)) = self.other_years.range(day..).next()
            && day.abs_diff(other) < YEAR as u64
            && let Some(stretch) = self.other_years.remove(&other)
        {
            self.busy |= 1 << other.rem_euclid(YEAR);
            let place = &mut self.year[other.rem_euclid(YEAR) as usize];
            self.size.room -= place.cells.capacity();
            *place = stretch;
        }
    }

    /// All days of the year become days of another.
    fn end_year(&mut self) {
        for place in 0..YEAR {
            let Some(day) = self.new_year.checked_add(place) else { break };
            if self.busy & (1 << day.rem_euclid(YEAR)) != 0 {
                let stretch = core::mem::take(&mut self.year[day.rem_euclid(YEAR) as usize]);
                self.other_years.insert(day, stretch);
            }
        }
        self.busy = 0;
    }

    /// A timer of what is being taken, or of later.
    pub(super) fn put_back(&mut self, rank: Rank, cell: u32, armed: impl Fn(u32) -> i64) {
        match Some(rank.0) <= self.taken {
            true => self.first.push(Timer { rank, cell }),
            false => self.push(rank, cell, armed),
        }
    }

    /// After the last cell of what is being taken: sorts it. Its list is used again a year later.
    pub(super) fn end_taking(&mut self, from: i64, mut cells: Vec<u32>) {
        self.first.sort_unstable_by(|one, other| other.cmp(one));
        let place = self.day_of(from).rem_euclid(YEAR) as usize;
        let stretch = &mut self.year[place];
        if stretch.parts.is_empty() && stretch.cells.capacity() == 0 {
            cells.clear();
            self.size.room += cells.capacity();
            stretch.cells = cells;
        }
    }

    /// The cells of all timers that may be due at a watermark.
    pub(super) fn due(&self, watermark: i64) -> impl Iterator<Item = u32> + '_ {
        let first = self.first.iter().rev().take_while(move |timer| timer.rank.0 <= watermark);
        let last_day = self.day_of(watermark);
        let others = self.other_years.range(..=last_day).map(|(_, stretch)| stretch);
        let this = (0..YEAR)
            .filter_map(|place| self.new_year.checked_add(place))
            .take_while(move |&day| day <= last_day)
            .filter_map(|day| self.year.get(day.rem_euclid(YEAR) as usize));
        first.map(|timer| timer.cell).chain(others.chain(this).flat_map(Stretch::all))
    }
}

/// The shortest time between two things that a definition does.
fn shortest(rules: &Definition) -> i64 {
    let windows = match &rules.assigner {
        Assigner::Session { gap, .. } => Some(*gap),
        Assigner::Periodic(grid) => Some(grid.shape().1),
        Assigner::Cumulative(grid) => Some(grid.shape().0),
        Assigner::Global | Assigner::Own(_) => None,
    };
    let continuous = match rules.trigger.base {
        Base::Continuous(every) => Some(every),
        _ => None,
    };
    const A_SECOND: i64 = 1_000_000;
    [windows, continuous, rules.trigger.early_time].into_iter().flatten().min().unwrap_or(A_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;
    use proptest::prelude::*;

    use crate::windows::Windows;

    /// Takes whatever is due at a watermark, as the cells do.
    fn drain(timers: &mut Timers, ranks: &[Rank], watermark: i64) -> Vec<Timer> {
        let mut due = Vec::new();
        loop {
            match timers.first() {
                Some(timer) if timer.rank.0 <= watermark => due.extend(timers.pop()),
                Some(_) => return due,
                None => {
                    let Some((instants, cells)) = timers.take_first(watermark) else { return due };
                    for &cell in &cells {
                        let rank = ranks[cell as usize];
                        assert!(instants.contains(&rank.0));
                        timers.put_back(rank, cell, |cell| ranks[cell as usize].0);
                    }
                    timers.end_taking(*instants.start(), cells);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn timers_go_off_in_their_order(
            gap in prop_oneof![Just(1i64), Just(100), Just(1_000_000), Just(i64::MAX)],
            steps in prop::collection::vec(
                (prop_oneof![Just(0i64), 0..300i64, 0..3_000_000i64, any::<i64>()], 0..4usize, 0..200i64),
                1..60,
            ),
        ) {
            let rules = Windows::session(TimeDelta::microseconds(gap)).rules().unwrap();
            let mut timers = Timers::new(&rules);
            let (mut ranks, mut waiting) = (Vec::new(), Vec::new());
            let mut watermark = -1_000i64;
            for (ahead, more, rise) in steps {
                for n in 0..more as i64 {
                    let rank = (watermark.saturating_add(ahead.saturating_mul(n + 1)), n, -n);
                    let timer = Timer { rank, cell: ranks.len() as u32 };
                    ranks.push(rank);
                    waiting.push(timer);
                    timers.push(rank, timer.cell, |cell| ranks[cell as usize].0);
                }
                let next = waiting.iter().map(|timer| timer.rank.0).min().unwrap_or(i64::MAX);
                prop_assert!(timers.next() <= next, "nothing is due before it is known to be");
                watermark = watermark.saturating_add(rise);
                let mut expected: Vec<Timer> =
                    waiting.iter().copied().filter(|timer| timer.rank.0 <= watermark).collect();
                expected.sort_unstable();
                waiting.retain(|timer| timer.rank.0 > watermark);
                let mut due: Vec<u32> = timers.due(watermark).filter(|&c| ranks[c as usize].0 <= watermark).collect();
                due.sort_unstable();
                let mut cells: Vec<u32> = expected.iter().map(|timer| timer.cell).collect();
                cells.sort_unstable();
                prop_assert_eq!(due, cells);
                let mut got = drain(&mut timers, &ranks, watermark);
                // (What is pushed behind the watermark comes when it is asked for.)
                got.sort_unstable_by_key(|timer| (timer.rank, timer.cell));
                prop_assert_eq!(got, expected);
            }
            let rest = drain(&mut timers, &ranks, i64::MAX);
            waiting.sort_unstable();
            prop_assert_eq!(rest, waiting);
            let room = timers.year.iter().map(|day| day.cells.capacity()).sum::<usize>();
            prop_assert_eq!((timers.size.room, timers.size.parted), (room, 0));
        }
    }

    /// Timers of a day are sorted a part at a time where they are many, and those that count no longer are forgotten.
    #[test]
    fn a_day_of_many_timers_is_parted() {
        const CELLS: u32 = 200_000;
        let rules = Windows::session(TimeDelta::seconds(30)).rules().unwrap();
        let mut timers = Timers::new(&rules);
        // All but a few in a day, half of those in a hundredth of it; each cell has been armed for another instant before.
        let rank = |cell: u32| {
            let within = if cell.is_multiple_of(2) { 1 << 13 } else { 1 << 20 };
            let day = if cell.is_multiple_of(1000) { 40 << 20 } else { 3 << 20 };
            (day + i64::from(cell.wrapping_mul(0x9E37_79B9) >> 8) % within, 0, 0)
        };
        let armed = |cell: u32| rank(cell).0;
        for cell in 0..CELLS {
            for at in [(rank(cell).0 ^ 1 << 12) + (1 << 12), rank(cell).0] {
                let (bytes, most) = (timers.bytes(), timers.growth(1));
                timers.push((at, 0, 0), cell, armed);
                assert!(timers.bytes() <= bytes + most, "{bytes} bytes grow by {most} at most");
            }
        }
        assert!(timers.size.parted > 1);
        let mut known: Vec<u32> = timers.due(41 << 20).collect();
        known.sort_unstable();
        known.dedup();
        assert_eq!(known, (0..CELLS).collect::<Vec<_>>());
        let mut due = Vec::new();
        for watermark in ((3 << 20)..(42 << 20)).step_by(1 << 10) {
            while let Some((instants, cells)) = timers.take_first(watermark) {
                assert!(cells.len() <= 2 * MANY, "{} timers are sorted at a time", cells.len());
                for cell in cells.iter().copied().filter(|&cell| instants.contains(&armed(cell))) {
                    timers.put_back(rank(cell), cell, armed);
                }
                timers.end_taking(*instants.start(), cells);
                while let Some(timer) = timers.pop() {
                    due.push((timer.rank.0, timer.cell));
                }
            }
        }
        assert!(due.is_sorted());
        due.dedup();
        assert_eq!((due.len(), timers.size.parted), (CELLS as usize, 0));
    }
}
