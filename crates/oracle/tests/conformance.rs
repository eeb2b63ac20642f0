//! The models against what Apache Flink 2.3.0 really does (recorded vectors).
//!
//! `ORACLE_VALVE` names `valve.jsonl`, `ORACLE_VECTORS` the folder of all
//! vectors; without them they are in the root crate's `tests/conformance`. A
//! missing file is a failure: a suite that skips itself proves nothing.

use std::path::{Path, PathBuf};

use floodmark_oracle::case::{Accumulation, Base, Config, Kind, Step, Trigger, Windows};
use floodmark_oracle::model::{Model, Outcome, Verdict};
use floodmark_oracle::valve::{Input, Output, Switches, Valve};
use floodmark_oracle::window::Pane;
use serde_json::{Value, json};

fn vectors(file: &str) -> Vec<Value> {
    let folder = std::env::var_os("ORACLE_VECTORS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/conformance"), PathBuf::from);
    let valve = (file == "valve.jsonl").then(|| std::env::var_os("ORACLE_VALVE"));
    let path = valve.flatten().map_or(folder.join(file), PathBuf::from);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn oracle_valve_is_flinks() {
    let vectors = vectors("valve.jsonl");
    assert_eq!(vectors.len(), 506);
    for vector in vectors {
        let channels = vector["channels"].as_u64().unwrap();
        let mut valve = Valve::new(channels.try_into().unwrap(), Switches::default());
        let inputs: Vec<Input> = serde_json::from_value(vector["input"].clone()).unwrap();
        let outputs: Vec<Vec<Output>> = serde_json::from_value(vector["output"].clone()).unwrap();
        assert_eq!(inputs.len(), outputs.len());
        for (at, (input, output)) in inputs.into_iter().zip(outputs).enumerate() {
            assert_eq!(valve.input(input), output, "{} step {at}", vector["id"]);
        }
    }
}

/// All vectors of windows, step by step: fires as a multiset, late events and
/// watermarks exactly.
#[test]
fn oracle_windows_are_flinks() {
    let files = ["windows_tumbling", "windows_sliding", "windows_named"];
    let all = files.map(|file| vectors(&format!("{file}.jsonl")));
    for vector in all.iter().flatten() {
        compare(vector, config(&vector["config"]));
    }
    let compared: usize = all.iter().map(Vec::len).sum();
    println!("{compared} vectors compared");
    assert!(compared > 700, "only {compared} vectors");
}

fn config(vector: &Value) -> Config {
    let (base, accumulation) = trigger(&vector["trigger"]);
    Config::of(Windows {
        lateness: number(&vector["allowed_lateness"]),
        trigger: Trigger::on(base),
        accumulation,
        ..Windows::of(kind(&vector["window"]))
    })
}

fn kind(window: &Value) -> Kind {
    let sliding = |slide: &Value| Kind::Sliding {
        size: number(&window["size"]),
        slide: number(slide),
        offset: number(&window["offset"]),
    };
    match window["type"].as_str().unwrap() {
        "tumbling" => sliding(&window["size"]),
        "sliding" => sliding(&window["slide"]),
        "session" => Kind::Session { gap: number(&window["gap"]), max_length: None },
        // Each event brings its own gap.
        "session_dynamic" => Kind::Session { gap: 1, max_length: None },
        "global" => Kind::Global,
        other => panic!("what is {other}?"),
    }
}

fn trigger(trigger: &Value) -> (Base, Accumulation) {
    let count = || Base::Count { n: number(&trigger["n"]) };
    match trigger["type"].as_str().unwrap() {
        "event_time" | "end_of_stream" => (Base::OnTime, Accumulation::Accumulating),
        "purging_event_time" => (Base::OnTime, Accumulation::Discarding),
        "count" => (count(), Accumulation::Accumulating),
        "purging_count" => (count(), Accumulation::Discarding),
        "continuous" => {
            (Base::Continuous { every: number(&trigger["interval"]) }, Accumulation::Accumulating)
        }
        other => panic!("what is {other}?"),
    }
}

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap()
}

