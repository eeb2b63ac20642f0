//! The laws of [`Aggregate`] and [`Invertible`] as checks, for your own tests.

use alloc::vec::Vec;
use core::fmt::Debug;

use super::{Aggregate, Invertible};
use crate::time::Timestamp;

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

fn fold<V, A: Aggregate<V>>(aggregate: &A, lifted: &[A::Acc], (from, to): Run) -> A::Acc {
    let mut acc = lifted[from].clone();
    for part in &lifted[from + 1..to] {
        aggregate.combine(&mut acc, part);
    }
    acc
}
