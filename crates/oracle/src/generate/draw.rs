//! From small numbers to configurations and steps.

use crate::case::{Base, Config, FutureSkew, Generator, Kind, LateFiring, Resume, SkewPolicy, Step, Windows};
use crate::generate::MAX_OVERLAP;

pub(super) const CONFIG_BYTES: usize = 12;
pub(super) const PROFILE_BYTES: usize = 6;
pub(super) const DRAW_BYTES: usize = 6;

/// Every relation of size and slide matters, and none needs large numbers.
const SIZES: [i64; 15] = [10, 1, 2, 3, 4, 5, 6, 7, 8, 12, 15, 60, 100, 1000, 4096];

/// Any bytes make a legal configuration of one definition of sliding windows that
/// fire on time.
pub(super) fn aligned_config(bytes: [u8; CONFIG_BYTES]) -> Config {
    let [b0, b1, b2, b3, b4, b5, b6, b7, b8, b9, b10, b11] = bytes;
    let size = match SIZES.get(usize::from(b0 % 16)) {
        Some(&size) => size,
        None => i64::MAX >> (b1 % 8),
    };
    let slide = slide(size, b2, b3);
    let windows = Windows {
        lateness: lateness(size, b6, b7),
        late_firing: if b10 & 2 == 0 { LateFiring::EachEvent } else { LateFiring::OncePerDrain },
        ..Windows::of(Kind::Sliding { size, slide, offset: offset(slide, b4, b5) })
    };
    Config {
        generator: generator(size, b8),
        idle_timeout: (b9 >= 128).then(|| unit_of(size, slide).saturating_mul((b9 % 8).into())),
        resume: if b10 & 1 == 0 { Resume::Exclude } else { Resume::Hold },
        max_future_skew: (b11 >= 160).then(|| FutureSkew {
            skew: size.saturating_mul((b11 / 2 % 8).into()),
            policy: if b11 & 1 == 0 { SkewPolicy::Admit } else { SkewPolicy::Reject },
        }),
        ..Config::of(windows)
    }
}

fn slide(size: i64, kind: u8, detail: u8) -> i64 {
    let detail = i64::from(detail);
    let slide = match kind % 8 {
        0 => size,
        1 => size / 2,
        2 => size / 3,
        3 => 1 + detail % 16,
        4 => size.saturating_add(1 + detail % 8),
        5 => size.saturating_mul(2),
        6 => size - 1,
        _ => size / (1 + detail % 32),
    };
    slide.max(1).max(size / MAX_OVERLAP + 1)
}

fn offset(slide: i64, kind: u8, detail: u8) -> i64 {
    let detail = i64::from(detail);
    match kind % 8 {
        0 => 0,
        1 => 1 + detail % slide,
        2 => -1 - detail,
        3 => (-3 * detail - 1).saturating_sub(slide),
        4 => slide.saturating_add(detail),
        5 => i64::MIN + detail,
        6 => i64::MAX - detail,
        _ => -1,
    }
}

pub(super) fn lateness(size: i64, kind: u8, detail: u8) -> i64 {
    let detail = i64::from(detail);
    match kind % 8 {
        0 | 1 => 0,
        2 => 1 + detail % 8,
        3 => size,
        4 => size / 2,
        5 => i64::MAX,
        6 => i64::MAX - detail,
        _ => detail,
    }
}

fn generator(size: i64, kind: u8) -> Generator {
    let bound = match kind % 8 {
        0..=2 => return Generator::Host,
        3 => 0,
        4 => 1,
        5 => i64::from(kind / 8),
        6 => size,
        _ if kind == 255 => i64::MAX,
        _ => size / 2,
    };
    Generator::Bounded { bound }
}

/// The step of the clock: a few of them cross a window, whatever its size.
pub(super) fn unit_of(size: i64, slide: i64) -> i64 {
    (size.min(slide) / 4).max(1)
}

/// The step of the clock, and the distance and the place of what an event's time
/// is put close to.
fn scale(kind: &Kind) -> (i64, i64, i64) {
    match *kind {
        Kind::Sliding { size, slide, offset } => (unit_of(size, slide), slide, offset),
        Kind::Cumulative { step, max, offset } => (unit_of(max, step), step, offset),
        // One step stays in a session, two leave it.
        Kind::Session { gap, .. } => ((gap / 4 * 3).max(1), gap, 0),
        Kind::Global => (2, 10, 0),
        Kind::Edges { ref edges } => {
            let length = edges[1] - edges[0];
            (unit_of(length, length), length, edges[0])
        }
    }
}

fn gap_of(kind: &Kind) -> Option<i64> {
    match *kind {
        Kind::Session { gap, .. } => Some(gap),
        _ => None,
    }
}

