//! When cells are due: a queue by time.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::Rank;
use crate::queue::growth;
use crate::windows::{Assigner, Base, Definition};

/// A calendar queue (Brown, "Calendar queues: a fast O(1) priority queue implementation for the simulation event set
/// problem", CACM 1988): a timer is put down under its day, in no order; a day is sorted when the watermark gets there.
///
/// A day is a power of two of microseconds, short enough that few timers are sorted together, long enough that most
/// days have some. The year has 64 of them; days of other years are in a tree.
#[derive(Debug)]
pub(super) struct Timers {
    /// The logarithm of a day.
    shift: u32,
    /// Timers of the days up to the one taken last, last first.
    first: Vec<Timer>,
    taken: Option<i64>,
    /// The first day of the year, and the cells of its days, each in the place of its number modulo 64. Empty or 64.
    new_year: i64,
    year: Vec<Vec<u32>>,
    /// Which of those places have any.
    busy: u64,
    other_years: BTreeMap<i64, Vec<u32>>,
    /// What all lists of cells have room for.
    room: usize,
    /// What the longest of them has room for, at most.
    longest: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Timer {
    pub(super) rank: Rank,
    pub(super) cell: u32,
}

const YEAR: i64 = 64;
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
            room: 0,
            longest: 0,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.first.capacity() * size_of::<Timer>()
            + self.year.capacity() * size_of::<Vec<u32>>()
            + self.room * size_of::<u32>()
            + self.other_years.len() * size_of::<(i64, Vec<u32>)>()
    }

    /// Bytes by which so many timers more may make this grow.
    pub(super) fn growth(&self, more: usize) -> usize {
        let year = if self.year.is_empty() { YEAR as usize * size_of::<Vec<u32>>() } else { 0 };
        // Each list grows to twice its size at most, and others are new.
        let lists = (more * self.longest).min(self.room) * size_of::<u32>();
        let new = more * (4 * size_of::<u32>() + size_of::<(i64, Vec<u32>)>());
        // When a day is sorted its timers are all here.
        let sorted = growth::<Timer>(self.first.len(), self.first.capacity(), self.longest + more);
        year + lists + new + sorted
    }

    fn day_of(&self, at: i64) -> i64 {
        at >> self.shift
    }

    /// Whether the timer of a cell that is armed for this instant is under this day.
    pub(super) fn is_under(&self, day: i64, armed: i64) -> bool {
        self.day_of(armed) == day
    }

    pub(super) fn push(&mut self, rank: Rank, cell: u32) {
        let day = self.day_of(rank.0);
        if Some(day) <= self.taken {
            let timer = Timer { rank, cell };
            let place = self.first.partition_point(|other| *other > timer);
            return self.first.insert(place, timer);
        }
        if self.year.is_empty() {
            self.year.resize_with(YEAR as usize, Vec::new);
            self.new_year = day.saturating_sub(YEAR / 4);
        }
        if day < self.new_year {
            self.end_year();
            self.begin_year(day.saturating_sub(YEAR / 4));
        }
        let cells = match self.is_this_year(day) {
            true => {
                self.busy |= 1 << day.rem_euclid(YEAR);
                &mut self.year[day.rem_euclid(YEAR) as usize]
            }
            false => self.other_years.entry(day).or_default(),
        };
        let before = cells.capacity();
        cells.push(cell);
        self.room += cells.capacity() - before;
        self.longest = self.longest.max(cells.capacity());
    }

    fn is_this_year(&self, day: i64) -> bool {
        day >= self.new_year && day.abs_diff(self.new_year) < YEAR as u64
    }

    /// The first day that has timers and has not been taken.
    fn first_day(&self) -> Option<i64> {
        let other = self.other_years.first_key_value().map(|(&day, _)| day);
        let rotated = self.busy.rotate_right(self.new_year.rem_euclid(YEAR) as u32);
        let this = (self.busy != 0).then(|| self.new_year + i64::from(rotated.trailing_zeros()));
        [this, other].into_iter().flatten().min()
    }

    /// The first timer, if it is of a day that has been taken.
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

    /// Takes the first day, if it has begun at this watermark and none before has anything left: its number, and the
    /// cells that are put down under it. Those must all be [put back](Self::put_back), or forgotten, and the day
    /// [ended](Self::end_day).
    pub(super) fn take_day(&mut self, watermark: i64) -> Option<(i64, Vec<u32>)> {
        let day = self.first_day().filter(|&day| day <= self.day_of(watermark))?;
        self.taken = Some(day);
        let cells = if self.is_this_year(day) && (self.busy & (1 << day.rem_euclid(YEAR))) != 0 {
            self.busy &= !(1 << day.rem_euclid(YEAR));
            core::mem::take(&mut self.year[day.rem_euclid(YEAR) as usize])
        } else {
            self.other_years.remove(&day)?
        };
        self.room -= cells.capacity();
        if day > self.new_year {
            self.begin_year(day);
        }
        let lists = self.year.iter().chain(self.other_years.values());
        self.longest = lists.map(Vec::capacity).max().unwrap_or(0).max(cells.capacity());
        Some((day, cells))
    }

    /// The year begins with this day; none of the days before it that it had has any timers.
    fn begin_year(&mut self, day: i64) {
        self.new_year = day;
        while let Some((&other, _)) = self.other_years.range(day..).next()
            && day.abs_diff(other) < YEAR as u64
            && let Some(cells) = self.other_years.remove(&other)
        {
            self.busy |= 1 << other.rem_euclid(YEAR);
            let place = &mut self.year[other.rem_euclid(YEAR) as usize];
            self.room -= place.capacity();
            *place = cells;
        }
    }

    /// All days of the year become days of another.
    fn end_year(&mut self) {
        for place in 0..YEAR {
            let Some(day) = self.new_year.checked_add(place) else { break };
            if self.busy & (1 << day.rem_euclid(YEAR)) != 0 {
                let cells = core::mem::take(&mut self.year[day.rem_euclid(YEAR) as usize]);
                self.other_years.insert(day, cells);
            }
        }
        self.busy = 0;
    }

    /// A timer of the day being taken, or of a later one.
    pub(super) fn put_back(&mut self, rank: Rank, cell: u32) {
        match Some(self.day_of(rank.0)) <= self.taken {
            true => self.first.push(Timer { rank, cell }),
            false => self.push(rank, cell),
        }
    }

    /// After the last cell of the day being taken: sorts it. Its list is used again a year later.
    pub(super) fn end_day(&mut self, day: i64, mut cells: Vec<u32>) {
        self.first.sort_unstable_by(|one, other| other.cmp(one));
        let place = &mut self.year[day.rem_euclid(YEAR) as usize];
        if place.capacity() == 0 {
            cells.clear();
            self.room += cells.capacity();
            *place = cells;
        }
    }

    /// The cells of all timers that may be due at a watermark.
    pub(super) fn due(&self, watermark: i64) -> impl Iterator<Item = u32> + '_ {
        let first = self.first.iter().rev().take_while(move |timer| timer.rank.0 <= watermark);
        let last_day = self.day_of(watermark);
        let others = self.other_years.range(..=last_day).flat_map(|(_, cells)| cells);
        let this = (0..YEAR)
            .filter_map(|place| self.new_year.checked_add(place))
            .take_while(move |&day| day <= last_day)
            .filter_map(|day| self.year.get(day.rem_euclid(YEAR) as usize));
        first.map(|timer| timer.cell).chain(others.chain(this.flatten()).copied())
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
                    let Some((day, cells)) = timers.take_day(watermark) else { return due };
                    for &cell in &cells {
                        let rank = ranks[cell as usize];
                        assert!(timers.is_under(day, rank.0));
                        timers.put_back(rank, cell);
                    }
                    timers.end_day(day, cells);
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
                    timers.push(rank, timer.cell);
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
            prop_assert_eq!(timers.room, timers.year.iter().map(Vec::capacity).sum::<usize>());
        }
    }
}
