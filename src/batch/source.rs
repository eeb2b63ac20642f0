//! Where a block's events come from: one partition, or one for each.

use crate::watermark::{Partition, Progress, Watch, WatchBlock, WatchEach, WatchOne};

/// The partitions of a block's events.
pub(super) trait Source: Copy {
    /// The same for the events from one on.
    fn from(self, place: usize) -> Self;

    /// The partition of the event at a place.
    fn of(self, place: usize) -> Partition;

    /// Comes before a watch over a block of so many events.
    fn look_at_all(self, progress: &mut Progress, events: usize);

    /// The watch over events that all are of one partition.
    fn watch_all(self, progress: &mut Progress) -> Option<WatchOne<'_>>;

    type Watch<'a>: Watch + WatchBlock
    where
        Self: 'a;

    /// The watch over events from the one at a place on.
    fn watch<'a>(self, progress: &'a mut Progress, from: usize) -> Self::Watch<'a>
    where
        Self: 'a;
}

#[derive(Clone, Copy)]
pub(super) struct One(pub(super) Partition);

#[derive(Clone, Copy)]
pub(super) struct Each<'a>(pub(super) &'a [Partition]);

impl Source for One {
    fn from(self, _: usize) -> Self {
        self
    }

    fn of(self, _: usize) -> Partition {
        self.0
    }

    #[inline(always)]
    fn look_at_all(self, _: &mut Progress, _: usize) {}

    #[inline(always)]
    fn watch_all(self, progress: &mut Progress) -> Option<WatchOne<'_>> {
        Some(progress.watch_one(self.0))
    }

    type Watch<'a> = WatchOne<'a>;

    #[inline(always)]
    fn watch<'a>(self, progress: &'a mut Progress, _: usize) -> WatchOne<'a>
    where
        Self: 'a,
    {
        progress.watch_one(self.0)
    }
}

impl Source for Each<'_> {
    fn from(self, place: usize) -> Self {
        Self(&self.0[place..])
    }

    fn of(self, place: usize) -> Partition {
        self.0[place]
    }

    fn look_at_all(self, progress: &mut Progress, events: usize) {
        progress.look_at_all(events);
    }

    fn watch_all(self, _: &mut Progress) -> Option<WatchOne<'_>> {
        None
    }

    type Watch<'a>
        = WatchEach<'a>
    where
        Self: 'a;

    #[inline(always)]
    fn watch<'a>(self, progress: &'a mut Progress, from: usize) -> WatchEach<'a>
    where
        Self: 'a,
    {
        progress.watch_each(&self.0[from..])
    }
}
