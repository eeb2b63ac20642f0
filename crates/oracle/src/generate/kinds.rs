//! From small numbers to definitions of windows of every kind.

use crate::case::{Accumulation, Base, Config, Generator, Kind, LateFiring, Trigger, Windows};
use crate::generate::draw::{lateness, unit_of};

/// So many definitions at most, so many bytes for each, and for what they share.
const DEFINITIONS: usize = 3;
const DEFINITION_BYTES: usize = 12;
const SHARED_BYTES: usize = 7;
pub(super) const KINDS_BYTES: usize = SHARED_BYTES + DEFINITIONS * DEFINITION_BYTES;

/// Where windows fire more often than at their end, or without events, an event is
/// in no more than about so many of them.
const MAX_BUSY_OVERLAP: i64 = 16;

/// Any bytes turn aligned windows, which set the scale, into legal definitions.
/// Zeros leave them as they are.
pub(super) fn config(aligned: Config, bytes: [u8; KINDS_BYTES]) -> Config {
    let (shared, bytes) = bytes.split_at(SHARED_BYTES);
    let [b0, b1, b2, b3, b4, b5, b6] = *shared else { unreachable!("as many as they share") };
    let definitions = match b0 {
        0..=179 => 1,
        180..=229 => 2,
        _ => DEFINITIONS,
    };
    let bytes = bytes.chunks(DEFINITION_BYTES).take(definitions);
    let windows = bytes.map(|bytes| {
        let bytes = bytes.try_into().expect("as many as a definition takes");
        definition(&aligned.windows[0], bytes)
    });
    let Kind::Sliding { size, slide, .. } = aligned.windows[0].kind else {
        unreachable!("sliding windows set the scale, not {aligned:?}");
    };
    let unit = unit_of(size, slide);
    Config {
        windows: windows.collect(),
        generator: if b1 % 6 == 5 { learned(size, unit, [b1, b2, b3, b4, b5]) } else { aligned.generator },
        close_after_quiet: (b6 % 6 == 5).then(|| close_after_quiet(unit, b6 / 6)),
        ..aligned
    }
}

/// Often with so few events that what is learned changes all the time.
fn learned(size: i64, unit: i64, [b1, b2, b3, b4, b5]: [u8; 5]) -> Generator {
    let at_least = match b2 % 4 {
        0 | 1 => 0,
        2 => 1 + i64::from(b2 / 4 % 8),
        _ => unit,
    };
    let more = match b3 % 8 {
        0 => 0,
        1 => i64::MAX,
        2 => 1 + i64::from(b3 / 8),
        3 | 4 => unit.saturating_mul(4),
        _ => size,
    };
    Generator::Learned {
        ppm: [1_000_000, 990_000, 900_000, 750_000, 500_000, 250_001, 1][usize::from(b1 / 6 % 7)],
        at_least,
        at_most: at_least.saturating_add(more),
        warm_up: i64::from(b4 % 5),
        memory: 2 + i64::from(b5 % 11),
    }
}

fn close_after_quiet(unit: i64, detail: u8) -> i64 {
    match detail % 6 {
        0 => 0,
        1 => unit,
        2 => unit / 2,
        3 => unit.saturating_mul(2),
        4 => i64::from(detail / 6),
        _ => unit - 1,
    }
}

fn definition(aligned: &Windows, bytes: [u8; DEFINITION_BYTES]) -> Windows {
    let Kind::Sliding { size, slide, offset } = aligned.kind else {
        unreachable!("sliding windows set the scale, not {aligned:?}");
    };
    let [b0, b1, b2, b3, b4, b5, b6, b7, b8, b9, b10, b11] = bytes;
    let unit = unit_of(size, slide);
    let kind = match b0 % 16 {
        0..=3 => aligned.kind.clone(),
        4 => other_sliding(size, slide, b1, b2),
        5 | 6 => cumulative(size, offset, b1),
        7..=9 => Kind::Session { gap: gap(size, unit, b1), max_length: None },
        10..=12 => session_of_at_most(gap(size, unit, b1), b2),
        13 => Kind::Global,
        _ => Kind::Edges { edges: edges(size, unit, b1, b2) },
    };
    let windows = Windows {
        lateness: if b8 < 128 { aligned.lateness } else { lateness(size, b8, b9) },
        late_firing: if b8 & 1 == 0 { aligned.late_firing } else { LateFiring::OncePerDrain },
        trigger: trigger(&kind, unit, [b3, b4, b5, b6]),
        accumulation: match b7 {
            0..=119 => Accumulation::Accumulating,
            120..=187 => Accumulation::Discarding,
            _ => Accumulation::Retracting,
        },
        fill: None,
        kind,
    };
    let fills = windows.is_plain() && b10 % 5 == 4;
    let windows = if windows.is_plain() && !fills { windows } else { fewer(windows) };
    Windows { fill: fills.then(|| horizon(&windows.kind, b10 / 5, b11)), ..windows }
}

