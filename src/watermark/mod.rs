//! Watermarks: each partition's own, and the kernel's, which is their minimum (W1-W8).
//!
//! The kernel's watermark is a function of the partitions' present state and of the watermark last
//! observed, evaluated when somebody looks ([`Progress::settle`]): at the start and the end of every push
//! at every poll, and when the host asks for it. What the host declares in between (reports, idles,
//! resumes, additions) is only noted, so the order of those calls cannot matter (W6).
//!
//! Per event almost nothing of this runs. A partition keeps its maximum event time and a `limit`: up to
//! there an event can change nothing but that maximum. Of all partitions only the one that holds the
//! minimum has an alarm set in its limit, at the next watermark that matters to the windows; the others'
//! values in the tree are lower bounds, made exact when they come to hold the minimum.

mod delays;
mod min_tree;
mod watch;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use crate::config::{Resume, Suspect};
use crate::time::{Timestamp, Watermark};
use delays::Delays;
pub(crate) use delays::Learning;
use min_tree::MinTree;
use watch::Common;
pub(crate) use watch::{Watch, WatchBlock, WatchEach, WatchOne, Watched};

/// An input with its own progress: a Kafka partition, a file, a sensor, a tenant.
///
/// The handle stays valid until the partition is removed or ended, also across snapshot and restore.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Partition {
    slot: u32,
    generation: u32,
}

impl Partition {
    /// The handle as a number, for a host that keeps it somewhere.
    pub const fn to_u64(self) -> u64 {
        (self.generation as u64) << 32 | self.slot as u64
    }

    /// The handle that [`to_u64`](Self::to_u64) gave the number of.
    pub const fn from_u64(number: u64) -> Self {
        Self { slot: number as u32, generation: (number >> 32) as u32 }
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.generation {
            0 => write!(f, "partition {}", self.slot),
            generation => write!(f, "partition {}.{generation}", self.slot),
        }
    }
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Partition({}.{})", self.slot, self.generation)
    }
}

/// How a partition stands to the kernel's watermark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PartitionState {
    /// Added, and neither reported nor idle yet: holds the watermark where it is (W5).
    Waiting,
    /// Takes part in the minimum.
    Active,
    /// Behind the watermark after it came back, and left out of the minimum until it has caught up (W4).
    CatchingUp,
    /// Left out of the minimum (W4).
    Idle,
}

/// What the kernel knows of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionStatus {
    /// Its handle.
    pub partition: Partition,
    /// Its own watermark.
    pub watermark: Watermark,
    /// How it stands to the kernel's.
    pub state: PartitionState,
    /// The latest event time it has shown.
    pub last_event: Option<Timestamp>,
    /// Since which tick it has been quiet, where an idle timeout runs.
    pub quiet_since: Option<Timestamp>,
    /// How far its watermark stays behind its latest event, as configured or as learned so far; `None` where the
    /// host sets the watermarks.
    pub disorder: Option<TimeDelta>,
}

/// The highest value in the tree; exact watermarks tell what is above it apart.
const TOP: i64 = i64::MAX - 1;

/// The settings that this module decides by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// The bounded-disorder generator of new partitions; without one the host sets their watermarks.
    pub(crate) bound: Option<i64>,
    /// The one that learns its bound, instead.
    pub(crate) learning: Option<Learning>,
    pub(crate) idle_timeout: Option<i64>,
    pub(crate) close_after_quiet: Option<i64>,
    pub(crate) resume: Resume,
    pub(crate) skew: Option<(i64, Suspect)>,
    /// The first event time that is out of range.
    pub(crate) beyond: i64,
}

impl Rules {
    /// Whether it matters who has been heard of between two ticks.
    fn hears(&self) -> bool {
        self.idle_timeout.is_some() || self.close_after_quiet.is_some()
    }

