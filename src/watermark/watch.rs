//! What tells of many events whether anything but their partition's maximum may follow from them.

use super::{Lane, Partition, Progress};

/// [`Progress::note`] in two steps, for many events: whether it would be true, and doing it.
pub(crate) trait Watch {
    fn passes(&self, place: usize, time: i64) -> bool;
    fn note(&mut self, place: usize, time: i64);
}

/// The same for a block of events that are taken together, whose times are in units of so many microseconds (and fit).
pub(crate) trait WatchBlock {
    /// What is not before this does not pass.
    fn limit(&self) -> i64;

    /// How many events of the block pass before the first that does not, of those that are before the limit.
    fn passing(&self, times: &[i64], unit: i64) -> usize;

    /// Notes the first events of the block.
    fn note_first(&mut self, times: &[i64], unit: i64);
}

/// For events that have passed already.
pub(crate) struct Watched;

impl Watch for Watched {
    #[inline(always)]
    fn passes(&self, _: usize, _: i64) -> bool {
        true
    }

    #[inline(always)]
    fn note(&mut self, _: usize, _: i64) {}
}

pub(crate) struct WatchOne<'a> {
    limit: i64,
    latest: i64,
    lane: Option<&'a mut Lane>,
}

impl WatchOne<'_> {
    /// The time of the latest event so far.
    pub(crate) fn latest(&self) -> i64 {
        self.latest
    }
}

impl Watch for WatchOne<'_> {
    #[inline(always)]
    fn passes(&self, _: usize, time: i64) -> bool {
        time < self.limit
    }

    #[inline(always)]
    fn note(&mut self, _: usize, time: i64) {
        self.latest = self.latest.max(time);
    }
}

impl WatchBlock for WatchOne<'_> {
    #[inline(always)]
    fn limit(&self) -> i64 {
        self.limit
    }

    #[inline(always)]
    fn passing(&self, times: &[i64], _: i64) -> usize {
        times.len()
    }

    #[inline(always)]
    fn note_first(&mut self, times: &[i64], unit: i64) {
        if let Some(&latest) = times.iter().max() {
            self.note(0, latest.wrapping_mul(unit));
        }
    }
}

impl Drop for WatchOne<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        if let Some(lane) = &mut self.lane {
            lane.max_time = self.latest;
        }
    }
}

pub(crate) struct WatchEach<'a> {
    lanes: &'a mut [Lane],
    common: Common,
    partitions: &'a [Partition],
}

impl WatchEach<'_> {
    /// Whether these are partitions that are there, whose generation is what all have. May be false where it is so.
    fn are_all_there(&self, partitions: &[Partition]) -> bool {
        let (lanes, generation) = (self.lanes.len() as u32, self.common.generation);
        // (No branch for each, so that many are compared at once.)
        partitions.iter().fold(true, |all, partition| {
            all & (partition.slot < lanes) & (partition.generation == generation)
        })
    }
}

impl Watch for WatchEach<'_> {
    #[inline(always)]
    fn passes(&self, place: usize, time: i64) -> bool {
        let Some(partition) = self.partitions.get(place) else { return false };
        let lane = self.lanes.get(partition.slot as usize);
        lane.is_some_and(|lane| lane.generation == partition.generation && time < lane.limit)
    }

    #[inline(always)]
    fn note(&mut self, place: usize, time: i64) {
        let slot = self.partitions.get(place).map_or(0, |partition| partition.slot);
        if let Some(lane) = self.lanes.get_mut(slot as usize) {
            lane.max_time = lane.max_time.max(time);
        }
    }
}

impl WatchBlock for WatchEach<'_> {
    #[inline(always)]
    fn limit(&self) -> i64 {
        i64::MAX
    }

    #[inline(always)]
    fn passing(&self, times: &[i64], unit: i64) -> usize {
        // Most often no limit is near, and nobody has come since all partitions were made.
        let latest = times.iter().max().map_or(i64::MIN, |&latest| latest.wrapping_mul(unit));
        let partitions = &self.partitions[..times.len().min(self.partitions.len())];
        if latest < self.common.limit && self.are_all_there(partitions) {
            return times.len();
        }
        let fails = |(place, &time): (usize, &i64)| !self.passes(place, time.wrapping_mul(unit));
        times.iter().enumerate().position(fails).unwrap_or(times.len())
    }

    #[inline(always)]
    fn note_first(&mut self, times: &[i64], unit: i64) {
        for (&time, partition) in times.iter().zip(self.partitions) {
            if let Some(lane) = self.lanes.get_mut(partition.slot as usize) {
                lane.max_time = lane.max_time.max(time.wrapping_mul(unit));
            }
        }
    }
}

/// What is true of all partitions, so that it need not be asked of each.
#[derive(Clone, Copy, Debug)]
pub(super) struct Common {
    /// None of their limits is below this.
    limit: i64,
    /// Their generation, where all have the same and something has a limit at all.
    generation: u32,
    /// A limit has changed since.
    is_old: bool,
}

impl Default for Common {
    fn default() -> Self {
        Self { limit: i64::MIN, generation: 0, is_old: true }
    }
}

impl Common {
    /// A partition has got another limit, or is another.
    pub(super) fn lower_to(&mut self, limit: i64) {
        self.limit = self.limit.min(limit);
        self.is_old = true;
    }

    fn of(lanes: &[Lane]) -> Self {
        let generation = lanes.first().map_or(0, |lane| lane.generation);
        let limits = lanes.iter().map(|lane| match lane.generation == generation {
            true => lane.limit,
            false => i64::MIN,
        });
        Self { limit: limits.min().unwrap_or(i64::MIN), generation, is_old: false }
    }
}

impl Progress {
    /// A watch over events of one partition.
    #[inline(always)]
    pub(crate) fn watch_one(&mut self, partition: Partition) -> WatchOne<'_> {
        let lane = self.lanes.get_mut(partition.slot as usize);
        match lane.filter(|lane| lane.generation == partition.generation) {
            Some(lane) => WatchOne { limit: lane.limit, latest: lane.max_time, lane: Some(lane) },
            None => WatchOne { limit: i64::MIN, latest: i64::MIN, lane: None },
        }
    }

    /// A watch over events of many partitions.
    #[inline(always)]
    pub(crate) fn watch_each<'a>(&'a mut self, partitions: &'a [Partition]) -> WatchEach<'a> {
        WatchEach { lanes: &mut self.lanes, common: self.common, partitions }
    }

    /// Looks at all partitions, if something has changed, so that a watch over so many events need not look at that of each: if
    /// that takes no longer.
    pub(crate) fn look_at_all(&mut self, events: usize) {
        if self.common.is_old && self.lanes.len() <= events {
            self.common = Common::of(&self.lanes);
        }
    }
}
