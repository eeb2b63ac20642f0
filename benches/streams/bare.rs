//! Windows and nothing else, as a bound on what is possible: what the [`floor`](super::floor) does for each event, into the
//! table of its window, and a result for each key of a window that has ended. No late events, no handles that may be stale,
//! no budget, no snapshots, no other windows than these.

use std::mem::{replace, swap, take};

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use super::{Checksum, DISORDER, EVERY, SECOND, Stream, key_of, upserted};

/// Two windows next to each other, of which the first is the next to end.
struct Windows<T> {
    tables: [T; 2],
    /// Where the first of them ends.
    end: i64,
    size: i64,
    /// The latest event of each partition.
    latest: Vec<i64>,
}

impl<T: Default> Windows<T> {
    fn new(stream: &Stream, size: i64, mut table: impl FnMut() -> T) -> Self {
        let first = stream.times.iter().take(EVERY).min().map_or(0, |&time| time - time.rem_euclid(size));
        let partitions = stream.partitions.iter().max().map_or(1, |&last| last as usize + 1);
        Self { tables: [table(), table()], end: first + size, size, latest: vec![i64::MIN / 2; partitions] }
    }

    /// Takes all events, and gives out the start and the table of each window that has ended, which has to be empty then.
    fn run(mut self, stream: &Stream, mut add: impl FnMut(&mut T, usize), mut fire: impl FnMut(i64, &mut T)) {
        for from in (0..stream.times.len()).step_by(EVERY) {
            for i in from..(from + EVERY).min(stream.times.len()) {
                let (time, partition) = (stream.times[i], stream.partitions[i] as usize);
                add(&mut self.tables[usize::from(time >= self.end)], i);
                self.latest[partition] = self.latest[partition].max(time);
            }
            let watermark = self.latest.iter().min().map_or(i64::MIN, |&latest| latest - DISORDER);
            if watermark >= self.end {
                self.fire(&mut fire);
            }
        }
        self.fire(&mut fire);
        self.fire(&mut fire);
    }

    fn fire(&mut self, fire: &mut impl FnMut(i64, &mut T)) {
        let [first, second] = &mut self.tables;
        fire(self.end - self.size, first);
        swap(first, second);
        self.end += self.size;
    }
}

/// Windows that tumble.
pub fn tumbling(stream: &Stream, size: i64) -> Checksum {
    let mut checksum = Checksum::default();
    Windows::new(stream, size, HashMap::<u64, (u64, i64)>::new).run(
        stream,
        |sums, i| {
            let entry = sums.entry(stream.keys[i]).or_insert((0, 0));
            entry.0 += 1;
            entry.1 += stream.values[i];
        },
        |start, sums| {
            sums.iter().for_each(|(&key, &(count, sum))| checksum.add(key, start, count, sum));
            sums.clear();
        },
    );
    checksum
}

/// The same where keys have an index.
pub fn tumbling_by_index(stream: &Stream, size: i64) -> Checksum {
    let keys = stream.indices.iter().max().map_or(0, |&last| last as usize + 1);
    let mut checksum = Checksum::default();
    Windows::new(stream, size, || vec![(0_u64, 0_i64); keys]).run(
        stream,
        |sums, i| {
            let entry = &mut sums[stream.indices[i] as usize];
            entry.0 += 1;
            entry.1 += stream.values[i];
        },
        |start, sums| {
            for (index, &(count, sum)) in sums.iter().enumerate().filter(|(_, sum)| sum.0 > 0) {
                checksum.add(key_of(index as u32), start, count, sum);
            }
            sums.fill((0, 0));
        },
    );
    checksum
}

/// Not even windows: one upsert by key for each event, and so many results.
#[inline(never)]
pub fn results(stream: &Stream, panes: u64) -> Checksum {
    let sums = upserted(stream);
    let mut checksum = Checksum::default();
    let each = sums.iter().cycle().take(panes as usize);
    (0..).zip(each).for_each(|(n, (&key, &(count, sum)))| checksum.add(key, n, count, sum));
    checksum
}

struct Session {
    first: i64,
    last: i64,
    sum: (u64, i64),
}

/// Sessions by key, each with a timer in a list for the second in which it would end: one that goes off too soon is put down
/// again. The gap is longer than events are out of order, so that no key has more than one session before its latest.
struct Sessions {
    latest: HashMap<u64, Session>,
    earlier: HashMap<u64, Session>,
    timers: Vec<Vec<u64>>,
    /// The second of the first timers.
    start: i64,
    gap: i64,
}

impl Sessions {
    fn set_timer(&mut self, key: u64, last: i64) {
        self.timers[(last + self.gap - self.start).div_euclid(SECOND) as usize].push(key);
    }

    fn add(&mut self, key: u64, time: i64, value: i64) {
        let event = Session { first: time, last: time, sum: (1, value) };
        let own = match self.latest.entry(key) {
            Entry::Vacant(own) => {
                own.insert(event);
                return self.set_timer(key, time);
            }
            Entry::Occupied(own) => own.into_mut(),
        };
        if time > own.last + self.gap {
            self.earlier.insert(key, replace(own, event));
            return self.set_timer(key, time);
        }
        own.last = own.last.max(time);
        own.sum.0 += 1;
        own.sum.1 += value;
        if time < own.first {
            own.first = time;
            // It may be what is between two.
            if let Some(before) = self.earlier.remove(&key) {
                match time <= before.last + self.gap {
                    true => {
                        own.first = before.first;
                        own.sum.0 += before.sum.0;
                        own.sum.1 += before.sum.1;
                    }
                    false => _ = self.earlier.insert(key, before),
                }
            }
        }
    }

    fn fire(&mut self, second: usize, checksum: &mut Checksum) {
        let end = self.start + (second as i64 + 1) * SECOND;
        for key in take(&mut self.timers[second]) {
            let gap = self.gap;
            for sessions in [&mut self.earlier, &mut self.latest] {
                if let Entry::Occupied(own) = sessions.entry(key) {
                    let Session { first, last, sum: (count, sum) } = *own.get();
                    if last + gap < end {
                        own.remove();
                        checksum.add(key, first, count, sum);
                    } else if first + gap < end {
                        self.timers[(last + gap - self.start).div_euclid(SECOND) as usize].push(key);
                    }
                }
            }
        }
    }
}

/// Sessions.
pub fn sessions(stream: &Stream, gap: i64) -> Checksum {
    let bounds = || stream.times.iter().copied();
    let (start, end) = (bounds().min().unwrap_or(0), bounds().max().unwrap_or(0) + gap);
    let timers = (0..=(end - start) / SECOND).map(|_| Vec::new()).collect();
    let mut sessions = Sessions { latest: HashMap::new(), earlier: HashMap::new(), timers, start, gap };
    let (mut latest, mut next, mut checksum) = (i64::MIN / 2, 0, Checksum::default());
    for from in (0..stream.times.len()).step_by(EVERY) {
        for i in from..(from + EVERY).min(stream.times.len()) {
            sessions.add(stream.keys[i], stream.times[i], stream.values[i]);
            latest = latest.max(stream.times[i]);
        }
        while start + (next as i64 + 1) * SECOND <= latest - DISORDER {
            sessions.fire(next, &mut checksum);
            next += 1;
        }
    }
    (next..sessions.timers.len()).for_each(|second| sessions.fire(second, &mut checksum));
    checksum
}
