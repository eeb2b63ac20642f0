//! What a window computes: [`Aggregate`], the laws it keeps, and the aggregates that come with the crate.

mod builtin;
pub mod laws;
mod or_else;
mod tuple;

pub use builtin::{Collect, Count, First, Last, Max, Mean, Min, Moments, Sum, Summand, TopK, Variance};
pub use or_else::OrElse;

use alloc::string::String;

use crate::time::Timestamp;

/// A computation over the events of a window that can be done in parts.
///
/// An event is **lifted** into an accumulator, accumulators are **combined**, and the accumulator of a
/// whole window is **lowered** into the value that is handed out (Tangwongsan et al., "General
/// incremental sliding-window aggregation", VLDB 2015). The kernel never keeps events, only
/// accumulators, so what an accumulator holds is what the state costs.
///
/// # Laws
///
/// 1. **Associative**: `combine(combine(a, b), c)` equals `combine(a, combine(b, c))`. The kernel
///    combines slices in whatever grouping is cheapest.
/// 2. **`add` is `combine` of `lift`**: `add(acc, t, v)` leaves what `combine(acc, lift(t, v))` leaves.
/// 3. **Deterministic**: the same arguments give the same result.
///
/// Commutativity is *not* needed: slices are combined in the order of time, and inside a slice events are
/// added in the order in which they arrived. What commutativity buys is that a window's value no longer
/// depends on the order of arrival at all. Floating-point sums are associative only up to rounding: their
/// last digits may depend on how a window is cut into slices, yet the same calls give the same bits,
/// through snapshots too.
///
/// [`laws::check`] tests them on examples of your own.
///
/// ```
/// use floodmark::{Aggregate, Timestamp};
///
/// /// The longest text of a window; of equally long ones, the first.
/// struct Longest;
///
/// impl Aggregate<String> for Longest {
///     type Acc = String;
///     type Output = String;
///
///     fn lift(&self, _: Timestamp, value: &String) -> String {
///         value.clone()
///     }
///     fn combine(&self, left: &mut String, right: &String) {
///         if right.len() > left.len() {
///             left.clone_from(right);
///         }
///     }
///     fn lower(&self, acc: &String) -> String {
///         acc.clone()
///     }
/// }
///
/// let words = ["to", "be", "or", "not", "to", "wit"].map(String::from);
/// floodmark::laws::check(&Longest, &words);
/// ```
pub trait Aggregate<V> {
    /// What is stored for each key and slice.
    type Acc: Clone;
    /// What is handed out for each key and window.
    type Output;

    /// The accumulator of a single event.
    fn lift(&self, time: Timestamp, value: &V) -> Self::Acc;

    /// Takes `right` into `left`. Everything in `left` came before everything in `right`, in the order
    /// described above.
    fn combine(&self, left: &mut Self::Acc, right: &Self::Acc);

    /// The value of a window from its accumulator.
    fn lower(&self, acc: &Self::Acc) -> Self::Output;

    /// Takes one event into an accumulator. Override it where that is cheaper than lifting first.
    #[inline(always)]
    fn add(&self, acc: &mut Self::Acc, time: Timestamp, value: &V) {
        let lifted = self.lift(time, value);
        self.combine(acc, &lifted);
    }

    /// What a window without any events says, if that is anything: for windows that
    /// [fire empty](crate::Windows::fill).
    fn empty(&self) -> Option<Self::Output> {
        None
    }

    /// A name that is stored in snapshots and compared when one is restored, so that the state of one
    /// aggregate is not read as another's. Change it whenever the meaning of `Acc` changes.
    fn name(&self) -> String {
        String::from("custom")
    }

    /// Bytes on the heap owned by an accumulator, for the state budget (E2). Called before and after
    /// each change, so it must be O(1).
    #[inline(always)]
    fn heap_bytes(&self, _acc: &Self::Acc) -> usize {
        0
    }
}

/// An [`Aggregate`] whose oldest part can be taken out again.
///
/// Sliding windows can then subtract what leaves instead of keeping running partials of what stays
/// ([`Windowing::subtract_on_evict`](crate::Windowing::subtract_on_evict)).
///
/// # Law
///
/// After `combine(a, b)`, `uncombine(&mut a, &old_a)` leaves exactly `b`. Exactly: floating-point sums do
/// not qualify, because what rounding took is not given back. Nor does a maximum, and asking for it does
/// not compile:
///
/// ```compile_fail
/// use chrono::TimeDelta;
/// use floodmark::{Config, Max, Windowing};
///
/// let windows: Windowing<u32, i64, _> =
///     Config::sliding(TimeDelta::minutes(60), TimeDelta::minutes(1))
///         .build(Max::of(|v: &i64| *v))
///         .unwrap()
///         .subtract_on_evict(); // error: `Max` is not `Invertible`
/// ```
///
/// while a sum of integers does:
///
/// ```
/// use chrono::TimeDelta;
/// use floodmark::{Config, Sum, Windowing};
///
/// let windows: Windowing<u32, i64, _> =
///     Config::sliding(TimeDelta::minutes(60), TimeDelta::minutes(1))
///         .build(Sum::of(|v: &i64| *v))
///         .unwrap()
///         .subtract_on_evict();
/// ```
pub trait Invertible<V>: Aggregate<V> {
    /// Takes `oldest`, the leftmost part of `acc`, out of it.
    fn uncombine(&self, acc: &mut Self::Acc, oldest: &Self::Acc);
}
