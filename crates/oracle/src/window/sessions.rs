//! Which sessions an event joins, and what becomes of them (A2).

use crate::window::Window;

/// What is known of a session, or of a single event, which is a session to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Session {
    /// The time of its earliest event.
    pub(super) start: i64,
    /// The time of its latest event.
    pub(super) last: i64,
    /// How far its events keep it open.
    pub(super) reach: i64,
}

impl Session {
    /// A single event's; the caller has checked that its gap fits.
    pub(super) fn of_event(time: i64, gap: i64) -> Self {
        Self { start: time, last: time, reach: time + gap }
    }

    /// Its bounds: as far as it reaches, but never longer than it may be.
    pub(super) fn window(self, max_length: Option<i64>) -> Window {
        let longest = max_length.map_or(i64::MAX, |max| self.start.saturating_add(max));
        Window { start: self.start, end: self.reach.min(longest) }
    }

    /// Whether an event's own session and another touch; exactly at the end does.
    fn touches(self, other: Self, max_length: Option<i64>) -> bool {
        let (own, other) = (self.window(max_length), other.window(max_length));
        other.start <= own.end && own.start <= other.end
    }

    fn and(self, other: Self) -> Self {
        Self {
            start: self.start.min(other.start),
            last: self.last.max(other.last),
            reach: self.reach.max(other.reach),
        }
    }

    /// Whether all of its events lie in its bounds.
    fn fits(self, max_length: Option<i64>) -> bool {
        let length = i128::from(self.last) - i128::from(self.start);
        max_length.is_none_or(|max| length < i128::from(max))
    }
}

/// An event meets the live sessions of its key: which of them join with it, by
/// their place in the list, and what they are then together. Those that began
/// first come first.
pub(super) fn join(own: Session, live: &[Session], max_length: Option<i64>) -> (Session, Vec<usize>) {
    let mut places: Vec<usize> = (0..live.len()).filter(|&n| own.touches(live[n], max_length)).collect();
    places.sort_by_key(|&n| (live[n].start, live[n].window(max_length).end));
    let mut joined = own;
    places.retain(|&n| {
        let both = joined.and(live[n]);
        let joins = both.fits(max_length);
        if joins {
            joined = both;
        }
        joins
    });
    (joined, places)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(start: i64, last: i64, reach: i64) -> Session {
        Session { start, last, reach }
    }

    /// The bounds after an event with gap 10 joined, and whom.
    fn joins(time: i64, live: &[Session], max_length: Option<i64>) -> ((i64, i64), Vec<usize>) {
        let (joined, places) = join(Session::of_event(time, 10), live, max_length);
        let window = joined.window(max_length);
        ((window.start, window.end), places)
    }

    #[test]
    fn a2_sessions_that_touch_join() {
        let live = [session(0, 0, 10)];
        assert_eq!(joins(9, &live, None), ((0, 19), vec![0]));
        assert_eq!(joins(10, &live, None), ((0, 20), vec![0]), "exactly a gap apart");
        assert_eq!(joins(11, &live, None), ((11, 21), vec![]));
        assert_eq!(joins(-10, &live, None), ((-10, 10), vec![0]));
        assert_eq!(joins(-11, &live, None), ((-11, -1), vec![]));
    }

    #[test]
    fn a2_an_event_bridges_several() {
        // One after the other in time, whatever their place.
        let live = [session(35, 35, 45), session(0, 9, 19), session(100, 100, 110), session(20, 25, 35)];
        assert_eq!(joins(15, &live, None), ((0, 35), vec![1, 3]));
        assert_eq!(joins(30, &live, None), ((20, 45), vec![3, 0]));
        let wide = Session::of_event(15, 90);
        assert_eq!(join(wide, &live, None), (session(0, 100, 110), vec![1, 3, 0, 2]));
    }

    #[test]
    fn a1_a_session_is_never_longer_than_its_maximum() {
        let max = Some(15);
        let live = [session(0, 9, 19)];
        assert_eq!(joins(14, &live, max), ((0, 15), vec![0]), "cut off");
        assert_eq!(joins(15, &live, max), ((15, 25), vec![]), "touches, but is too late for it");
        assert_eq!(joins(-5, &live, max), ((-5, 10), vec![0]), "its end comes forward");
        assert_eq!(joins(-6, &live, max), ((-6, 4), vec![]));
        // With an event's own gap above the maximum.
        let wide = Session::of_event(0, 100).window(max);
        assert_eq!((wide.start, wide.end), (0, 15));
        assert_eq!(Session::of_event(i64::MAX - 11, 10).window(max).end, i64::MAX - 1, "saturates");
    }

    #[test]
    fn a1_the_session_that_began_first_takes_the_event() {
        let max = Some(15);
        // The two cannot become one: their events are 15 apart.
        let live = [session(15, 15, 25), session(0, 5, 15)];
        assert_eq!(joins(10, &live, max), ((0, 15), vec![1]));
        // The second is passed over, the third is not.
        let live = [session(0, 5, 15), session(15, 15, 25), session(12, 13, 23)];
        assert_eq!(joins(10, &live, max), ((0, 15), vec![0, 2]));
    }
}
