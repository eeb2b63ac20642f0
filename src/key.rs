//! Keys, as the kernel has them and as a batch may have them.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::hash::Hash;

/// A key as a [batch](crate::Windowing::push_batch) has it: a `K` itself, or a reference to what a `K` owns, so that
/// only keys that are new are cloned.
///
/// Implemented for every key, and for `&str` and `&[u8]` where the kernel's key is an owned one of these. For your own:
/// the hash must be the key's own, as for [`Borrow`](core::borrow::Borrow).
///
/// ```
/// use chrono::TimeDelta;
/// use floodmark::{Config, Count, Times, Windowing};
///
/// let mut words: Windowing<String, (), _> = Config::tumbling(TimeDelta::seconds(1)).build(Count)?;
/// let text = words.add_partition();
/// let batch = words.push_batch(text, Times::millis(&[10, 20, 30]), &["to", "be", "to"], &[(); 3])?;
/// assert_eq!(batch.accepted(), 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait ToKey<K>: Hash {
    /// Whether it is this key.
    fn is(&self, key: &K) -> bool;

    /// The key, for the state: called when it is new there.
    fn to_key(&self) -> K;
}

impl<K: Hash + Eq + Clone> ToKey<K> for K {
    #[inline(always)]
    fn is(&self, key: &K) -> bool {
        self == key
    }

    #[inline(always)]
    fn to_key(&self) -> K {
        self.clone()
    }
}

macro_rules! borrowed {
    ($($borrowed:ty => $($owned:ty),+;)+) => {$($(
        impl ToKey<$owned> for &$borrowed {
            #[inline(always)]
            fn is(&self, key: &$owned) -> bool {
                **self == **key
            }

            #[inline]
            fn to_key(&self) -> $owned {
                (*self).to_owned().into()
            }
        }
    )+)+};
}

borrowed! {
    str => String, Box<str>, Rc<str>, Arc<str>;
    [u8] => Vec<u8>, Box<[u8]>, Rc<[u8]>, Arc<[u8]>;
}
