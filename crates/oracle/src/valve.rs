//! Apache Flink's `StatusWatermarkValve`, as its recorded vectors show it.
//!
//! Two switches turn the behaviours that the design departs from on purpose
//! (findings 14 and 15 of the vectors' notes). With both on, the valve computes
//! what [`crate::watermark`] does, by quite another route: it reacts to changes,
//! where ours looks at the state.

use serde::{Deserialize, Serialize};

/// What comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// A channel's watermark.
    #[serde(rename = "w")]
    Watermark(usize, i64),
    /// A channel's status.
    #[serde(rename = "s")]
    Status(usize, Status),
}

/// What goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Output {
    /// The watermark over all channels.
    #[serde(rename = "w")]
    Watermark(i64),
    /// The status over all channels.
    #[serde(rename = "s")]
    Status(Status),
}

/// Whether data is to be expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Yes.
    Active,
    /// No.
    Idle,
}

/// Where the valve departs from Flink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Switches {
    /// When the last active channel goes idle, the maximum over all channels
    /// goes out (W4). Flink does so only if that channel was exactly at the
    /// last output, so the result depends on who idles last (finding 14).
    pub flush_max_on_all_idle: bool,
    /// A channel's return re-evaluates the minimum at once. Flink waits for the
    /// next advance of any active channel (finding 15).
    pub emit_on_return: bool,
}

/// The valve.
#[derive(Clone, Debug)]
pub struct Valve {
    switches: Switches,
    channels: Vec<Channel>,
    last_output: i64,
    last_status: Status,
    outputs: Vec<Output>,
}

#[derive(Clone, Copy, Debug)]
struct Channel {
    watermark: i64,
    status: Status,
    aligned: bool,
}

impl Valve {
    /// All channels active, nothing known of any.
    #[must_use]
    pub fn new(channels: usize, switches: Switches) -> Self {
        let channel = Channel { watermark: i64::MIN, status: Status::Active, aligned: true };
        Self {
            switches,
            channels: vec![channel; channels],
            last_output: i64::MIN,
            last_status: Status::Active,
            outputs: Vec::new(),
        }
    }

    /// Takes an input and returns what goes out because of it, in order.
    ///
    /// # Panics
    /// When there is no such channel.
    pub fn input(&mut self, input: Input) -> Vec<Output> {
        match input {
            Input::Watermark(channel, w) => self.input_watermark(channel, w),
            Input::Status(channel, status) if self.channels[channel].status != status => {
                self.channels[channel].status = status;
                match status {
                    Status::Idle => self.now_idle(channel),
                    Status::Active => self.now_active(channel),
                }
            }
            // Repeated statuses are silent (finding 16).
            Input::Status(..) => {}
        }
        std::mem::take(&mut self.outputs)
    }

    /// The last watermark that went out.
    #[must_use]
    pub fn watermark(&self) -> i64 {
        self.last_output
    }

    /// Whether a channel is active.
    ///
    /// # Panics
    /// When there is no such channel.
    #[must_use]
    pub fn is_active(&self, channel: usize) -> bool {
        self.channels[channel].status == Status::Active
    }

    fn input_watermark(&mut self, channel: usize, w: i64) {
        let last_output = self.last_output;
        let channel = &mut self.channels[channel];
        // An idle channel's watermarks are not even remembered (finding 16).
        if channel.status == Status::Idle || w <= channel.watermark {
            return;
        }
        channel.watermark = w;
        channel.aligned |= w >= last_output;
        self.emit_min_of_aligned();
    }

    fn now_idle(&mut self, channel: usize) {
        self.channels[channel].aligned = false;
        let held_output = self.channels[channel].watermark == self.last_output;
        if self.channels.iter().any(|c| c.status == Status::Active) {
            if held_output {
                self.emit_min_of_aligned();
            }
            return;
        }
        if held_output || self.switches.flush_max_on_all_idle {
            let max = self.channels.iter().map(|c| c.watermark).max();
            self.emit_if_higher(max);
        }
        self.emit_status(Status::Idle);
    }

    fn now_active(&mut self, channel: usize) {
        let last_output = self.last_output;
        let channel = &mut self.channels[channel];
        channel.aligned = channel.watermark >= last_output;
        if self.last_status == Status::Idle {
            self.emit_status(Status::Active);
        }
        if self.switches.emit_on_return {
            self.emit_min_of_aligned();
        }
    }

    fn emit_min_of_aligned(&mut self) {
        let aligned = self.channels.iter().filter(|c| c.aligned);
        let min = aligned.map(|c| c.watermark).min();
        self.emit_if_higher(min);
    }

    fn emit_if_higher(&mut self, w: Option<i64>) {
        if let Some(w) = w
            && w > self.last_output
        {
            self.last_output = w;
            self.outputs.push(Output::Watermark(w));
        }
    }