    fn bound_of(&self, lane: &Lane) -> Option<i64> {
        match (&lane.learned, &self.learning) {
            (Some(learned), Some(rules)) => Some(learned.delays.bound(rules)),
            _ => lane.bound,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    Vacant,
    Active,
    Idle,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Lane {
    /// Events before this change nothing but `max_time`. Derived; not part of a snapshot's meaning.
    #[serde(skip)]
    limit: i64,
    /// Only with `seen`.
    max_time: i64,
    generation: u32,
    state: State,
    /// An event or a report came since the last tick.
    touched: bool,
    seen: bool,
    /// Added, and neither reported nor idle yet.
    fresh: bool,
    /// Changed since the watermark was last settled.
    pending: bool,
    bound: Option<i64>,
    learned: Option<Box<Learned>>,
    /// The highest watermark that the host set.
    floor: i64,
    quiet_since: Option<i64>,
}

/// A bound that is learned, and the highest watermark that came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Learned {
    delays: Delays,
    reached: i64,
}

impl Learned {
    /// Takes in what another kernel has learned of the same partition.
    fn absorb(&mut self, other: &Self) {
        self.delays.absorb(&other.delays);
        self.reached = self.reached.max(other.reached);
    }
}

impl Lane {
    fn new(generation: u32, rules: &Rules) -> Self {
        let learned = rules.learning.map(|_| Learned { delays: Delays::new(), reached: i64::MIN });
        Self {
            limit: i64::MIN,
            max_time: i64::MIN,
            generation,
            state: State::Active,
            touched: false,
            seen: false,
            fresh: true,
            pending: false,
            bound: rules.bound,
            learned: learned.map(Box::new),
            floor: i64::MIN,
            quiet_since: None,
        }
    }

    /// The partition's own watermark (W2).
    fn watermark(&self) -> i64 {
        match (self.bound, &self.learned) {
            (Some(bound), _) if self.seen => self.floor.max(self.max_time.saturating_sub(bound)),
            (None, Some(learned)) => self.floor.max(learned.reached),
            _ => self.floor,
        }
    }

    /// Whether events say how far the partition is.
    fn reports(&self) -> bool {
        self.bound.is_some() || self.learned.is_some()
    }

    /// Takes an event into what is known of the partition's times.
    fn take(&mut self, time: i64, learning: Option<&Learning>) {
        let before = if self.seen { self.max_time } else { time };
        self.max_time = before.max(time);
        self.seen = true;
        self.touched = true;
        if let (Some(learned), Some(rules)) = (&mut self.learned, learning) {
            learned.delays.record(before.saturating_sub(time).max(0), rules);
            let reached = self.max_time.saturating_sub(learned.delays.bound(rules));
            learned.reached = learned.reached.max(reached);
        }
    }
}

/// All partitions and the watermark they give.
#[derive(Debug)]
pub(crate) struct Progress {
    rules: Rules,
    lanes: Vec<Lane>,
    vacant: Vec<u32>,
    /// Lower bounds of the watermarks that count; `i64::MAX` for those that don't.
    tree: MinTree,
    /// As last settled.
    watermark: i64,
    /// Where it was before the input ended.
    before_end: i64,
    pending: Vec<u32>,
    unsettled: bool,
    /// The host has looked at the watermark since something was declared: what it saw must hold, so what
    /// it declares next comes after that. (Atomic only so that looking through `&self` can note it.)
    observed: AtomicBool,
    present: u32,
    active: u32,
    any_ended: bool,
    finished: bool,
    now: Option<i64>,
    /// An event or a report came since the last tick; if not, since which tick none has.
    heard: bool,
    quiet_since: Option<i64>,
    /// The latest event of the partitions that are gone.
    latest_gone: Option<i64>,
    /// The next watermark that matters to the windows, and whose alarm is set for it.
    boundary: i64,
    armed: Option<u32>,
    common: Common,
}

impl Progress {
    pub(crate) fn new(rules: Rules) -> Self {
        Self {
            rules,
            lanes: Vec::new(),
            vacant: Vec::new(),
            tree: MinTree::new(),
            watermark: i64::MIN,
            before_end: i64::MIN,
            pending: Vec::new(),
            unsettled: false,
            observed: AtomicBool::new(false),
            present: 0,
            active: 0,
            any_ended: false,
            finished: false,
            now: None,
            heard: false,
            quiet_since: None,
            latest_gone: None,
            boundary: i64::MIN,
            armed: None,
            common: Common::default(),
        }
    }

    // The hot path.

    /// Notes an event that can change nothing but its partition's maximum; false if it might change more.
    #[inline(always)]
    pub(crate) fn note(&mut self, partition: Partition, time: i64) -> bool {
        match self.lanes.get_mut(partition.slot as usize) {
            Some(lane) if lane.generation == partition.generation && time < lane.limit => {
                lane.max_time = lane.max_time.max(time);
                true
            }
            _ => false,
        }
    }

    /// Whether [`note`](Self::note) would be true.
    pub(crate) fn passes(&self, partition: Partition, time: i64) -> bool {
        let lane = self.lanes.get(partition.slot as usize);
        lane.is_some_and(|lane| lane.generation == partition.generation && time < lane.limit)
    }

    // What the host declares. Each returns false for a partition that is not there.

    pub(crate) fn add(&mut self) -> Partition {
        self.before_declaring();
        self.common.lower_to(i64::MIN);
        let slot = match self.vacant.pop() {
            Some(slot) => {
                let generation = self.lanes[slot as usize].generation.wrapping_add(1);
                let pending = self.lanes[slot as usize].pending;
                self.lanes[slot as usize] = Lane { pending, ..Lane::new(generation, &self.rules) };
                slot
            }
            None => {
                self.lanes.push(Lane::new(0, &self.rules));
                self.lanes.len() as u32 - 1
            }
        };
        self.present += 1;
        self.active += 1;
        self.note_change(slot);
        Partition { slot, generation: self.lanes[slot as usize].generation }
    }

    pub(crate) fn remove(&mut self, partition: Partition) -> bool {
        let Some(slot) = self.find(partition) else { return false };
        self.before_declaring();
        let lane = &mut self.lanes[slot as usize];
        self.active -= u32::from(lane.state == State::Active);
        self.present -= 1;
        lane.state = State::Vacant;
        self.latest_gone = self.latest_gone.max(lane.seen.then_some(lane.max_time));
        // A handle to it must not fit whoever gets the slot next, nor nobody.
        lane.limit = i64::MIN;
        self.common.lower_to(i64::MIN);
        self.vacant.push(slot);
        self.note_change(slot);
        true
    }

    pub(crate) fn end(&mut self, partition: Partition) -> bool {
        let known = self.remove(partition);
        self.any_ended |= known;
        known
    }

    pub(crate) fn finish(&mut self) {
        for slot in 0..self.lanes.len() as u32 {
            self.end(self.handle(slot));
        }
        self.finished = true;
        self.unsettled = true;
    }

    pub(crate) fn mark_idle(&mut self, partition: Partition) -> bool {
        let Some(slot) = self.find(partition) else { return false };
        self.before_declaring();
        self.idle(slot);
        true
    }

    pub(crate) fn mark_active(&mut self, partition: Partition) -> bool {
        let Some(slot) = self.find(partition) else { return false };
        self.before_declaring();
        self.lanes[slot as usize].quiet_since = None;
        self.activate(slot);
        true
    }

    pub(crate) fn set_watermark(&mut self, partition: Partition, watermark: i64) -> bool {
        let Some(slot) = self.find(partition) else { return false };
        self.before_declaring();
        let lane = &mut self.lanes[slot as usize];
        let before = lane.watermark();
        lane.floor = lane.floor.max(watermark);
        self.heard = true;
        lane.touched = true;
        lane.fresh = false;
        if lane.watermark() > before {
            self.activate(slot);
        }
        self.note_change(slot);
        true
    }

    /// The host's clock reads `now`: partitions that have been quiet for longer than the timeout idle.
    ///
    /// The first tick after an event ends the quiet, the second starts to count, so that a slow tick
    /// never counts time in which the partition spoke.
    pub(crate) fn tick(&mut self, now: i64) {
        self.before_declaring();
        let now = self.now.map_or(now, |before| before.max(now));
        self.now = Some(now);
        self.note_quiet(now);
        if !self.rules.hears() {
            return;
        }
        self.common.lower_to(i64::MIN);
        for slot in 0..self.lanes.len() as u32 {
            let lane = &mut self.lanes[slot as usize];
            let touched = core::mem::take(&mut lane.touched);
            // The next event goes the long way and says that the partition is alive.
            lane.limit = i64::MIN;
            if lane.state != State::Active {
                continue;
            }
            if touched || self.rules.idle_timeout.is_none() {
                lane.quiet_since = None;
            } else {
                let since = *lane.quiet_since.get_or_insert(now);
                if self.rules.idle_timeout.is_some_and(|timeout| now.abs_diff(since) > timeout as u64) {
                    self.idle(slot);
                }
            }
        }
    }

    fn note_quiet(&mut self, now: i64) {
        match core::mem::take(&mut self.heard) {
            true => self.quiet_since = None,
            false => self.quiet_since = self.quiet_since.or(Some(now)),
        }
    }

    /// Whether nothing has come from any partition for so long that what is open is to be closed.
    pub(crate) fn is_quiet(&self) -> bool {
        match (self.rules.close_after_quiet, self.quiet_since, self.now) {
            (Some(after), Some(since), Some(now)) => now.abs_diff(since) > after as u64,
            _ => false,
        }
    }

    /// The latest event that moved its partition. O(partitions).
    pub(crate) fn latest(&self) -> Option<i64> {
        let seen = |lane: &&Lane| lane.state != State::Vacant && lane.seen;
        self.lanes.iter().filter(seen).map(|lane| lane.max_time).max().max(self.latest_gone)
    }

    /// How long the quiet must last still until what is open is closed, if it is quiet and that is asked for.
    pub(crate) fn closes_in(&self) -> Option<i64> {
        let quiet = self.now?.saturating_sub(self.quiet_since?);
        Some(self.rules.close_after_quiet?.saturating_sub(quiet).max(0))
    }

    /// Raises the watermark above what the partitions say: they are behind it then.
    pub(crate) fn raise(&mut self, watermark: i64) {
        if watermark <= self.watermark {
            return;
        }
        self.watermark = watermark;
        for slot in 0..self.lanes.len() as u32 {
            self.note_change(slot);
        }
        self.unsettled = true;
    }

    // Events off the hot path.

    pub(crate) fn find(&self, partition: Partition) -> Option<u32> {
        self.lanes
            .get(partition.slot as usize)
            .filter(|lane| lane.generation == partition.generation && lane.state != State::Vacant)
            .map(|_| partition.slot)
    }

    /// How far ahead an event may be, if a guard is set and there is something to be ahead of: the
    /// partition's progress or, if it is further, the host's clock (W7).
    pub(crate) fn horizon(&self, slot: u32) -> Option<i64> {
        let (skew, _) = self.rules.skew?;
        let lane = &self.lanes[slot as usize];
        let progress = lane.seen.then_some(lane.max_time);
        progress.max(self.now).map(|reference| reference.saturating_add(skew))
    }

    /// Takes an event into its partition's progress.
    pub(crate) fn observe(&mut self, slot: u32, time: i64) {
        self.heard = true;
        let lane = &mut self.lanes[slot as usize];
        let before = lane.watermark();
        lane.take(time, self.rules.learning.as_ref());
        // Where the host sets the watermark an event says that the partition is alive, and no more.
        let reported = lane.reports();
        let raised = lane.watermark() > before;
        if lane.state == State::Idle && (raised || !reported) {
            self.activate(slot);
        }
        let lane = &mut self.lanes[slot as usize];
        if reported && (raised || lane.fresh) {
            lane.fresh = false;
            self.note_change(slot);
        }
        self.set_limit(slot);
    }

    // The watermark.

    /// Whether something was declared that the watermark has not been evaluated for.
    #[inline(always)]
    pub(crate) fn is_unsettled(&self) -> bool {
        self.unsettled
    }

    /// Evaluates the watermark and sets the alarm for the next one that matters, which `next` gives for a
    /// watermark.
    pub(crate) fn settle(&mut self, next: impl Fn(i64) -> i64) -> i64 {
        self.evaluate();
        self.unsettled = false;
        if self.watermark >= self.boundary {
            self.boundary = next(self.watermark);
        }
        self.set_alarm();
        self.watermark
    }

    /// The watermark from the partitions as they are (W3, W4).
    fn evaluate(&mut self) {
        let before = self.watermark;
        while let Some(slot) = self.pending.pop() {
            self.lanes[slot as usize].pending = false;
            self.tree.set(slot, self.bound(slot, before));
            self.set_limit(slot);
        }
        self.watermark = match self.without_minimum() {
            Some(watermark) => watermark,
            None => self.least().map_or(before, |least| before.max(least)),
        };
        if before < i64::MAX {
            self.before_end = before;
        }
        *self.observed.get_mut() = false;
    }

    /// Comes before anything is declared: what was pushed has been observed, and so has what was declared
    /// before if the host looked.
    fn before_declaring(&mut self) {
        if !self.unsettled || *self.observed.get_mut() {
            self.evaluate();
        }
    }

    /// The watermark as it would be settled now. O(log partitions) when nothing is pending.
    pub(crate) fn watermark(&self) -> i64 {
        self.observed.store(true, Ordering::Relaxed);
        self.present()
    }

    /// The same where it is not the host that looks: exact, where [`settled`](Self::settled) may be behind.
    pub(crate) fn present(&self) -> i64 {
        match (self.without_minimum(), self.holder()) {
            (Some(watermark), _) => watermark,
            (None, Some((_, least))) => self.watermark.max(least),
            (None, None) => self.watermark,
        }
    }

    /// The watermark last settled.
    pub(crate) fn settled(&self) -> i64 {
        self.watermark
    }

    /// Where it was before it was there: what was due by then is not due because the input has ended.
    pub(crate) fn before_end(&self) -> i64 {
        if self.watermark < i64::MAX { self.watermark } else { self.before_end }
    }

    /// The next watermark that matters to the windows.
    pub(crate) fn boundary(&self) -> i64 {
        self.boundary
    }

    /// Something will matter to the windows earlier than what was known before.
    pub(crate) fn lower_boundary(&mut self, boundary: i64) {
        if boundary < self.boundary {
            self.boundary = boundary;
            if let Some(slot) = self.armed {
                self.set_limit(slot);
            }
        }
    }

    /// The host's clock at its last tick.
    pub(crate) fn now(&self) -> Option<i64> {
        self.now
    }

    /// Whether nothing has been declared yet.
    pub(crate) fn is_new(&self) -> bool {
        self.lanes.is_empty() && self.now.is_none() && !self.finished
    }

    /// Who holds the minimum, and where.
    fn holder(&self) -> Option<(u32, i64)> {
        if self.unsettled {
            let weights =
                (0..self.lanes.len() as u32).filter_map(|s| Some((s, self.weight(s, self.watermark)?)));
            return weights.min_by_key(|&(_, weight)| weight);
        }
        self.holder_by_bounds()
    }

    /// What a partition that counts brings to the minimum.
    fn exact(&self, slot: u32) -> i64 {
        let lane = &self.lanes[slot as usize];
        if lane.fresh { i64::MIN } else { lane.watermark() }
    }

    /// A partition's place in the tree: below `i64::MAX`, which there says that it does not count.
    fn bound(&self, slot: u32, observed: i64) -> i64 {
        self.weight(slot, observed).map_or(i64::MAX, |weight| weight.min(TOP))
    }

    /// The partition that holds the watermark back, if one does.
    pub(crate) fn held_by(&self) -> Option<Partition> {
        self.observed.store(true, Ordering::Relaxed);
        if self.without_minimum().is_some() {
            return None;
        }
        self.holder().map(|(slot, _)| self.handle(slot))
    }

    /// The watermark where it is not a minimum over partitions: at the end of input, with no partitions,
    /// or with all of them idle (W4, W5).
    fn without_minimum(&self) -> Option<i64> {
        if self.finished || (self.present == 0 && self.any_ended) {
            return Some(i64::MAX);
        }
        if self.active > 0 {
            return None;
        }
        // A settled value stands until something changes, so that this is not a scan at every look.
        if !self.unsettled {
            return Some(self.watermark);
        }
        let idle = self.lanes.iter().filter(|lane| lane.state == State::Idle);
        Some(idle.map(Lane::watermark).fold(self.watermark, i64::max))
    }

    /// What a partition brings to the minimum, if it counts: the one place that decides who does.
    fn weight(&self, slot: u32, observed: i64) -> Option<i64> {
        let lane = &self.lanes[slot as usize];
        match lane.state {
            State::Vacant | State::Idle => None,
            State::Active if lane.fresh => Some(i64::MIN),
            State::Active => {
                let watermark = lane.watermark();
                (watermark >= observed || self.rules.resume == Resume::Hold).then_some(watermark)
            }
        }
    }

    /// The minimum, after bringing the tree's lower bounds up to date as far as they matter for it.
    fn least(&mut self) -> Option<i64> {
        loop {
            let (slot, bound) = self.tree.min()?;
            let exact = self.exact(slot);
            if bound == TOP {
                return self.holder_by_bounds().map(|(_, least)| least);
            }
            if exact == bound {
                return Some(exact);
            }
            self.tree.set(slot, exact.min(TOP));
        }
    }

    /// Brings the bounds up to date for who looks at the present watermark again and again, and at who holds it.
    pub(crate) fn refresh(&mut self) {
        if self.without_minimum().is_none() {
            self.least();
            if self.tree.min().map(|(slot, _)| slot) != self.armed {
                self.set_alarm();
            }
        }
    }

    fn holder_by_bounds(&self) -> Option<(u32, i64)> {
        self.tree.min_by(&|slot| self.exact(slot))
    }

    fn set_alarm(&mut self) {
        let holder = self.tree.min().map(|(slot, _)| slot);
        let before = core::mem::replace(&mut self.armed, holder);
        for slot in [before, holder].into_iter().flatten() {
            self.set_limit(slot);
        }
    }

    /// Up to where an event of this partition changes nothing but its maximum.
    fn set_limit(&mut self, slot: u32) {
        let lane = &self.lanes[slot as usize];
        let mut limit = self.rules.beyond;
        let is_unheard = self.rules.hears() && !lane.touched;
        // (Where a bound is learned, every event teaches.)
        if lane.state != State::Active || !lane.seen || is_unheard || lane.learned.is_some() {
            limit = i64::MIN;
        } else if let Some(bound) = lane.bound {
            if self.tree.get(slot) == i64::MAX {
                // It may have caught up with any event that raises its watermark.
                limit = limit.min(lane.max_time.saturating_add(1));
            } else if self.armed == Some(slot) {
                limit = limit.min(self.boundary.saturating_add(bound));
            }
        }
        if let Some(horizon) = self.horizon(slot) {
            limit = limit.min(horizon.saturating_add(1));
        }
        if core::mem::replace(&mut self.lanes[slot as usize].limit, limit) != limit {
            self.common.lower_to(limit);
        }
    }

    fn activate(&mut self, slot: u32) {
        let lane = &mut self.lanes[slot as usize];
        lane.fresh = false;
        if lane.state == State::Idle {
            lane.state = State::Active;
            lane.quiet_since = None;
            self.active += 1;
        }
        self.note_change(slot);
    }

    fn idle(&mut self, slot: u32) {
        let lane = &mut self.lanes[slot as usize];
        lane.fresh = false;
        lane.quiet_since = None;
        if lane.state == State::Active {
            lane.state = State::Idle;
            self.active -= 1;
        }
        self.note_change(slot);
    }

    fn note_change(&mut self, slot: u32) {
        self.unsettled = true;
        if !core::mem::replace(&mut self.lanes[slot as usize].pending, true) {
            self.pending.push(slot);
        }
    }

    // Looking.

    fn handle(&self, slot: u32) -> Partition {
        Partition { slot, generation: self.lanes[slot as usize].generation }
    }

    pub(crate) fn statuses(&self) -> impl Iterator<Item = PartitionStatus> + '_ {
        self.observed.store(true, Ordering::Relaxed);
        let present = |slot: &u32| self.lanes[*slot as usize].state != State::Vacant;
        (0..self.lanes.len() as u32).filter(present).map(|slot| self.status(slot))
    }

    fn status(&self, slot: u32) -> PartitionStatus {
        let lane = &self.lanes[slot as usize];
        let counts = match self.unsettled {
            true => self.weight(slot, self.watermark).is_some(),
            false => self.tree.get(slot) != i64::MAX,
        };
        let state = match lane.state {
            State::Vacant | State::Idle => PartitionState::Idle,
            State::Active if lane.fresh => PartitionState::Waiting,
            State::Active if counts => PartitionState::Active,
            State::Active => PartitionState::CatchingUp,
        };
        PartitionStatus {
            partition: self.handle(slot),
            watermark: Watermark::from_micros(lane.watermark()),
            state,
            last_event: lane.seen.then(|| Timestamp::from_micros(lane.max_time)),
            quiet_since: lane.quiet_since.map(Timestamp::from_micros),
            disorder: self.rules.bound_of(lane).map(TimeDelta::microseconds),
        }
    }

    /// A partition's own watermark.
    pub(crate) fn own(&self, partition: Partition) -> Option<i64> {
        self.find(partition).map(|slot| self.lanes[slot as usize].watermark())
    }

    pub(crate) fn get(&self, partition: Partition) -> Option<PartitionStatus> {
        self.find(partition).map(|slot| self.status(slot))
    }

    pub(crate) fn bytes(&self) -> usize {
        let learned =
            |lane: &Lane| lane.learned.as_ref().map_or(0, |l| size_of::<Learned>() + l.delays.bytes());
        let learned: usize = match self.rules.learning {
            Some(_) => self.lanes.iter().map(learned).sum(),
            None => 0,
        };
        learned
            + self.lanes.capacity() * size_of::<Lane>()
            + (self.vacant.capacity() + self.pending.capacity()) * size_of::<u32>()
            + self.tree.bytes()
    }
}

/// Since when both have been quiet, if they have.
fn later(one: Option<i64>, other: Option<i64>) -> Option<i64> {
    Some(one?.max(other?))
}

/// What a snapshot keeps of [`Progress`]: everything but what follows from it.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Saved {
    lanes: Vec<Lane>,
    vacant: Vec<u32>,
    watermark: i64,
    before_end: i64,
    pending: Vec<u32>,
    unsettled: bool,
    observed: bool,
    any_ended: bool,
    finished: bool,
    now: Option<i64>,
    heard: bool,
    quiet_since: Option<i64>,
    latest_gone: Option<i64>,
}

