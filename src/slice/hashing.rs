//! How keys are hashed, and which need not be.

use core::hash::{BuildHasher, Hash};

use foldhash::SharedSeed;
use foldhash::fast::SeedableRandomState;

use crate::key::{IndexedKey, ToKey};

/// How keys are hashed: seeded, so that nobody can choose keys that collide (E3).
pub(crate) struct Hashing<K> {
    seeded: SeedableRandomState,
    numbering: Option<Numbering<K>>,
}

impl<K> Hashing<K> {
    /// With the seed of a configuration, or one of the process's own.
    pub(crate) fn new(seed: Option<u64>) -> Self {
        let seeded = match seed {
            Some(seed) => SeedableRandomState::with_seed(seed, SharedSeed::global_fixed()),
            None => SeedableRandomState::random(),
        };
        Self { seeded, numbering: None }
    }

    /// From here on keys have the index that they tell.
    pub(crate) fn number(&mut self)
    where
        K: IndexedKey,
    {
        self.numbering = Some(Numbering::new(self.seeded.hash_one(0)));
    }

    pub(crate) fn numbering(&self) -> Option<&Numbering<K>> {
        self.numbering.as_ref()
    }

    /// Where keys have an index, it follows from that.
    #[inline(always)]
    pub(crate) fn hash<Q: ToKey<K>>(&self, key: &Q) -> u64 {
        match &self.numbering {
            None => self.hash_by_seed(key),
            Some(numbering) => numbering.hash(key, |key| self.hash_by_seed(key)),
        }
    }

    /// The same where it is known that they have none.
    #[inline(always)]
    pub(crate) fn hash_by_seed<T: Hash>(&self, key: &T) -> u64 {
        self.seeded.hash_one(key)
    }
}

/// The index that each key has, and a hash that is as good as the index: a product with an odd number, half of which
/// is turned so that what varies is where tables look. A table that hashes finds keys by it (of two keys, it is
/// as unlikely as can be that they collide: Dietzfelbinger et al., "A reliable randomized algorithm for the closest-pair
/// problem", Journal of Algorithms 1997), and one that does not has the index back for a multiplication.
#[derive(Debug)]
pub(crate) struct Numbering<K> {
    index_of: fn(&K) -> u64,
    indices_of: fn(&[K], &mut [u32]),
    key_at: fn(u64) -> K,
    odd: u64,
    inverse: u64,
}

impl<K> Clone for Numbering<K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K> Copy for Numbering<K> {}

impl<K> Numbering<K> {
    /// Indices from here on are none: what has them is hashed.
    pub(crate) const BEYOND: u64 = 1 << 24;

    fn new(random: u64) -> Self
    where
        K: IndexedKey,
    {
        let odd = random | 1;
        // Each step doubles the number of bits that are right (Newton); that an odd number is its own inverse is right for three.
        let inverse = (0..5)
            .fold(odd, |inverse: u64, _| inverse.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(inverse))));
        Self { index_of: K::index, indices_of: indices_of::<K>, key_at: K::at_index, odd, inverse }
    }

    #[inline]
    fn hash<Q: ToKey<K>>(&self, key: &Q, by_seed: impl Fn(&Q) -> u64) -> u64 {
        match (self.index_of)(&key.to_key()) {
            index if index < Self::BEYOND => self.spread(index),
            // (Not one that an index has.)
            _ => match by_seed(key) {
                hash if self.index(hash).is_some() => self.spread(hash | Self::BEYOND),
                hash => hash,
            },
        }
    }

    /// The key that has an index.
    pub(crate) fn key(&self, index: usize) -> K {
        (self.key_at)(index as u64)
    }

    fn spread(&self, index: u64) -> u64 {
        index.wrapping_mul(self.odd).rotate_right(u64::BITS / 2)
    }

    /// The index that a hash stands for, if it does.
    #[inline]
    pub(crate) fn index(&self, hash: u64) -> Option<usize> {
        let index = hash.rotate_left(u64::BITS / 2).wrapping_mul(self.inverse);
        (index < Self::BEYOND).then_some(index as usize)
    }

    /// The indices of keys, none of them beyond [`Numbering::BEYOND`].
    pub(crate) fn indices(&self, keys: &[K], indices: &mut [u32]) {
        (self.indices_of)(keys, indices);
    }
}

fn indices_of<K: IndexedKey>(keys: &[K], indices: &mut [u32]) {
    for (index, key) in indices.iter_mut().zip(keys) {
        *index = key.index().min(Numbering::<K>::BEYOND) as u32;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_hash_stands_for_an_index_and_for_no_other(seed: u64, key in prop_oneof![0..1_u64 << 25, any::<u64>()]) {
            let mut hashing = Hashing::new(Some(seed));
            hashing.number();
            let index = hashing.numbering().unwrap().index(hashing.hash(&key));
            prop_assert_eq!(index, (key < Numbering::<u64>::BEYOND).then_some(key as usize));
        }
    }

    #[test]
    fn a_hash_that_would_stand_for_an_index_gives_way() {
        let mut hashing = Hashing::<u64>::new(Some(1));
        hashing.number();
        let numbering = hashing.numbering().unwrap();
        let hash = numbering.hash(&u64::MAX, |_| numbering.spread(7));
        assert_eq!((numbering.index(hash), numbering.index(numbering.spread(7))), (None, Some(7)));
    }
}