    fn emit_status(&mut self, status: Status) {
        self.last_status = status;
        self.outputs.push(Output::Status(status));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Config;
    use crate::watermark::WatermarkModel;
    use Input::{Status as S, Watermark as W};
    use Status::{Active, Idle};
    use proptest::prelude::*;

    const OURS: Switches = Switches { flush_max_on_all_idle: true, emit_on_return: true };

    fn run(channels: usize, switches: Switches, inputs: &[Input]) -> Vec<Output> {
        let mut valve = Valve::new(channels, switches);
        inputs.iter().flat_map(|&i| valve.input(i)).collect()
    }

    /// Finding 14's own example.
    #[test]
    fn flush_max_on_all_idle_is_what_separates_finding_14_from_w4() {
        let inputs =
            [W(0, 10), W(1, 20), W(2, 3), S(2, Idle), S(2, Active), S(1, Idle), S(0, Idle), S(2, Idle)];
        let (w, s) = (Output::Watermark, Output::Status);
        let flink = run(3, Switches::default(), &inputs);
        assert_eq!(flink, [w(3), w(10), s(Idle)]);
        assert_eq!(run(3, OURS, &inputs), [w(3), w(10), w(20), s(Idle)]);
    }

    /// Finding 15: that 16 is the minimum is known when channel 1 returns.
    #[test]
    fn emit_on_return_is_what_separates_finding_15_from_w6() {
        let mut flink = Valve::new(3, Switches::default());
        let mut ours = Valve::new(3, OURS);
        let (ahead, behind) = (1, 2);
        for input in [
            W(ahead, 16),
            W(behind, 3),
            S(ahead, Idle),
            W(0, 15),
            S(behind, Idle),
            S(behind, Active),
            S(0, Idle),
        ] {
            assert_eq!(flink.input(input), ours.input(input));
        }
        assert_eq!(ours.watermark(), 15);
        assert_eq!(flink.input(S(ahead, Active)), []);
        assert_eq!(ours.input(S(ahead, Active)), [Output::Watermark(16)]);
        // Any advance brings it out, even one that is itself behind.
        assert_eq!(flink.input(W(behind, 12)), [Output::Watermark(16)]);
    }

    /// What [`WatermarkModel`] has after the same inputs. A watermark on an idle
    /// channel is left out: the valve forgets it (finding 16), ours wakes up.
    fn agree(channels: usize, inputs: &[Input]) -> Result<(), String> {
        let mut valve = Valve::new(channels, OURS);
        let mut model = WatermarkModel::new(&Config::tumbling(1));
        (0..channels).for_each(|_| _ = model.add());
        for (at, &input) in inputs.iter().enumerate() {
            let p = |channel| u32::try_from(channel).expect("few channels");
            let result = match input {
                W(channel, _) if !valve.is_active(channel) => continue,
                W(channel, w) => model.set_watermark(p(channel), w),
                S(channel, Idle) => model.mark_idle(p(channel)),
                S(channel, Active) => model.mark_active(p(channel)),
            };
            result.expect("all partitions are there");
            valve.input(input);
            let (theirs, ours) = (valve.watermark(), model.observe());
            if theirs != ours {
                return Err(format!("valve {theirs}, model {ours} after {:?}", &inputs[..=at]));
            }
        }
        Ok(())
    }

    fn letters(channels: usize) -> Vec<Input> {
        let of = |c| [W(c, 1), W(c, 2), W(c, 3), S(c, Idle), S(c, Active)];
        (0..channels).flat_map(of).collect()
    }

    #[test]
    fn differential_valve_and_model_agree_on_all_small_timelines() {
        for (channels, length) in [(2, 5), (3, 4)] {
            let letters = letters(channels);
            let words = letters.len().pow(length);
            for mut word in 0..words {
                let inputs: Vec<Input> = (0..length)
                    .map(|_| {
                        let letter = letters[word % letters.len()];
                        word /= letters.len();
                        letter
                    })
                    .collect();
                agree(channels, &inputs).unwrap();
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn differential_valve_and_model_agree_on_random_timelines(
            inputs in prop::collection::vec((0..5usize, 0..4u8, 0..3i64), 0..80),
        ) {
            let mut clock = 0;
            let inputs: Vec<Input> = inputs.into_iter().map(|(channel, kind, by)| {
                clock += by;
                match kind {
                    0 => S(channel, Idle),
                    1 => S(channel, Active),
                    // Channels lag by their number, and sometimes go back.
                    _ => W(channel, clock - 2 * channel as i64 - 3 * (by % 2)),
                }
            }).collect();
            prop_assert_eq!(agree(5, &inputs), Ok(()));
        }
    }
}
