//! What comes out: panes, and the plain computations over their contents.

use serde::{Deserialize, Serialize};

/// One event as it is kept in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contribution {
    /// How many events were offered before it, whatever became of them.
    pub seq: u64,
    /// When it happened.
    pub time: i64,
    /// What it says.
    pub value: i64,
}

/// What caused a pane (F6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Timing {
    /// Something before the watermark reached the end of the window (F4).
    Early,
    /// The watermark reached the end of the window.
    OnTime,
    /// An event that came after that.
    Late,
}

/// A pane that a later one replaces (F5): start, end, and what it showed.
pub type Retracted = (i64, i64, Vec<Contribution>);

/// One firing of one window for one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pane {
    /// Which definition of windows it belongs to.
    pub definition: usize,
    /// The key.
    pub key: u32,
    /// The window's first time.
    pub start: i64,
    /// The first time after the window.
    pub end: i64,
    /// What is in it; empty only where that is filled in. In order of arrival, but
    /// with sessions in the order in which those that were merged began.
    pub events: Vec<Contribution>,
    /// Why it fired.
    pub timing: Timing,
    /// How many panes of this key and window came before.
    pub index: u32,
    /// The panes that this one replaces, where they are retracted (F5).
    pub retracts: Vec<Retracted>,
}

impl Pane {
    /// How many events.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.events.len() as u64
    }

    /// The sum of the values, wrapping.
    #[must_use]
    pub fn sum(&self) -> i64 {
        let values = self.events.iter().map(|event| event.value);
        values.fold(0, i64::wrapping_add)
    }

    /// The smallest value.
    #[must_use]
    pub fn min(&self) -> Option<i64> {
        self.events.iter().map(|event| event.value).min()
    }

    /// The largest value.
    #[must_use]
    pub fn max(&self) -> Option<i64> {
        self.events.iter().map(|event| event.value).max()
    }

    /// By event time; equal times stay in their order.
    #[must_use]
    pub fn in_event_time_order(&self) -> Vec<Contribution> {
        let mut events = self.events.clone();
        events.sort_by_key(|event| event.time);
        events
    }

    /// The first among those with the earliest time.
    #[must_use]
    pub fn first(&self) -> Option<Contribution> {
        self.in_event_time_order().first().copied()
    }

    /// The last among those with the latest time.
    #[must_use]
    pub fn last(&self) -> Option<Contribution> {
        self.in_event_time_order().last().copied()
    }

    /// The `k` largest values, largest first.
    #[must_use]
    pub fn top_k(&self, k: usize) -> Vec<i64> {
        let mut values: Vec<i64> = self.events.iter().map(|event| event.value).collect();
        values.sort_by(|a, b| b.cmp(a));
        values.truncate(k);
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pane_helpers() {
        let event = |seq, time, value| Contribution { seq, time, value };
        let pane = Pane {
            definition: 0,
            key: 0,
            start: 0,
            end: 10,
            events: vec![event(0, 5, 7), event(1, 2, i64::MAX), event(2, 5, 1), event(3, 2, 7)],
            timing: Timing::OnTime,
            index: 0,
            retracts: Vec::new(),
        };
        assert_eq!(pane.count(), 4);
        assert_eq!(pane.sum(), i64::MIN + 14, "wraps");
        assert_eq!((pane.min(), pane.max()), (Some(1), Some(i64::MAX)));
        let order = pane.in_event_time_order();
        let order: Vec<u64> = order.iter().map(|event| event.seq).collect();
        assert_eq!(order, [1, 3, 0, 2], "stable");
        assert_eq!(pane.first().unwrap().seq, 1, "earliest arrival of the earliest");
        assert_eq!(pane.last().unwrap().seq, 2, "latest arrival of the latest");
        assert_eq!(pane.top_k(2), [i64::MAX, 7]);
        assert_eq!(pane.top_k(9), [i64::MAX, 7, 7, 1]);
    }
}
