//! Partitions, and the kernel's watermark as a function of their state.
//!
//! Nothing is computed when a partition changes; [`WatermarkModel::observe`]
//! looks at all partitions afresh. That is what makes the order of changes
//! between two observations irrelevant (W6): they only write to their own
//! partition.

mod delays;

use crate::case::{Config, Generator, Resume};
use delays::Delays;

/// The answer to a call that names a partition that is gone or never was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownPartition;

/// All partitions and the last watermark observed.
#[derive(Clone, Debug)]
pub struct WatermarkModel {
    config: Config,
    /// By ordinal of their adding; `None` once ended or removed.
    partitions: Vec<Option<Partition>>,
    any_ended: bool,
    finished: bool,
    /// The highest processing time seen.
    now: Option<i64>,
    /// Whether an event or report of any partition came since the last tick that
    /// looked.
    heard: bool,
    quiet_since: Option<i64>,
    latest: Option<i64>,
    watermark: i64,
}

#[derive(Clone, Debug)]
struct Partition {
    idle: bool,
    /// Added, and neither reported nor idled yet: it holds the watermark (W5).
    fresh: bool,
    watermark: i64,
    max_time: Option<i64>,
    /// How late its events were, where that is learned.
    delays: Delays,
    /// Whether an event or report came since the last tick.
    heard: bool,
    quiet_since: Option<i64>,
}

