//! Partitions are discovered as they appear.

use std::collections::HashMap;

use floodmark::Partition;

use crate::row::PartitionName;
use crate::run::Kernel;

/// The partitions by name, in the order in which they appeared.
#[derive(Debug, Default)]
pub(crate) struct Partitions {
    named: HashMap<Box<str>, Partition>,
    unnamed: Option<Partition>,
    in_order: Vec<(PartitionName, Partition)>,
}

impl Partitions {
    pub(crate) fn from(in_order: Vec<(PartitionName, Partition)>) -> Self {
        let mut partitions = Self::default();
        for (name, handle) in in_order {
            partitions.insert(name, handle);
        }
        partitions
    }

    /// The partition of a row, added at first sight: it is waited for from its first row on.
    pub(crate) fn get(&mut self, name: Option<&str>, kernel: &mut Kernel) -> Partition {
        let known = name.map_or(self.unnamed, |name| self.named.get(name).copied());
        known.unwrap_or_else(|| {
            let handle = kernel.add_partition();
            self.insert(name.map(Box::from), handle);
            handle
        })
    }

    fn insert(&mut self, name: PartitionName, handle: Partition) {
        match &name {
            Some(name) => drop(self.named.insert(name.clone(), handle)),
            None => self.unnamed = Some(handle),
        }
        self.in_order.push((name, handle));
    }

    pub(crate) fn to_vec(&self) -> Vec<(PartitionName, Partition)> {
        self.in_order.clone()
    }

    pub(crate) fn name(&self, partition: Partition) -> String {
        let found = self.in_order.iter().find(|(_, handle)| *handle == partition);
        found.and_then(|(name, _)| name.as_deref()).unwrap_or("(none)").to_owned()
    }
}