fn compare(vector: &Value, config: Config) {
    let mut model = Model::new(config);
    let mut watermark = model.step(&Step::Add).watermark;
    let mut keys = Vec::new();
    let inputs = vector["input"].as_array().unwrap();
    let outputs = vector["output"].as_array().unwrap();
    for (at, (input, output)) in inputs.iter().zip(outputs).enumerate() {
        let outcome = model.step(&step(input, &mut keys));
        model.assert_invariants();
        let mut expected = output.as_array().unwrap().clone();
        if outcome.verdict == Some(Verdict::Unassigned) {
            // Finding 7: Flink says late or nothing, by the watermark.
            expected.retain(|record| record.get("late").is_none());
        }
        let panes = outcome.panes.iter();
        let fires = panes.map(|pane| fire(pane, &keys, &vector["config"])).collect();
        let mut actual = records(&outcome, fires, input, watermark);
        watermark = outcome.watermark;
        for records in [&mut expected, &mut actual] {
            if keeps_no_order(&vector["config"]["window"]) {
                records.iter_mut().for_each(sort_list);
            }
            records.sort_by_key(ToString::to_string);
        }
        assert_eq!(actual, expected, "{} step {at}: {input}", vector["id"]);
    }
}

/// Whether the order in lists means nothing: Flink merges sessions in the order of
/// a hash table, and sorts what it fires at the end of a stream.
fn keeps_no_order(window: &Value) -> bool {
    !matches!(window["type"].as_str(), Some("tumbling" | "sliding"))
}

fn sort_list(record: &mut Value) {
    if let Some(list) = record.pointer_mut("/fire/3").and_then(Value::as_array_mut) {
        list.sort_by_key(number);
    }
}

/// Flink's keys are any `i64`; ours are the ordinals of their first appearance.
fn step(input: &Value, keys: &mut Vec<i64>) -> Step {
    let Some(event) = input.get("e") else {
        return Step::SetWatermark { p: 0, w: ours(number(&input["w"])) };
    };
    let key = number(&event[0]);
    let known = keys.iter().position(|&known| known == key);
    let ordinal = known.unwrap_or_else(|| {
        keys.push(key);
        keys.len() - 1
    });
    let key = ordinal.try_into().unwrap();
    let gap = event.get(3).map(number);
    Step::Event { p: 0, time: number(&event[1]), key, value: number(&event[2]), gap }
}

/// Flink's watermark says that nothing `<=` it comes, ours that nothing `<` it.
fn ours(flinks: i64) -> i64 {
    match flinks {
        i64::MIN => i64::MIN,
        _ => flinks.saturating_add(1),
    }
}

fn fire(pane: &Pane, keys: &[i64], config: &Value) -> Value {
    let key = keys[pane.key as usize];
    let value = value(pane, &config["aggregate"]);
    match config["window"]["type"] == "global" {
        true => json!({"fire": [key, null, null, value]}),
        false => json!({"fire": [key, pane.start, pane.end, value]}),
    }
}

/// The outcome in Flink's words.
fn records(outcome: &Outcome, fires: Vec<Value>, input: &Value, before: i64) -> Vec<Value> {
    let mut records = fires;
    if matches!(outcome.verdict, Some(Verdict::Late { .. })) {
        records.push(json!({"late": input["e"]}));
    }
    if outcome.watermark != before {
        records.push(input.clone());
    }
    records
}

fn value(pane: &Pane, aggregate: &Value) -> Value {
    match aggregate.as_str().unwrap() {
        "sum" => json!(pane.sum()),
        "count" => json!(pane.count()),
        "min" => json!(pane.min()),
        "max" => json!(pane.max()),
        "list" => pane.events.iter().map(|event| event.value).collect(),
        other => panic!("what is {other}?"),
    }
}
