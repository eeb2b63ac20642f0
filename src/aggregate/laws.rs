//! The laws of [`Aggregate`], [`Invertible`] and [`WindowGrid`] as checks, for your own tests.

use alloc::vec::Vec;
use core::fmt::Debug;

use super::{Aggregate, Invertible};
use crate::time::{Timestamp, Window};
use crate::windows::WindowGrid;

/// Checks the laws of an [`Aggregate`] over every run of three parts that `values` can be cut into: each
/// grouping of the combinations must lower to the same output, and `add` must be `combine` of `lift`.
///
/// The value at index `i` is given the event time `i` microseconds. Takes time cubic in the number of
/// values: a dozen well-chosen ones (equal ones, extremes, empties) show more than a thousand random ones.
///
/// # Panics
///
/// When a law is broken, naming it and the cut that shows it.
pub fn check<V, A>(aggregate: &A, values: &[V])
where
    A: Aggregate<V>,
    A::Output: PartialEq + Debug,
{
    check_by(aggregate, values, |left, right| left == right);
}

/// The same with your own idea of equal outputs, for floating-point ones.
///
/// # Panics
///
/// When a law is broken, naming it and the cut that shows it.
pub fn check_by<V, A>(aggregate: &A, values: &[V], same: impl Fn(&A::Output, &A::Output) -> bool)
where
    A: Aggregate<V>,
    A::Output: Debug,
{
    let lifted: Vec<A::Acc> = values.iter().zip(0..).map(|(v, i)| aggregate.lift(at(i), v)).collect();
    for (first, second, third) in cuts(values.len()) {
        let (a, b, c) = (
            fold(aggregate, &lifted, first),
            fold(aggregate, &lifted, second),
            fold(aggregate, &lifted, third),
        );
        let mut left_first = a.clone();
        aggregate.combine(&mut left_first, &b);
        aggregate.combine(&mut left_first, &c);
        let mut bc = b;
        aggregate.combine(&mut bc, &c);
        let mut right_first = a;
        aggregate.combine(&mut right_first, &bc);
        let (left, right) = (aggregate.lower(&left_first), aggregate.lower(&right_first));
        assert!(
            same(&left, &right),
            "not associative: values {first:?}, {second:?} and {third:?} give {left:?} when the first two are \
             combined first and {right:?} when the last two are"
        );
    }
    for end in 2..=values.len() {
        let mut added = lifted[0].clone();
        for (i, value) in values.iter().enumerate().take(end).skip(1) {
            aggregate.add(&mut added, at(i), value);
        }
        let (added, combined) =
            (aggregate.lower(&added), aggregate.lower(&fold(aggregate, &lifted, (0, end))));
        assert!(
            same(&added, &combined),
            "`add` is not `combine` of `lift`: values (0, {end}) give {added:?} added and {combined:?} combined"
        );
    }
}

/// Checks the law of an [`Invertible`] over every cut of `values` in two: taking the first part out of
/// the whole must leave the second.
///
/// # Panics
///
/// When the law is broken, naming the cut that shows it.
pub fn check_invertible<V, A>(aggregate: &A, values: &[V])
where
    A: Invertible<V>,
    A::Output: PartialEq + Debug,
{
    let lifted: Vec<A::Acc> = values.iter().zip(0..).map(|(v, i)| aggregate.lift(at(i), v)).collect();
    for (first, second, _) in cuts(values.len()) {
        let mut rest = fold(aggregate, &lifted, (first.0, second.1));
        aggregate.uncombine(&mut rest, &fold(aggregate, &lifted, first));
        let (left, expected) = (aggregate.lower(&rest), aggregate.lower(&fold(aggregate, &lifted, second)));
        assert!(
            left == expected,
            "not invertible: taking values {first:?} out leaves {left:?} instead of {expected:?}"
        );
    }
}

type Run = (usize, usize);

fn at(index: usize) -> Timestamp {
    Timestamp::from_micros(index as i64)
}

/// All ways to pick three adjacent, non-empty runs.
fn cuts(len: usize) -> impl Iterator<Item = (Run, Run, Run)> {
    (0..len).flat_map(move |a| {
        (a + 1..len).flat_map(move |b| {
            (b + 1..len).flat_map(move |c| (c + 1..=len).map(move |d| ((a, b), (b, c), (c, d))))
        })
    })
}

/// Checks the laws of a [`WindowGrid`] at these instants, in any order, and at the edges of the windows that
/// they lead to.
///
/// # Panics
///
/// When a law is broken, naming it and the instants that show it.
pub fn check_grid(grid: &impl WindowGrid, times: impl IntoIterator<Item = Timestamp>) {
    let mut times: Vec<Timestamp> = times.into_iter().collect();
    times.sort_unstable();
    let mut before: Option<(Timestamp, Option<Window>)> = None;
    for time in times {
        let window = grid.first_ending_after(time);
        if let Some(window) = window {
            check_window(grid, time, window);
        }
        if let Some((earlier, found)) = before {
            check_order((earlier, found), (time, window));
        }
        before = Some((time, window));
    }
}

fn check_window(grid: &impl WindowGrid, time: Timestamp, window: Window) {
    assert!(window.end > time, "law 1: the first window ending after {time} is {window}, which does not");
    assert!(window.start < window.end, "law 1: {window}, the first ending after {time}, is empty");
    for same in [time, window.time()] {
        let again = grid.first_ending_after(same);
        assert_eq!(
            again,
            Some(window),
            "laws 2 and 4: the first window ending after {time} is not that of {same}"
        );
    }
    if let Some(next) = grid.first_ending_after(window.end) {
        assert!(next.start >= window.start, "law 3: {next} ends after {window} and starts before it");
    }
}

fn check_order(before: (Timestamp, Option<Window>), after: (Timestamp, Option<Window>)) {
    match (before.1, after.1) {
        (Some(first), Some(second)) => assert!(
            first.end <= second.end && first.start <= second.start,
            "laws 2 and 3: after {} comes {first}, but after {} comes {second}",
            before.0,
            after.0
        ),
        (None, Some(second)) => {
            panic!("law 2: no window ends after {}, but {second} ends after {}", before.0, after.0)
        }
        (_, None) => {}
    }
}

fn fold<V, A: Aggregate<V>>(aggregate: &A, lifted: &[A::Acc], (from, to): Run) -> A::Acc {
    let mut acc = lifted[from].clone();
    for part in &lifted[from + 1..to] {
        aggregate.combine(&mut acc, part);
    }
    acc
}
