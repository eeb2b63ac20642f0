//! The minimum of many slowly changing numbers.

use alloc::vec::Vec;

/// A tournament over slots: setting one costs O(log n), usually less, because it stops at the first
/// match whose winner stays the same. Slots that take no part hold `i64::MAX`.
#[derive(Clone, Debug)]
pub(crate) struct MinTree {
    /// `nodes[1]` is the root, `nodes[slots + i]` slot `i`; the length is a power of two.
    nodes: Vec<i64>,
}

impl MinTree {
    pub(crate) fn new() -> Self {
        Self { nodes: alloc::vec![i64::MAX; 2] }
    }

    fn slots(&self) -> usize {
        self.nodes.len() / 2
    }

    pub(crate) fn bytes(&self) -> usize {
        self.nodes.capacity() * size_of::<i64>()
    }

    pub(crate) fn get(&self, slot: u32) -> i64 {
        self.nodes.get(self.slots() + slot as usize).copied().unwrap_or(i64::MAX)
    }

    pub(crate) fn set(&mut self, slot: u32, value: i64) {
        if slot as usize >= self.slots() {
            self.grow((slot as usize + 1).next_power_of_two());
        }
        let mut node = self.slots() + slot as usize;
        self.nodes[node] = value;
        while node > 1 {
            node /= 2;
            let winner = self.nodes[2 * node].min(self.nodes[2 * node + 1]);
            if self.nodes[node] == winner {
                break;
            }
            self.nodes[node] = winner;
        }
    }

    fn grow(&mut self, slots: usize) {
        let mut grown = Self { nodes: alloc::vec![i64::MAX; 2 * slots] };
        for (slot, &value) in self.nodes[self.slots()..].iter().enumerate() {
            grown.set(slot as u32, value);
        }
        *self = grown;
    }

    /// The minimum and a slot that holds it; `None` when no slot takes part.
    pub(crate) fn min(&self) -> Option<(u32, i64)> {
        let value = self.nodes[1];
        if value == i64::MAX {
            return None;
        }
        let mut node = 1;
        while node < self.slots() {
            node = if self.nodes[2 * node] == value { 2 * node } else { 2 * node + 1 };
        }
        Some(((node - self.slots()) as u32, value))
    }

    /// The minimum where the tree holds only lower bounds and `exact` knows the values: looks only at
    /// slots whose bound could still win.
    #[inline]
    pub(crate) fn min_by(&self, exact: &impl Fn(u32) -> i64) -> Option<(u32, i64)> {
        if let [_, only] = self.nodes[..] {
            return (only < i64::MAX).then(|| (0, exact(0)));
        }
        let mut best = None;
        self.search(1, exact, &mut best);
        best
    }

    fn search(&self, node: usize, exact: &impl Fn(u32) -> i64, best: &mut Option<(u32, i64)>) {
        let bound = self.nodes[node];
        if bound == i64::MAX || best.is_some_and(|(_, value)| bound >= value) {
            return;
        }
        if node >= self.slots() {
            let slot = (node - self.slots()) as u32;
            let value = exact(slot);
            if best.is_none_or(|(_, smallest)| value < smallest) {
                *best = Some((slot, value));
            }
            return;
        }
        // The more promising half first, so that the other is mostly passed over.
        let (left, right) = (2 * node, 2 * node + 1);
        let (near, far) = if self.nodes[left] <= self.nodes[right] { (left, right) } else { (right, left) };
        self.search(near, exact, best);
        self.search(far, exact, best);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_minimum_is_that_of_a_plain_scan(
            changes in prop::collection::vec((0..40u32, prop_oneof![Just(i64::MAX), -50..50i64], 0..5i64), 1..120),
        ) {
            let mut tree = MinTree::new();
            let mut exact = [i64::MAX; 40];
            for (slot, bound, above) in changes {
                tree.set(slot, bound);
                exact[slot as usize] = bound.saturating_add(above);
                prop_assert_eq!(tree.get(slot), bound);
                let plain = (0..40).map(|s| tree.get(s)).min().filter(|&m| m != i64::MAX);
                prop_assert_eq!(tree.min().map(|(_, value)| value), plain);
                if let Some((slot, value)) = tree.min() {
                    prop_assert_eq!(tree.get(slot), value);
                }
                let plain = exact.iter().copied().min().filter(|&m| m != i64::MAX);
                prop_assert_eq!(tree.min_by(&|s| exact[s as usize]).map(|(_, value)| value), plain);
            }
        }
    }
}
