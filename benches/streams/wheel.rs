//! The same windows by µWheel (Meldrum and Carbone, "µWheel: Aggregate Management for Streams and Queries", DEBS 2024): one
//! wheel for each key, with the window installed. Its time goes in whole seconds.

use std::num::NonZeroUsize;

use hashbrown::HashMap;
use uwheel::aggregator::Aggregator;
use uwheel::{Conf, Entry, HawConf, NumericalDuration, RwWheel, Window};

use super::{Checksum, DISORDER, EVERY, SECOND, Stream};

/// Count and sum of the values.
#[derive(Clone, Debug, Default)]
struct CountAndSum;

impl Aggregator for CountAndSum {
    const IDENTITY: Self::PartialAggregate = (0, 0);
    type Input = i64;
    type MutablePartialAggregate = (u64, i64);
    type PartialAggregate = (u64, i64);
    type Aggregate = (u64, i64);

    fn lift(value: i64) -> (u64, i64) {
        (1, value)
    }

    fn combine_mutable(whole: &mut (u64, i64), value: i64) {
        *whole = (whole.0 + 1, whole.1 + value);
    }

    fn freeze(whole: (u64, i64)) -> (u64, i64) {
        whole
    }

    fn combine(one: (u64, i64), other: (u64, i64)) -> (u64, i64) {
        (one.0 + other.0, one.1 + other.1)
    }

    fn lower(whole: (u64, i64)) -> (u64, i64) {
        whole
    }

    fn combine_inverse() -> Option<fn((u64, i64), (u64, i64)) -> (u64, i64)> {
        Some(|whole, part| (whole.0 - part.0, whole.1 - part.1))
    }
}

const MILLIS: i64 = SECOND / 1000;

/// The wheels of all keys, the one of a stream without keys in a place of its own.
struct Wheels {
    window: Window,
    /// From the start of a window to that of the last one it overlaps, in milliseconds.
    overlap: i64,
    slide: i64,
    by_key: HashMap<u64, RwWheel<CountAndSum>>,
    single: Option<RwWheel<CountAndSum>>,
    /// In milliseconds, a whole number of seconds.
    watermark: i64,
    checksum: Checksum,
}

impl Wheels {
    /// A wheel whose windows start where all others' do.
    fn wheel(&self) -> RwWheel<CountAndSum> {
        let origin = self.watermark - self.watermark.rem_euclid(self.slide) - self.overlap;
        let time = HawConf::default().with_watermark(origin as u64);
        let ahead = NonZeroUsize::new(64).expect("64 is not 0");
        let mut wheel = RwWheel::with_conf(Conf::default().with_haw_conf(time).with_write_ahead(ahead));
        wheel.window(self.window);
        wheel.advance_to(self.watermark as u64);
        wheel
    }

    fn insert(&mut self, key: u64, entry: Entry<i64>) {
        match &mut self.single {
            Some(wheel) => wheel.insert(entry),
            None => match self.by_key.get_mut(&key) {
                Some(wheel) => wheel.insert(entry),
                None => {
                    let mut wheel = self.wheel();
                    wheel.insert(entry);
                    self.by_key.insert(key, wheel);
                }
            },
        }
    }

    fn advance(&mut self, watermark: i64) {
        let watermark = watermark - watermark.rem_euclid(1000);
        if watermark <= self.watermark {
            return;
        }
        self.watermark = watermark;
        let wheels = self.by_key.iter_mut().map(|(&key, wheel)| (key, wheel));
        for (key, wheel) in wheels.chain(self.single.iter_mut().map(|wheel| (0, wheel))) {
            for fired in wheel.advance_to(watermark as u64) {
                let (count, sum) = fired.aggregate;
                if count > 0 {
                    self.checksum.add(key, fired.window_start_ms as i64 * MILLIS, count, sum);
                }
            }
        }
    }
}

/// A stream of one partition, without keys or with them.
pub fn by_wheels(stream: &Stream, (size, slide): (i64, i64), has_keys: bool) -> Checksum {
    let seconds = |micros: i64| (micros / SECOND).seconds();
    let window = match size == slide {
        true => Window::tumbling(seconds(size)),
        false => Window::sliding(seconds(size), seconds(slide)),
    };
    let first =
        stream.times.iter().take(1).map(|time| time - time.rem_euclid(size) - size).next().unwrap_or(0);
    let mut wheels = Wheels {
        window,
        overlap: (size - slide) / MILLIS,
        slide: slide / MILLIS,
        by_key: HashMap::new(),
        single: None,
        watermark: first / MILLIS,
        checksum: Checksum::default(),
    };
    if !has_keys {
        wheels.single = Some(wheels.wheel());
    }
    let mut latest = i64::MIN / 2;
    for from in (0..stream.times.len()).step_by(EVERY) {
        for i in from..(from + EVERY).min(stream.times.len()) {
            latest = latest.max(stream.times[i]);
            wheels.insert(stream.keys[i], Entry::new(stream.values[i], (stream.times[i] / MILLIS) as u64));
        }
        wheels.advance((latest - DISORDER) / MILLIS);
    }
    wheels.advance((latest + size + slide) / MILLIS);
    wheels.checksum
}
