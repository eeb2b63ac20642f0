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

/// A key that is a small number already: that of a sensor, the code of a column that is encoded by a dictionary.
///
/// [`Windowing::indexed`](crate::Windowing::indexed) makes use of it.
///
/// ```
/// use chrono::TimeDelta;
/// use floodmark::{Config, IndexedKey, Sum, Times};
///
/// #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
/// struct Sensor(u16);
///
/// impl IndexedKey for Sensor {
///     fn index(&self) -> u64 {
///         self.0.into()
///     }
///
///     fn at_index(index: u64) -> Self {
///         Self(index as u16)
///     }
/// }
///
/// let sum = Sum::of(|watts: &u64| *watts);
/// let mut windows = Config::tumbling(TimeDelta::seconds(1)).build(sum)?.indexed();
/// let meter = windows.add_partition();
/// let sensors = [Sensor(7), Sensor(0), Sensor(7)];
/// let batch = windows.push_batch(meter, Times::millis(&[10, 20, 30]), &sensors, &[100, 250, 300])?;
/// assert_eq!(batch.accepted(), 3);
/// windows.finish();
/// let first = windows.poll().expect("the window is due");
/// assert_eq!((*first.key, first.value), (Sensor(0), 250));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait IndexedKey {
    /// The number. Best are those from 0 on; what is not below 2^24 is hashed as other keys are.
    fn index(&self) -> u64;

    /// The key that has this number. It is also called for numbers that no key has; what comes back then is not used.
    fn at_index(index: u64) -> Self;
}

macro_rules! numbers {
    ($($number:ty),+) => {$(
        impl IndexedKey for $number {
            // (One below 0 is a large one.)
            #[inline(always)]
            fn index(&self) -> u64 {
                *self as u64
            }

            #[inline(always)]
            fn at_index(index: u64) -> Self {
                index as Self
            }
        }
    )+};
}

numbers!(u8, u16, u32, u64, usize, i8, i16, i32, i64, isize);