fn is_continuous(windows: &Windows) -> bool {
    matches!(windows.trigger.base, Base::Continuous { .. })
}

/// What one case is like: its kinds of step, its disorder, its keys (swarm
/// testing: a case with everything in it never gets far in any direction).
pub(super) struct Profile {
    unit: i64,
    slide: i64,
    offset: i64,
    /// What events keep sessions open by themselves; the least, if that differs.
    gap: Option<i64>,
    /// Whether an event may keep one open for ages. Where that fires again and
    /// again until its end, it would never come to it.
    endless_gaps: bool,
    /// How many were added, and which of them are still there.
    added: u32,
    live: Vec<u32>,
    /// Bit `n` set: steps of kind `n` become events.
    off: u8,
    disorder: u8,
    keys: u8,
    finish: bool,
    clock: i64,
    /// Whether silence closes windows: then it has to last for a few ticks.
    closes: bool,
    /// Whether the last step was a tick.
    silent: bool,
}

/// One step before it is given a meaning.
#[derive(Clone, Copy)]
struct Draw {
    op: u8,
    who: u8,
    advance: u8,
    shift: u8,
    key: u8,
    value: u8,
}

impl Profile {
    pub(super) fn new(bytes: [u8; PROFILE_BYTES], config: &Config) -> Self {
        let [partitions, off, off_too, disorder, keys, base] = bytes;
        let (unit, slide, offset) = scale(&config.windows[0].kind);
        let gaps = config.windows.iter().map(|windows| &windows.kind);
        Self {
            unit,
            slide,
            offset,
            gap: gaps.filter_map(gap_of).min(),
            endless_gaps: !config.windows.iter().any(is_continuous),
            added: 0,
            live: (0..[1, 2, 3, 1, 2, 1, 4, 2][usize::from(partitions % 8)]).collect(),
            // Without watermarks little happens, so they go off less often; wild
            // times spoil all that follows, so they go on less often.
            off: (off & !SET_WATERMARK & !WILD) | (off & off_too & SET_WATERMARK) | ((off | off_too) & WILD),
            disorder: disorder % 6,
            keys: keys % 4,
            finish: keys & 4 == 0,
            clock: match base % 8 {
                6 => i64::MIN + 50,
                7 => i64::MAX - 400,
                5 => -1000,
                _ => 0,
            },
            closes: config.close_after_quiet.is_some(),
            silent: false,
        }
    }

    /// All partitions first, then one step for each draw.
    pub(super) fn steps(mut self, draws: &[[u8; DRAW_BYTES]]) -> Vec<Step> {
        let mut steps = vec![Step::Add; self.live.len()];
        self.added = u32::try_from(self.live.len()).expect("a few");
        for &[op, who, advance, shift, key, value] in draws {
            let draw = Draw { op, who, advance, shift, key, value };
            self.advance(draw);
            let step = self.step(draw);
            self.silent = matches!(step, Step::Tick { .. });
            steps.push(step);
        }
        if self.finish {
            steps.push(Step::Finish);
        }
        steps
    }

    fn advance(&mut self, draw: Draw) {
        let units = match (self.disorder, draw.advance) {
            (_, 249) if self.is_on(WILD) => 1000,
            // Bursts: long standstill, then a leap.
            (BURSTS, advance) if advance % 16 == 15 => 12,
            (BURSTS, _) => 0,
            (_, advance) => i64::from(advance % 4) / 2,
        };
        let by = self.unit.saturating_mul(units);
        // Not all the way to the limit: there is nothing left to try there.
        self.clock = self.clock.saturating_add(by).min(i64::MAX - 8);
    }

    fn step(&mut self, draw: Draw) -> Step {
        let p = self.partition(draw);
        match draw.op {
            // Without partitions nothing more would happen.
            1.. if self.live.is_empty() => self.add(),
            160..=209 if self.is_on(SET_WATERMARK) => Step::SetWatermark { p, w: self.watermark(draw) },
            210..=221 if self.is_on(IDLE) => Step::Idle { p },
            222..=231 if self.is_on(ACTIVE) => Step::Active { p },
            232..=241 if self.is_on(TICK) => self.tick(draw),
            1..=120 if self.closes && self.silent => self.tick(draw),
            242..=246 if self.is_on(ADD) => self.add(),
            247..=249 if self.is_on(GO) => {
                self.live.retain(|&live| live != p);
                Step::Remove { p }
            }
            // Ending the last one is the end of input: not too often.
            250..=252 if self.is_on(GO) && (self.live.len() > 1 || draw.shift >= 192) => {
                self.live.retain(|&live| live != p);
                Step::End { p }
            }
            255 if self.is_on(GO) && draw.shift >= 224 => {
                self.live.clear();
                Step::Finish
            }
            _ => self.event(draw),
        }
    }