impl Progress {
    pub(crate) fn save(&self) -> Saved {
        Saved {
            lanes: self.lanes.clone(),
            vacant: self.vacant.clone(),
            watermark: self.watermark,
            before_end: self.before_end,
            pending: self.pending.clone(),
            unsettled: self.unsettled,
            observed: self.observed.load(Ordering::Relaxed),
            any_ended: self.any_ended,
            finished: self.finished,
            now: self.now,
            heard: self.heard,
            quiet_since: self.quiet_since,
            latest_gone: self.latest_gone,
        }
    }

    /// The progress that was saved, or what is wrong with it.
    pub(crate) fn load(rules: Rules, mut saved: Saved) -> Result<Self, &'static str> {
        saved.check()?;
        for lane in &mut saved.lanes {
            match (&mut lane.learned, &rules.learning) {
                (Some(learned), Some(learning)) => learned.delays.restored(learning)?,
                (None, None) => {}
                _ => return Err("a partition learns its bound where others do not"),
            }
        }
        let count = |state| saved.lanes.iter().filter(|lane| lane.state == state).count() as u32;
        let active = count(State::Active);
        let mut progress = Self {
            active,
            present: active + count(State::Idle),
            watermark: saved.watermark,
            before_end: saved.before_end,
            unsettled: saved.unsettled,
            observed: AtomicBool::new(saved.observed),
            any_ended: saved.any_ended,
            finished: saved.finished,
            now: saved.now,
            heard: saved.heard,
            quiet_since: saved.quiet_since,
            latest_gone: saved.latest_gone,
            lanes: saved.lanes,
            vacant: saved.vacant,
            pending: saved.pending,
            ..Self::new(rules)
        };
        for slot in 0..progress.lanes.len() as u32 {
            // What is pending has not been weighed yet. Bounds were lower bounds: exact ones serve.
            let bound = match progress.lanes[slot as usize].pending {
                true => i64::MAX,
                false => progress.bound(slot, progress.watermark),
            };
            progress.tree.set(slot, bound);
            // Each partition's first event goes the long way and sets its limit.
            progress.lanes[slot as usize].limit = i64::MIN;
        }
        Ok(progress)
    }
}