impl WatermarkModel {
    /// No partitions, nothing known.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self {
            config: config.clone(),
            partitions: Vec::new(),
            any_ended: false,
            finished: false,
            now: None,
            heard: false,
            quiet_since: None,
            latest: None,
            watermark: i64::MIN,
        }
    }

    /// Adds a partition, active and fresh; returns its ordinal.
    ///
    /// # Panics
    /// After `u32::MAX` partitions.
    pub fn add(&mut self) -> u32 {
        self.partitions.push(Some(Partition {
            idle: false,
            fresh: true,
            watermark: i64::MIN,
            max_time: None,
            delays: Delays::default(),
            heard: false,
            quiet_since: None,
        }));
        u32::try_from(self.partitions.len() - 1).expect("fewer than u32::MAX partitions")
    }

    /// Takes a partition out without saying that its input is complete.
    ///
    /// # Errors
    /// When there is no such partition; then nothing changes.
    pub fn remove(&mut self, p: u32) -> Result<(), UnknownPartition> {
        self.get(p)?;
        self.partitions[p as usize] = None;
        Ok(())
    }

    /// Takes a partition out because its input is complete (W5).
    ///
    /// # Errors
    /// As for [`Self::remove`].
    pub fn end(&mut self, p: u32) -> Result<(), UnknownPartition> {
        self.remove(p)?;
        self.any_ended = true;
        Ok(())
    }

    /// Ends all partitions, for good.
    pub fn finish(&mut self) {
        self.partitions.fill(None);
        self.finished = true;
    }

    /// The host's report. A lower watermark is ignored (W2), but it is a report.
    ///
    /// # Errors
    /// As for [`Self::remove`].
    pub fn set_watermark(&mut self, p: u32, w: i64) -> Result<(), UnknownPartition> {
        let partition = self.get(p)?;
        partition.fresh = false;
        partition.heard = true;
        partition.rise(w);
        self.heard = true;
        Ok(())
    }

    /// The host declares a partition idle.
    ///
    /// # Errors
    /// As for [`Self::remove`].
    pub fn mark_idle(&mut self, p: u32) -> Result<(), UnknownPartition> {
        self.mark(p, true)
    }

    /// The host declares a partition active.
    ///
    /// # Errors
    /// As for [`Self::remove`].
    pub fn mark_active(&mut self, p: u32) -> Result<(), UnknownPartition> {
        self.mark(p, false)
    }

    fn mark(&mut self, p: u32, idle: bool) -> Result<(), UnknownPartition> {
        let partition = self.get(p)?;
        partition.idle = idle;
        partition.fresh = false;
        partition.quiet_since = None;
        Ok(())
    }

    /// The host's processing time; going back is going nowhere, yet still a check.
    pub fn tick(&mut self, now: i64) {
        let now = self.now.map_or(now, |before| before.max(now));
        self.now = Some(now);
        for partition in self.partitions.iter_mut().flatten() {
            let heard = std::mem::take(&mut partition.heard);
            if let Some(timeout) = self.config.idle_timeout
                && !partition.idle
            {
                partition.check_quiet(heard, now, timeout);
            }
        }
    }

    /// Whether nothing was heard of any partition for longer than `close_after_quiet`.
    /// Each tick asks once.
    pub fn is_quiet(&mut self) -> bool {
        let heard = std::mem::take(&mut self.heard);
        let (Some(longest), Some(now)) = (self.config.close_after_quiet, self.now) else {
            return false;
        };
        if heard {
            self.quiet_since = None;
            return false;
        }
        let since = *self.quiet_since.get_or_insert(now);
        // In i128: the two may be further apart than an i64 can say.
        i128::from(now) - i128::from(since) > i128::from(longest)
    }

    /// The latest time of an event that moved its partition.
    #[must_use]
    pub fn latest(&self) -> Option<i64> {
        self.latest
    }

    /// The watermark is at least `w` now, whatever the partitions say.
    pub fn raise(&mut self, w: i64) {
        self.watermark = self.watermark.max(w);
    }

    /// Whether an event of this partition is too far in the future to be
    /// believed (W7): further than the skew beyond everything known of the
    /// present, which is nothing at first.
    #[must_use]
    pub fn is_suspect(&self, p: u32, time: i64) -> bool {
        let Some(guard) = self.config.max_future_skew else {
            return false;
        };
        let partition = self.partitions.get(p as usize).and_then(Option::as_ref);
        let reference = partition.and_then(|known| known.max_time).max(self.now);
        reference.is_some_and(|at| time > at.saturating_add(guard.skew))
    }

    /// An event that was neither rejected nor suspect moves its partition,
    /// whatever its verdict was: a late one also says how far the partition is.
    ///
    /// # Errors
    /// As for [`Self::remove`].
    pub fn event(&mut self, p: u32, time: i64) -> Result<(), UnknownPartition> {
        let generator = self.config.generator;
        self.latest = self.latest.max(Some(time));
        let partition = self.get(p)?;
        let delay = partition.max_time.map_or(0, |before| before.saturating_sub(time).max(0));
        let max_time = partition.max_time.map_or(time, |before| before.max(time));
        partition.max_time = Some(max_time);
        partition.heard = true;
        let bound = match generator {
            // An event says that the partition is alive, which ends idleness, but
            // nothing of its watermark: that is the host's to report (W5).
            Generator::Host => {
                partition.idle = false;
                self.heard = true;
                return Ok(());
            }
            Generator::Bounded { bound } => bound,
            Generator::Learned { ppm, at_least, at_most, warm_up, memory } => {
                partition.delays.record(delay, memory);
                let learned =
                    partition.delays.quantile(ppm).filter(|_| partition.delays.recorded() >= warm_up);
                learned.map_or(at_most, |bound| bound.clamp(at_least, at_most))
            }
        };
        partition.fresh = false;
        partition.rise(max_time.saturating_sub(bound));
        self.heard = true;
        Ok(())
    }

    /// Whether there is such a partition now.
    #[must_use]
    pub fn knows(&self, p: u32) -> bool {
        matches!(self.partitions.get(p as usize), Some(Some(_)))
    }

    /// Recomputes the watermark from the partitions and returns it.
    pub fn observe(&mut self) -> i64 {
        self.watermark = self.watermark.max(self.proposed());
        self.watermark
    }

    /// The watermark last observed.
    #[must_use]
    pub fn watermark(&self) -> i64 {
        self.watermark
    }

    /// # Panics
    /// When the state is one that no sequence of calls should reach.
    pub fn assert_invariants(&self) {
        for partition in self.partitions.iter().flatten() {
            assert!(!(partition.fresh && partition.idle), "idling ends freshness");
            if partition.fresh {
                assert_eq!(partition.watermark, i64::MIN, "fresh means no report");
                let is_host = self.config.generator == Generator::Host;
                assert!(is_host || partition.max_time.is_none(), "an event reports, with a generator");
            }
            if let Generator::Learned { memory, .. } = self.config.generator {
                partition.delays.assert_invariants(memory);
            }
            if let (Some(since), Some(now)) = (partition.quiet_since, self.now) {
                assert!(since <= now, "quiet since {since}, but it is only {now}");
            }
        }
        let mut observer = self.clone();
        let (first, second) = (observer.observe(), observer.observe());
        assert_eq!(first, second, "observing is idempotent");
        assert!(first >= self.watermark, "the watermark never goes back");
        assert!(!self.finished || first == i64::MAX, "finished is for good");
    }

    /// What the partitions alone say; the result still must not go back (W3).
    fn proposed(&self) -> i64 {
        let present: Vec<&Partition> = self.partitions.iter().flatten().collect();
        if self.finished || (present.is_empty() && self.any_ended) {
            return i64::MAX;
        }
        let of = |partition: &&Partition| partition.watermark;
        let (idle, active): (Vec<&Partition>, Vec<&Partition>) =
            present.into_iter().partition(|partition| partition.idle);
        if active.is_empty() {
            return idle.iter().map(of).max().unwrap_or(i64::MIN);
        }
        let counted = active.iter().filter(|partition| self.counts(partition));
        counted.map(of).min().unwrap_or(i64::MIN)
    }

    /// Whether an active partition has a say. One that is behind has none while
    /// it catches up, unless it never had its say (W5) or the policy is to hold.
    fn counts(&self, active: &Partition) -> bool {
        active.fresh || active.watermark >= self.watermark || self.config.resume == Resume::Hold
    }

    fn get(&mut self, p: u32) -> Result<&mut Partition, UnknownPartition> {
        let slot = self.partitions.get_mut(p as usize);
        slot.and_then(Option::as_mut).ok_or(UnknownPartition)
    }
}

