#![doc = include_str!("guide.md")]
//!
//! ```
#![doc = include_str!("helpers.rs")]
//! ```

pub mod windows {
    #![doc = include_str!("windows.md")]
}

pub mod watermarks {
    #![doc = include_str!("watermarks.md")]
}

pub mod lateness {
    #![doc = include_str!("lateness.md")]
}

pub mod triggers {
    #![doc = include_str!("triggers.md")]
}

pub mod draining {
    #![doc = include_str!("draining.md")]
}

pub mod coming_from {
    #![doc = include_str!("coming_from.md")]
}
