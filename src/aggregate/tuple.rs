//! Tuples of aggregates are aggregates: each member sees every event.

use alloc::string::String;

use super::{Aggregate, Invertible};
use crate::time::Timestamp;

macro_rules! tuples {
    ($($member:ident $index:tt),+) => {
        impl<V, $($member: Aggregate<V>),+> Aggregate<V> for ($($member,)+) {
            type Acc = ($($member::Acc,)+);
            type Output = ($($member::Output,)+);

            #[inline(always)]
            fn lift(&self, time: Timestamp, value: &V) -> Self::Acc {
                ($(self.$index.lift(time, value),)+)
            }

            #[inline(always)]
            fn combine(&self, left: &mut Self::Acc, right: &Self::Acc) {
                $(self.$index.combine(&mut left.$index, &right.$index);)+
            }

            #[inline(always)]
            fn lower(&self, acc: &Self::Acc) -> Self::Output {
                ($(self.$index.lower(&acc.$index),)+)
            }

            #[inline(always)]
            fn add(&self, acc: &mut Self::Acc, time: Timestamp, value: &V) {
                $(self.$index.add(&mut acc.$index, time, value);)+
            }

            fn empty(&self) -> Option<Self::Output> {
                Some(($(self.$index.empty()?,)+))
            }

            fn name(&self) -> String {
                let names = [$(self.$index.name()),+];
                alloc::format!("({})", names.join(", "))
            }

            #[inline(always)]
            fn heap_bytes(&self, acc: &Self::Acc) -> usize {
                0 $(+ self.$index.heap_bytes(&acc.$index))+
            }
        }

        impl<V, $($member: Invertible<V>),+> Invertible<V> for ($($member,)+) {
            #[inline(always)]
            fn uncombine(&self, acc: &mut Self::Acc, oldest: &Self::Acc) {
                $(self.$index.uncombine(&mut acc.$index, &oldest.$index);)+
            }
        }
    };
}

tuples!(A 0);
tuples!(A 0, B 1);
tuples!(A 0, B 1, C 2);
tuples!(A 0, B 1, C 2, D 3);
tuples!(A 0, B 1, C 2, D 3, E 4);
tuples!(A 0, B 1, C 2, D 3, E 4, F 5);
tuples!(A 0, B 1, C 2, D 3, E 4, F 5, G 6);
tuples!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);