impl Partition {
    /// Its own watermark never goes back (W2), and only progress ends idleness (as
    /// in Flink, finding 19).
    fn rise(&mut self, w: i64) {
        if w > self.watermark {
            self.watermark = w;
            self.idle = false;
        }
    }

    /// One check of an active partition: the first after an event clears, the
    /// second starts the clock, and idle takes *more* than the timeout.
    fn check_quiet(&mut self, heard: bool, now: i64, timeout: i64) {
        match self.quiet_since {
            _ if heard => self.quiet_since = None,
            None => self.quiet_since = Some(now),
            Some(since) => {
                // In i128: the two may be further apart than an i64 can say.
                if i128::from(now) - i128::from(since) > i128::from(timeout) {
                    self.idle = true;
                    self.fresh = false;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{FutureSkew, SkewPolicy};
    use proptest::prelude::*;

    const MIN: i64 = i64::MIN;

    fn model(partitions: u32, configure: impl FnOnce(&mut Config)) -> WatermarkModel {
        let mut config = Config::tumbling(10);
        configure(&mut config);
        let mut model = WatermarkModel::new(&config);
        for p in 0..partitions {
            assert_eq!(model.add(), p);
        }
        model
    }

    fn set(model: &mut WatermarkModel, p: u32, w: i64) -> i64 {
        model.set_watermark(p, w).unwrap();
        model.observe()
    }

    #[test]
    fn w3_is_the_minimum_and_never_goes_back() {
        let mut model = model(2, |_| {});
        assert_eq!(model.observe(), MIN);
        assert_eq!(set(&mut model, 0, 10), MIN, "1 has not reported");
        assert_eq!(set(&mut model, 1, 5), 5);
        assert_eq!(set(&mut model, 1, 3), 5, "W2: a lower one is ignored");
        assert_eq!(set(&mut model, 1, 12), 10);
        assert_eq!(set(&mut model, 0, 11), 11);
    }

    #[test]
    fn w4_idle_partitions_dont_hold_and_all_idle_is_the_maximum() {
        let mut model = model(3, |_| {});
        for (p, w) in [(0, 10), (1, 20), (2, 3)] {
            model.set_watermark(p, w).unwrap();
        }
        assert_eq!(model.observe(), 3);
        model.mark_idle(2).unwrap();
        assert_eq!(model.observe(), 10);
        // Whoever idles last: finding 14 of the valve is that it matters there.
        model.mark_active(2).unwrap();
        model.mark_idle(1).unwrap();
        model.mark_idle(0).unwrap();
        assert_eq!(model.observe(), 10, "2 is behind and has no say");
        model.mark_idle(2).unwrap();
        assert_eq!(model.observe(), 20);
    }

    #[test]
    fn w4_resuming_behind_is_excluded_or_holds() {
        for (resume, then) in [(Resume::Exclude, 20), (Resume::Hold, 15)] {
            let mut model = model(2, |config| config.resume = resume);
            set(&mut model, 0, 15);
            model.mark_idle(1).unwrap();
            assert_eq!(model.observe(), 15);
            model.mark_active(1).unwrap();
            model.set_watermark(1, 7).unwrap();
            assert_eq!(set(&mut model, 0, 20), then);
            assert_eq!(set(&mut model, 1, 30), 20, "caught up");
        }
    }

    #[test]
    fn w5_a_new_partition_holds_until_it_reports_idles_or_goes() {
        for release in 0..5 {
            // With a generator an event reports; where the host sets watermarks it does not.
            let bounded = release == 3;
            let mut model = model(1, |config| {
                if bounded {
                    config.generator = Generator::Bounded { bound: 0 };
                }
            });
            assert_eq!(set(&mut model, 0, 10), 10);
            let new = model.add();
            assert_eq!(set(&mut model, 0, 20), 10, "held where it is");
            match release {
                0 => model.set_watermark(new, 4).unwrap(),
                1 => model.mark_idle(new).unwrap(),
                2 => model.remove(new).unwrap(),
                _ => model.event(new, 4).unwrap(),
            }
            let released = if release == 4 { 10 } else { 20 };
            assert_eq!(model.observe(), released, "after {release}");
        }
    }

    #[test]
    fn w5_ending_all_is_the_end_and_removing_all_is_not() {
        let mut removed = model(2, |_| {});
        removed.set_watermark(0, 5).unwrap();
        removed.remove(0).unwrap();
        assert_eq!(removed.observe(), MIN);
        removed.remove(1).unwrap();
        assert_eq!(removed.observe(), MIN, "nothing ended");
        assert_eq!(removed.end(1), Err(UnknownPartition));
        assert_eq!(removed.end(9), Err(UnknownPartition));
        assert_eq!(removed.observe(), MIN, "errors change nothing");

        let mut ended = model(2, |_| {});
        ended.mark_idle(1).unwrap();
        ended.end(0).unwrap();
        assert_eq!(ended.observe(), MIN, "an idle one is left");
        ended.remove(1).unwrap();
        assert_eq!(ended.observe(), i64::MAX);

        let mut finished = model(1, |_| {});
        finished.finish();
        finished.add();
        assert_eq!(finished.observe(), i64::MAX, "for good");
    }

    #[test]
    fn w2_bounded_takes_the_higher_of_generator_and_host() {
        let mut model = model(1, |config| {
            config.generator = Generator::Bounded { bound: 3 };
        });
        for (time, w) in [(10, 7), (9, 7), (12, 9), (MIN + 1, 9)] {
            model.event(0, time).unwrap();
            assert_eq!(model.observe(), w);
        }
        assert_eq!(set(&mut model, 0, 20), 20);
        model.event(0, 22).unwrap();
        assert_eq!(model.observe(), 20);
        model.event(0, 24).unwrap();
        assert_eq!(model.observe(), 21);
    }

    #[test]
    fn w4_what_wakes_an_idle_partition() {
        let bounded = Generator::Bounded { bound: 0 };
        for generator in [Generator::Host, bounded] {
            let mut model = model(2, |config| config.generator = generator);
            model.set_watermark(0, 10).unwrap();
            model.mark_idle(0).unwrap();
            let idle = |model: &WatermarkModel| model.partitions[0].as_ref().unwrap().idle;
            model.set_watermark(0, 10).unwrap();
            assert!(idle(&model), "no rise");
            model.event(0, 10).unwrap();
            assert_eq!(idle(&model), generator == bounded, "no rise, but a sign of life");
            model.mark_idle(0).unwrap();
            model.set_watermark(0, 11).unwrap();
            assert!(!idle(&model));
            model.mark_idle(0).unwrap();
            model.event(0, 12).unwrap();
            assert!(!idle(&model));
        }
    }

    #[test]
    fn w4_idle_by_timeout_takes_three_checks_and_more_than_the_timeout() {
        let mut model = model(2, |config| config.idle_timeout = Some(5));
        model.set_watermark(0, 10).unwrap();
        model.set_watermark(1, 20).unwrap();
        let mut at = |now, also: u32| {
            model.set_watermark(also, 20 + now).unwrap();
            model.tick(now);
            model.observe()
        };
        assert_eq!(at(100, 1), 10, "the first check after a report clears");
        assert_eq!(at(101, 1), 10, "the second starts the clock");
        assert_eq!(at(106, 1), 10, "not more than 5 yet");
        assert_eq!(at(90, 1), 10, "the clock doesn't go back");
        assert_eq!(at(107, 1), 127);
        model.mark_active(0).unwrap();
        model.tick(500);
        let resumed = model.partitions[0].as_ref().unwrap();
        assert!(!resumed.idle, "marking starts the clock afresh");
    }

    #[test]
    fn w7_suspect_is_relative_to_the_partition_or_the_clock() {
        let mut model = model(2, |config| {
            config.max_future_skew = Some(FutureSkew { skew: 10, policy: SkewPolicy::Admit });
        });
        assert!(!model.is_suspect(0, i64::MAX), "nothing to compare with");
        model.event(0, 5).unwrap();
        assert!(!model.is_suspect(0, 15));
        assert!(model.is_suspect(0, 16));
        assert!(!model.is_suspect(1, 16), "its own progress, not another's");
        model.tick(7);
        model.tick(6);
        assert!(!model.is_suspect(0, 17));
        assert!(model.is_suspect(1, 18));
        model.tick(i64::MAX - 1);
        assert!(!model.is_suspect(0, i64::MAX), "saturates");
    }

    /// What a host does to partition `.0`: set a watermark, idle, or activate.
    fn control() -> impl Strategy<Value = (u32, u8, i64)> {
        (0..4u32, 0..4u8, -3..12i64)
    }

    fn apply(model: &mut WatermarkModel, &(p, kind, w): &(u32, u8, i64)) {
        match kind {
            0 | 1 => model.set_watermark(p, w).unwrap(),
            2 => model.mark_idle(p).unwrap(),
            _ => model.mark_active(p).unwrap(),
        }
    }

    proptest! {
        #[test]
        fn w6_order_between_observations_is_irrelevant(
            rounds in prop::collection::vec(prop::collection::vec(control(), 0..8), 0..6),
            hold: bool,
        ) {
            let resume = if hold { Resume::Hold } else { Resume::Exclude };
            let mut as_given = model(4, |config| config.resume = resume);
            let mut regrouped = as_given.clone();
            for mut round in rounds {
                round.iter().for_each(|call| apply(&mut as_given, call));
                // Each partition's own calls stay in order.
                round.sort_by_key(|&(p, ..)| std::cmp::Reverse(p));
                round.iter().for_each(|call| apply(&mut regrouped, call));
                prop_assert_eq!(as_given.observe(), regrouped.observe());
                as_given.assert_invariants();
            }
        }

        #[test]
        fn w6_never_stalls_when_all_active_reach_a_time(
            calls in prop::collection::vec((control(), any::<bool>()), 0..40),
            t in -3..20i64,
            hold: bool,
        ) {
            let resume = if hold { Resume::Hold } else { Resume::Exclude };
            let mut model = model(4, |config| config.resume = resume);
            for (call, observed) in &calls {
                apply(&mut model, call);
                if *observed {
                    model.observe();
                }
            }
            model.mark_active(0).unwrap();
            for p in 0..4 {
                if !model.partitions[p as usize].as_ref().unwrap().idle {
                    model.set_watermark(p, t).unwrap();
                }
            }
            prop_assert!(model.observe() >= t);
        }
    }
}