    fn tick(&self, draw: Draw) -> Step {
        Step::Tick { now: self.clock.saturating_add(i64::from(draw.shift % 4)) }
    }

    fn add(&mut self) -> Step {
        self.live.push(self.added);
        self.added += 1;
        Step::Add
    }

    fn event(&self, draw: Draw) -> Step {
        Step::Event {
            p: self.partition(draw),
            time: self.time(draw),
            key: self.key(draw.key).into(),
            value: self.value(draw),
            gap: self.gap(draw),
        }
    }

    /// Mostly none.
    fn gap(&self, draw: Draw) -> Option<i64> {
        let gap = self.gap?;
        let small = i64::from(draw.value % 8);
        match draw.op {
            120..=129 => Some((gap / 2).max(1)),
            130..=139 => Some(gap.saturating_mul(2)),
            140..=146 => Some(1 + small),
            147..=153 => Some(gap.saturating_mul(4)),
            154..=156 => Some(gap),
            157 if self.is_on(WILD) && self.endless_gaps => Some(i64::MAX - small),
            158 if self.is_on(WILD) => Some(-small),
            159 if self.is_on(WILD) => Some(i64::MIN + small),
            _ => None,
        }
    }

    /// Now and then one that is gone, or not there yet.
    fn partition(&self, draw: Draw) -> u32 {
        let who = usize::from(draw.who);
        match self.live.get(who % self.live.len().max(1)) {
            Some(&p) if who < 248 => p,
            _ => u32::from(draw.who) % (self.added + 2),
        }
    }

    fn time(&self, draw: Draw) -> i64 {
        let small = i64::from(draw.value);
        if self.is_on(WILD) && draw.advance >= 250 {
            return match draw.advance {
                250 => i64::MIN + small,
                251 => i64::MAX - small,
                252 => self.clock.saturating_add(self.unit.saturating_mul(10_000)),
                253 => -small,
                254 => self.clock.saturating_add(i64::MAX / 2),
                _ => self.clock.saturating_sub(i64::MAX / 2),
            };
        }
        let shift = i64::from(draw.shift % 64);
        let back = match self.disorder {
            IN_ORDER | BURSTS => 0,
            BOUNDED => self.unit.saturating_mul(shift % 8),
            STRAGGLERS if shift < 52 => 0,
            STRAGGLERS => self.slide.saturating_mul(3),
            LAGS => self.unit.saturating_mul(2).saturating_mul(self.partition(draw).into()),
            _ => self.unit.saturating_mul(shift) / 2,
        };
        let time = self.clock.saturating_sub(back);
        match draw.shift / 64 {
            3 => self.near_boundary(time).saturating_sub(small % 2),
            _ => time.saturating_add(small % 3),
        }
    }

    /// Boundaries are where mistakes are: a window starts here, or would, were
    /// it not for the limits, so nothing depends on this being exact there.
    fn near_boundary(&self, time: i64) -> i64 {
        let into_slide = time.wrapping_sub(self.offset).rem_euclid(self.slide);
        time.saturating_sub(into_slide)
    }

    fn watermark(&self, draw: Draw) -> i64 {
        let small = i64::from(draw.shift % 8);
        match draw.value {
            252 if self.is_on(WILD) => i64::MAX - small,
            253 if self.is_on(WILD) => i64::MIN + small,
            254 if self.is_on(WILD) => self.clock.saturating_add(self.unit.saturating_mul(100)),
            value => {
                let behind = self.unit.saturating_mul(small - 5);
                let w = self.clock.saturating_sub(behind);
                w.saturating_add(i64::from(value % 3))
            }
        }
    }

    /// One key; a few; one hot and many cold; all different.
    fn key(&self, key: u8) -> u8 {
        match self.keys {
            0 => 0,
            1 => key % 3,
            2 if key < 192 => 0,
            _ => key,
        }
    }

    /// Mostly small and of both signs; sums have to wrap somewhere.
    fn value(&self, draw: Draw) -> i64 {
        let small = i64::from(draw.value) - 3;
        match draw.key {
            254 if self.is_on(WILD) => i64::MIN + small.max(0),
            255 if self.is_on(WILD) => i64::MAX - small.max(0),
            _ => small,
        }
    }

    fn is_on(&self, kind: u8) -> bool {
        self.off & kind == 0
    }
}

const SET_WATERMARK: u8 = 1;
const IDLE: u8 = 2;
const ACTIVE: u8 = 4;
const TICK: u8 = 8;
const ADD: u8 = 16;
const GO: u8 = 32;
const WILD: u8 = 64;

const IN_ORDER: u8 = 0;
const BOUNDED: u8 = 1;
const STRAGGLERS: u8 = 2;
const BURSTS: u8 = 3;
const LAGS: u8 = 4;
