use std::hash::Hash;

use chrono::{DateTime, Utc};
use floodmark::{Aggregate, Timestamp, Window, Windowing};

/// An instant of the day that all examples play on.
pub fn at(clock: &str) -> DateTime<Utc> {
    format!("2024-05-01T{clock}Z").parse().unwrap()
}

/// "10:05:30"
pub fn clock(time: Timestamp) -> String {
    DateTime::<Utc>::try_from(time).unwrap().format("%H:%M:%S").to_string()
}

/// "10:00-10:05"
pub fn span(window: Window) -> String {
    format!("{:.5}-{:.5}", clock(window.start), clock(window.end))
}

/// Everything that is due: window, key and value.
pub fn drain<K: Hash + Eq + Clone, V, A: Aggregate<V>>(
    windows: &mut Windowing<K, V, A>,
) -> Vec<(String, K, A::Output)> {
    let mut panes = Vec::new();
    while let Some(pane) = windows.poll() {
        panes.push((span(pane.window), pane.key.clone(), pane.value));
    }
    panes
}