/// Up to the end of one of the next windows, or close to it.
fn horizon(kind: &Kind, kind_of: u8, detail: u8) -> i64 {
    let distance = match kind {
        Kind::Sliding { slide, .. } => *slide,
        Kind::Cumulative { step, .. } => *step,
        Kind::Edges { .. } if detail >= 250 => return i64::MAX,
        Kind::Edges { edges } => edges[1] - edges[0],
        Kind::Session { .. } | Kind::Global => unreachable!("{kind:?} is not filled"),
    };
    let horizon = distance.saturating_mul((detail % 7).into());
    match kind_of % 4 {
        0 | 1 => horizon,
        2 => (horizon - 1).max(0),
        _ => horizon.saturating_add(distance / 2),
    }
}

/// Sliding windows that share some edges with the first.
fn other_sliding(size: i64, slide: i64, of_size: u8, of_slide: u8) -> Kind {
    let size = size.saturating_mul((1 + of_size % 4).into());
    let slide = slide.saturating_mul((1 + of_slide % 3).into());
    Kind::Sliding { size, slide, offset: 0 }
}

fn cumulative(size: i64, offset: i64, steps: u8) -> Kind {
    let steps = i64::from(1 + steps % 8);
    let step = (size / steps).max(1);
    Kind::Cumulative { step, max: step * steps, offset }
}

fn gap(size: i64, unit: i64, detail: u8) -> i64 {
    let gap = match detail % 8 {
        0 => unit,
        1 => unit.saturating_mul(2),
        2 => unit / 2,
        3 => size,
        4 => 1,
        5 => unit.saturating_mul(3),
        6 => size / 2,
        _ => i64::from(2 + detail / 8),
    };
    gap.max(1)
}

fn session_of_at_most(gap: i64, detail: u8) -> Kind {
    let max_length = match detail % 6 {
        0 => gap.saturating_mul(2),
        1 => gap.saturating_mul(3).saturating_add(1),
        2 => gap.saturating_mul(8),
        3 => gap,
        4 => gap.saturating_add(1),
        _ => (gap / 2).max(1),
    };
    Kind::Session { gap, max_length: Some(max_length) }
}

/// Mostly as long as a size, now and then longer or shorter, as days are.
fn edges(size: i64, unit: i64, count: u8, from: u8) -> Vec<i64> {
    let from = match from % 4 {
        0 => 0,
        1 => -(size / 2),
        2 => -1000 - i64::from(from),
        _ => i64::MIN,
    };
    let mut edges = vec![from];
    for number in 0..=count % 32 {
        let length = match number % 4 {
            1 => size.saturating_add(unit),
            2 => (size - unit).max(1),
            _ => size,
        };
        edges.extend(edges[usize::from(number)].checked_add(length));
        if edges.len() < usize::from(number) + 2 {
            break;
        }
    }
    edges
}

fn trigger(kind: &Kind, unit: i64, [base, n, early, detail]: [u8; 4]) -> Trigger {
    let count = Base::Count { n: i64::from(1 + n % 6) };
    match (base, kind) {
        (0..=159, _) => early_trigger(unit, n, early, detail),
        // A global window that fires continuously never ends.
        (160..=199, _) | (_, Kind::Global) => Trigger::on(count),
        _ => Trigger::on(Base::Continuous { every: every(kind, n) }),
    }
}

fn early_trigger(unit: i64, n: u8, early: u8, detail: u8) -> Trigger {
    let which = if early < 100 { 0 } else { early % 8 };
    let distance = |detail: u8| match detail % 4 {
        0 => unit,
        1 => i64::from(1 + n % 8),
        2 => unit.saturating_mul(3),
        _ => unit / 2 + 1,
    };
    Trigger {
        base: Base::OnTime,
        early_events: (which & 1 != 0).then_some(i64::from(1 + n % 5)),
        early_time: (which & 2 != 0).then(|| distance(detail)),
        early_ticks: (which & 4 != 0).then(|| distance(detail / 4)),
    }
}

/// A window fires a few times until its end, not millions of times.
fn every(kind: &Kind, n: u8) -> i64 {
    let length = match kind {
        Kind::Sliding { size, .. } => *size,
        Kind::Cumulative { max, .. } => *max,
        Kind::Session { gap, .. } => gap.saturating_mul(4),
        Kind::Edges { edges } => {
            let lengths = edges.windows(2).map(|pair| pair[1] - pair[0]);
            lengths.max().expect("two edges")
        }
        Kind::Global => i64::MAX,
    };
    match n % 4 {
        0 => length / 8 + 1,
        1 => length / 4 + 1,
        2 => length / 2 + 1,
        _ => length.saturating_add(1),
    }
}

fn fewer(mut windows: Windows) -> Windows {
    if let Kind::Sliding { size, slide, .. } = &mut windows.kind {
        *slide = (*slide).max(*size / MAX_BUSY_OVERLAP + 1);
    }
    windows
}
