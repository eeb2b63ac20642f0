//! The aggregate `list`: values in the order of their arrival.

use floodmark::{Aggregate, Timestamp};

use super::Payload;

/// The values of a window in the order of arrival, across slices too.
///
/// The kernel's `Collect` gives the order of event time. Here an accumulator remembers at which step each
/// value came, in that order, and combining merges by it.
#[derive(Debug)]
pub(super) struct List;

impl Aggregate<Payload> for List {
    type Acc = Vec<(usize, i64)>;
    type Output = Vec<i64>;

    fn lift(&self, _: Timestamp, payload: &Payload) -> Self::Acc {
        vec![(payload.step, payload.value)]
    }

    fn combine(&self, left: &mut Self::Acc, right: &Self::Acc) {
        left.extend_from_slice(right);
        // Two sorted runs, which this sort merges.
        left.sort_by_key(|&(step, _)| step);
    }

    fn lower(&self, acc: &Self::Acc) -> Self::Output {
        acc.iter().map(|&(_, value)| value).collect()
    }
}