impl Saved {
    /// As if bounds were not learned.
    pub(crate) fn forget_learned(&mut self) {
        self.lanes.iter_mut().for_each(|lane| lane.learned = None);
    }

    /// Takes in what another kernel knows of the same partitions, of which it has seen other keys' events; or says what keeps
    /// them apart.
    pub(crate) fn absorb(&mut self, other: Self) -> Result<(), &'static str> {
        if self.watermark != other.watermark || self.finished != other.finished {
            return Err("it has another watermark than the first: bring all to the same one");
        }
        if self.lanes.len() != other.lanes.len() || self.vacant != other.vacant {
            return Err("it has other partitions than the first");
        }
        for (lane, other) in self.lanes.iter_mut().zip(&other.lanes) {
            if (lane.generation, lane.state, lane.bound) != (other.generation, other.state, other.bound) {
                return Err("it has other partitions than the first, or has them in other states");
            }
            match (&mut lane.learned, &other.learned) {
                (Some(learned), Some(other)) => learned.absorb(other),
                (None, None) => {}
                _ => return Err("it has partitions that learn their bounds where the first has others"),
            }
            lane.max_time = lane.max_time.max(other.max_time);
            lane.floor = lane.floor.max(other.floor);
            lane.touched |= other.touched;
            lane.seen |= other.seen;
            lane.fresh &= other.fresh;
            lane.pending |= other.pending;
            lane.quiet_since = later(lane.quiet_since, other.quiet_since);
        }
        self.pending =
            (0..).zip(&self.lanes).filter(|(_, lane)| lane.pending).map(|(slot, _)| slot).collect();
        self.before_end = self.before_end.max(other.before_end);
        // (Together they may have come further than any of them.)
        self.unsettled = true;
        self.observed |= other.observed;
        self.any_ended |= other.any_ended;
        self.now = self.now.max(other.now);
        self.heard |= other.heard;
        self.quiet_since = later(self.quiet_since, other.quiet_since);
        self.latest_gone = self.latest_gone.max(other.latest_gone);
        Ok(())
    }

    /// What [`Progress`] takes for granted of its own state.
    fn check(&self) -> Result<(), &'static str> {
        let mut vacant = alloc::vec![false; self.lanes.len()];
        for &slot in &self.vacant {
            match vacant.get_mut(slot as usize) {
                Some(listed) if !*listed => *listed = true,
                _ => return Err("a vacant partition slot is listed twice or does not exist"),
            }
        }
        let mut pending = alloc::vec![false; self.lanes.len()];
        for &slot in &self.pending {
            match pending.get_mut(slot as usize) {
                Some(listed) if !*listed => *listed = true,
                _ => return Err("a changed partition is listed twice or does not exist"),
            }
        }
        if !self.unsettled && !self.pending.is_empty() {
            return Err("partitions have changed but the watermark is said to be settled");
        }
        for (slot, lane) in self.lanes.iter().enumerate() {
            if (lane.state == State::Vacant) != vacant[slot] || lane.pending != pending[slot] {
                return Err("a partition's state contradicts the lists of slots");
            }
            if lane.bound.is_some_and(|bound| bound < 0) {
                return Err("a partition's bound of disorder is negative");
            }
        }
        Ok(())
    }
}
