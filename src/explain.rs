//! Why a window has not fired (X1).

use core::fmt;

use chrono::TimeDelta;

use crate::time::{Timestamp, Watermark, Window};
use crate::watermark::{PartitionState, PartitionStatus};

/// The answer to "why has this window of this key not fired", from
/// [`Windowing::explain`](crate::Windowing::explain). Print it, or look at the parts.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Explanation {
    /// The window asked about.
    pub window: Window,
    /// What has become of it.
    pub progress: WindowProgress,
    /// Whether something is stored for the key in the window.
    pub present: bool,
    /// It fires when the watermark reaches its end.
    pub fires_at: Watermark,
    /// The watermark now.
    pub watermark: Watermark,
    /// The partition that holds the watermark back, if one does.
    pub held_by: Option<PartitionStatus>,
    /// The host's clock at its last tick.
    pub now: Option<Timestamp>,
    /// The idle timeout that runs for that partition.
    pub idle_timeout: Option<TimeDelta>,
    /// For how long after a key was seen last the window fires for it without events, where it is
    /// [filled](crate::Windows::fill).
    pub fill: Option<TimeDelta>,
    /// How long until the window is [closed after quiet](crate::Config::close_after_quiet) if nothing comes; `None` while
    /// that does not count.
    pub closes_in: Option<TimeDelta>,
}

/// How far a window has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WindowProgress {
    /// The configuration has no window with these bounds.
    NotAWindow,
    /// The watermark has not reached its end.
    Waiting,
    /// The watermark has; its panes, or some of them, wait to be polled.
    Due,
    /// It has fired, and accepts late events until the watermark reaches `until`.
    Fired {
        /// The window's end plus the allowed lateness.
        until: Watermark,
    },
    /// It has closed: it takes nothing more.
    Closed,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { window, fires_at, watermark, .. } = self;
        match self.progress {
            WindowProgress::NotAWindow => return write!(f, "{window} is not one of the configured windows"),
            WindowProgress::Waiting => {
                write!(f, "{window} fires when the watermark reaches {fires_at}; it is at {watermark}")?;
                self.fmt_holder(f)?;
                if let Some(left) = self.closes_in {
                    write!(f, "; the stream is quiet, and what is open will be closed in {left}")?;
                }
            }
            WindowProgress::Due => {
                write!(f, "{window} is due (the watermark is at {watermark}): poll to get its panes")?;
            }
            WindowProgress::Fired { until } => {
                write!(
                    f,
                    "{window} has fired, and fires again for late events until the watermark reaches {until}"
                )?;
            }
            WindowProgress::Closed => write!(f, "{window} has closed at watermark {watermark}")?,
        }
        match (self.present, self.progress) {
            (true, _) => write!(f, "; there is something in it for this key"),
            (false, WindowProgress::Closed) => Ok(()),
            (false, _) => match self.fill {
                None => write!(f, "; there is nothing in it for this key, and empty windows do not fire"),
                Some(horizon) => write!(
                    f,
                    "; there is nothing in it for this key, which has a pane only if it was seen up to {horizon} before"
                ),
            },
        }
    }
}

impl Explanation {
    fn fmt_holder(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(held) = &self.held_by else {
            return write!(f, ", and no active partition moves it");
        };
        write!(f, ", held by {}", held.partition)?;
        match (held.state, held.last_event) {
            (PartitionState::Waiting, _) => write!(f, ", which was added and has not reported yet")?,
            (_, Some(last)) => write!(f, " at {}, whose latest event is of {last}", held.watermark)?,
            (_, None) => write!(f, " at {}, which has had no event", held.watermark)?,
        }
        match (self.idle_in(), held.quiet_since) {
            (Some(left), Some(since)) => write!(f, " (quiet since {since}, idle in {left})"),
            _ => Ok(()),
        }
    }

    /// How long until the partition that holds the watermark counts as idle, if it stays quiet.
    pub fn idle_in(&self) -> Option<TimeDelta> {
        let (timeout, since, now) = (self.idle_timeout?, self.held_by.as_ref()?.quiet_since?, self.now?);
        let quiet = TimeDelta::microseconds(now.as_micros().saturating_sub(since.as_micros()));
        timeout.checked_sub(&quiet)
    }
}
