//! Killed at any moment and resumed any number of times, a run ends with the very same bytes.

mod common;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use common::{Lines, MAIN_JOB, MANY_WINDOWS, Random, floodmark, january, january_rows, stderr, stdout};

/// A folder with the outputs and the checkpoint of one run.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The main job on `input`, saved every `every`. What `extra` says of the delay replaces what the job says.
    fn command(&self, input: &Path, every: &str, extra: &[&str]) -> Command {
        let is_replaced = |option: &str| option == "--max-delay" && extra.contains(&option);
        let job = MAIN_JOB.chunks(2).filter(|option| !is_replaced(option[0])).flatten();
        let mut command = floodmark(&["run"]);
        command.arg(input).args(job).args(["--checkpoint-every", every]);
        command.arg("--output").arg(self.path("fired.csv")).arg("--late").arg(self.path("late.ndjson"));
        command.arg("--checkpoint").arg(self.path("saved")).args(extra);
        command
    }

    fn run(&self, input: &Path, every: &str, extra: &[&str]) -> Output {
        self.command(input, every, extra).output().unwrap()
    }

    fn outputs(&self) -> [String; 2] {
        ["fired.csv", "late.ndjson"].map(|name| fs::read_to_string(self.path(name)).unwrap())
    }

    /// The manifests of its checkpoints, oldest first.
    fn checkpoints(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.path("saved").join("checkpoints")) else { return Vec::new() };
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| !path.to_str().unwrap().contains('#'));
        paths.sort();
        paths
    }
}

fn uninterrupted(input: &Path) -> [String; 2] {
    let outputs = uninterrupted_with(input, &[]);
    assert!(outputs[1].lines().count() > 10, "some are to be late");
    outputs
}

fn uninterrupted_with(input: &Path, extra: &[&str]) -> [String; 2] {
    let place = Place::new();
    let output = place.run(input, "10s", extra);
    assert!(output.status.success(), "{}", stderr(&output));
    let outputs = place.outputs();
    assert!(outputs[0].lines().count() > 10);
    outputs
}

#[test]
fn killed_at_random_moments_and_resumed_the_bytes_are_the_same() {
    killed_and_resumed(&january(), &[]);
}

#[test]
fn several_windows_with_sessions_and_early_and_replaced_results_are_resumed_to_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("input.csv");
    fs::write(&input, january_rows(8000)).unwrap();
    killed_and_resumed(&input, &MANY_WINDOWS);
}

#[test]
fn filled_windows_and_a_learned_delay_are_resumed_to_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("input.csv");
    fs::write(&input, january_rows(12_000)).unwrap();
    let extra = ["--fill", "9h", "--max-delay", "p90:6h", "--window", "sliding:3h/1h"];
    let [fired, late] = uninterrupted_with(&input, &extra);
    assert!(fired.contains(",0,,,on_time,0\n") && late.lines().count() > 15, "some are filled, some late");
    killed_and_resumed(&input, &extra);
}

fn killed_and_resumed(input: &Path, extra: &[&str]) {
    let rounds: usize = std::env::var("FLOODMARK_KILLS").map_or(24, |rounds| rounds.parse().unwrap());
    let mut random = Random::new();
    let expected = uninterrupted_with(input, extra);
    let resumed = [extra, &["--resume"]].concat();
    let (mut kills, mut before_the_first, mut passes) = (0, 0, 0);
    while kills < rounds {
        let place = Place::new();
        // Ever longer, so that a slow machine gets there too.
        for longest in (60_000..).step_by(30_000) {
            // Small intervals make many files be written, synced and renamed, which is where to hit.
            let every = (1 + random.below(400)).to_string();
            let mut child = place.command(input, &every, &resumed).stderr(Stdio::null()).spawn().unwrap();
            thread::sleep(Duration::from_micros(random.below(longest)));
            child.kill().unwrap();
            let status = child.wait().unwrap();
            if status.success() {
                break;
            }
            assert_eq!(status.code(), None, "ended by itself, and not well");
            kills += 1;
            before_the_first += usize::from(place.checkpoints().is_empty());
        }
        passes += 1;
        assert!(place.outputs() == expected, "pass {passes}: the outputs differ after {kills} kills");
    }
    println!("{kills} kills over {passes} passes, {before_the_first} of them before the first checkpoint");
}

#[test]
fn a_pipe_is_resumed_by_feeding_it_again() {
    let mut random = Random::new();
    let text = january_rows(8000);
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("input.csv");
    fs::write(&input, &text).unwrap();
    let expected = uninterrupted(&input);
    let place = Place::new();
    for part in [0.2, 0.6, 1.0] {
        let mut child =
            place.command(Path::new("-"), "50", &["--resume"]).stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(&text.as_bytes()[..(text.len() as f64 * part) as usize]).unwrap();
        if part < 1.0 {
            thread::sleep(Duration::from_millis(50 + random.below(200)));
            child.kill().unwrap();
        }
        drop(stdin);
        assert_eq!(child.wait().unwrap().success(), part == 1.0);
    }
    assert!(place.outputs() == expected, "the outputs differ");
}

#[test]
fn several_files_with_bad_rows_are_resumed_too() {
    let mut random = Random::new();
    let dir = tempfile::tempdir().unwrap();
    let rows = january_rows(6000);
    let (header, rows) = rows.split_once('\n').unwrap();
    let rows: Vec<&str> = rows.lines().collect();
    let mut files = Vec::new();
    for (i, part) in rows.chunks(2000).enumerate() {
        let path = dir.path().join(format!("{i}.csv"));
        fs::write(&path, format!("{header}\n{}\nbad,row\n", part.join("\n"))).unwrap();
        files.push(path.to_str().unwrap().to_owned());
    }
    let errors = dir.path().join("errors.csv");
    let more = [&files[1], &files[2], "--on-error", "side", "--errors", errors.to_str().unwrap()];
    let first = Path::new(&files[0]);
    let (whole, parts) = (Place::new(), Place::new());
    assert!(whole.run(first, "10s", &more).status.success());
    let expected_errors = fs::read_to_string(&errors).unwrap();
    assert_eq!(expected_errors.lines().count(), 4);
    let mut resumed = more.to_vec();
    resumed.push("--resume");
    for longest in (200..).step_by(50) {
        let mut child = parts.command(first, "20", &resumed).stderr(Stdio::null()).spawn().unwrap();
        thread::sleep(Duration::from_millis(random.below(longest)));
        child.kill().unwrap();
        if child.wait().unwrap().success() {
            break;
        }
    }
    assert!(parts.outputs() == whole.outputs(), "the outputs differ");
    assert_eq!(fs::read_to_string(&errors).unwrap(), expected_errors);
}

#[cfg(unix)]
#[test]
fn ctrl_c_saves_says_how_to_go_on_and_exits_130() {
    let text = january_rows(3000);
    let place = Place::new();
    let mut command = place.command(Path::new("-"), "1h", &[]);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(text.as_bytes()).unwrap();
    // The late file is made before the first row is read, and by then the handler listens.
    while !place.path("late.ndjson").exists() {
        thread::sleep(Duration::from_millis(5));
    }
    thread::sleep(Duration::from_millis(100));
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    let said = stderr(&output);
    assert!(said.contains("events offered"), "{said}");
    let resume = said.lines().last().unwrap().trim();
    assert!(resume.ends_with("--resume") && resume.contains(" run - --time departed_at "), "{said}");

    // The very line that was printed goes on, and ends like a run that was left alone.
    let mut shell = Command::new("sh");
    let mut child = shell.args(["-c", resume]).stdin(Stdio::piped()).spawn().unwrap();
    let text = fs::read_to_string(january()).unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(place.outputs() == uninterrupted(&january()), "the outputs differ");
}

#[cfg(unix)]
#[test]
fn ctrl_c_without_a_checkpoint_says_that_nothing_was_saved() {
    let mut command = floodmark(&["run", "-"]);
    let command = command.args(MAIN_JOB).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(january_rows(1000).as_bytes()).unwrap();
    // Once there are results, it waits for more rows; it must not wait for them to stop.
    Lines::of(child.stdout.take().unwrap()).next();
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    assert_eq!(output.status.code(), Some(130));
    assert!(stderr(&output).contains("nothing was saved"), "{}", stderr(&output));
}

#[test]
fn a_bad_row_stops_between_two_rows_and_the_run_can_go_on_without_it() {
    let dir = tempfile::tempdir().unwrap();
    let (good, bad) = (dir.path().join("good.csv"), dir.path().join("bad.csv"));
    let rows = january_rows(5000);
    let mut lines: Vec<&str> = rows.lines().collect();
    fs::write(&good, lines.join("\n")).unwrap();
    lines.insert(3000, "2013-01-01T12:02:00Z,yesterday,JFK,BOS,B6,1806,0,187");
    fs::write(&bad, lines.join("\n")).unwrap();
    let place = Place::new();
    let output = place.run(&bad, "10s", &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("bad.csv:3001: column `departed_at`: cannot read \"yesterday\""));
    let output = place.run(&bad, "10s", &["--resume", "--on-error", "skip"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(place.outputs() == uninterrupted(&good), "the outputs differ");
}

/// A place where a run was stopped in the middle by a bad row.
fn half_done() -> (tempfile::TempDir, PathBuf, Place) {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("input.csv");
    fs::write(&input, january_rows(2000) + "bad\n").unwrap();
    let place = Place::new();
    assert_eq!(place.run(&input, "10s", &[]).status.code(), Some(1));
    assert_eq!(place.checkpoints().len(), 1);
    (dir, input, place)
}

/// That a run is refused, with a message that says `why`, and that the outputs stay as they are.
fn refused(place: &Place, input: &Path, extra: &[&str], why: &str) {
    let before = place.outputs();
    let output = place.run(input, "10s", extra);
    assert_eq!(output.status.code(), Some(1), "{extra:?}");
    assert!(stderr(&output).contains(why), "{}", stderr(&output));
    assert!(place.outputs() == before, "the outputs were touched");
}

#[test]
fn a_checkpoint_is_only_used_when_asked_for_and_for_the_same_run() {
    let (dir, input, place) = half_done();
    let resume = ["--resume", "--on-error", "skip"];
    let with = |more: &[&'static str]| [&resume[..], more].concat();
    refused(&place, &input, &[], "already holds a checkpoint: go on from it with --resume");
    let why = "--aggregate was count,mean:dep_delay_min,max:dep_delay_min, now it is ";
    refused(&place, &input, &with(&["--aggregate", "min:distance_mi"]), why);
    refused(&place, &input, &with(&["--key", "dest"]), "--key was carrier, now it is carrier,dest");
    let why = "--window was tumbling:1h, now it is tumbling:1h,session:30m";
    refused(&place, &input, &with(&["--window", "session:30m"]), why);
    refused(&place, &input, &with(&["--max-delay", "p99.90:6h"]), "--max-delay was 6h, now it is p99.9:6h");
    let why = "--early was (not given), now it is events:3";
    refused(&place, &input, &with(&["--early", "events:3"]), why);
    let why = "--accumulate was accumulating, now it is discarding";
    refused(&place, &input, &with(&["--accumulate", "discarding"]), why);
    refused(&place, &input, &with(&["--fill", "90m"]), "--fill was (not given), now it is 1h30m");
    let other = dir.path().join("other.csv");
    fs::copy(&input, &other).unwrap();
    refused(&place, &other, &resume, "other.csv");
    refused(&place, &input, &with(&["-"]), "it read 1 files, now there are 2");

    let text = fs::read_to_string(&input).unwrap();
    fs::write(&input, format!("{text}more\n")).unwrap();
    refused(&place, &input, &resume, &format!("was {} bytes, now it is {}", text.len(), text.len() + 5));
    fs::write(&input, &text).unwrap();
    assert!(place.run(&input, "10s", &resume).status.success());
    let output = place.run(&input, "10s", &resume);
    assert!(output.status.success() && stderr(&output).contains("nothing left to do"));
}

#[test]
fn windows_of_another_length_are_refused_by_name() {
    let (_dir, input, place) = half_done();
    let mut command = floodmark(&["run", input.to_str().unwrap(), "--resume"]);
    let args = MAIN_JOB.map(|arg| if arg == "tumbling:1h" { "tumbling:2h" } else { arg });
    command
        .args(args)
        .arg("--output")
        .arg(place.path("fired.csv"))
        .arg("--late")
        .arg(place.path("late.ndjson"));
    let output = command.arg("--checkpoint").arg(place.path("saved")).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("--window was tumbling:1h, now it is tumbling:2h"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_place_where_nothing_is_intact_or_a_changed_output_is_refused() {
    let (_dir, input, place) = half_done();
    let resume = ["--resume", "--on-error", "skip"];
    let saved = &place.checkpoints()[0];
    let bytes = fs::read(saved).unwrap();
    fs::write(saved, &bytes[..bytes.len() / 2]).unwrap();
    refused(&place, &input, &resume, "00000000000000000001 is damaged: it should go on for");
    let mut damaged = bytes.clone();
    *damaged.last_mut().unwrap() ^= 1;
    fs::write(saved, &damaged).unwrap();
    refused(&place, &input, &resume, "its checksum does not match; restore one of them");
    fs::write(saved, "").unwrap();
    refused(&place, &input, &resume, "it has only 0 bytes");
    fs::write(saved, &bytes).unwrap();
    let fired = fs::read(place.path("fired.csv")).unwrap();
    fs::write(place.path("fired.csv"), &fired[..100]).unwrap();
    refused(&place, &input, &resume, "is 100 bytes long, but");
}

/// A run that saved ten times, and was stopped by a bad row after that.
fn saved_often() -> (tempfile::TempDir, PathBuf, Place, [String; 2]) {
    let dir = tempfile::tempdir().unwrap();
    let (good, input) = (dir.path().join("good.csv"), dir.path().join("input.csv"));
    let rows = january_rows(6000);
    fs::write(&good, &rows).unwrap();
    let lines: Vec<&str> = rows.lines().collect();
    fs::write(&input, [&lines[..5001], &["bad"], &lines[5001..]].concat().join("\n")).unwrap();
    let place = Place::new();
    assert_eq!(place.run(&input, "500", &["--checkpoint-keep", "7"]).status.code(), Some(1));
    assert_eq!(place.checkpoints().len(), 7);
    let expected = uninterrupted(&good);
    (dir, input, place, expected)
}

#[test]
fn where_the_newest_checkpoints_are_damaged_an_older_one_is_gone_on_from_and_it_says_so() {
    let (_dir, input, place, expected) = saved_often();
    let checkpoints = place.checkpoints();
    let [.., before, newest] = &checkpoints[..] else { panic!("{checkpoints:?}") };
    fs::write(newest, "").unwrap();
    fs::write(before, "rot").unwrap();
    let output = place.run(&input, "700", &["--resume", "--on-error", "skip"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let said = stderr(&output);
    for number in [10, 11] {
        let damaged = format!("checkpoints/{number:020} is damaged: it has only");
        assert!(said.contains(&damaged) && said.contains("going on from a checkpoint before it"), "{said}");
    }
    assert!(place.outputs() == expected, "the outputs differ");
}

#[test]
fn a_savepoint_is_gone_on_from_after_the_run_is_complete() {
    let (_dir, input, place, expected) = saved_often();
    let saved = place.path("saved");
    let savepoint = |args: &[&str]| floodmark(&["savepoint"]).args(args).output().unwrap();
    let saved = saved.to_str().unwrap();
    let made = savepoint(&["create", saved, "half-way"]);
    assert!(made.status.success(), "{}", stderr(&made));
    let again = savepoint(&["create", saved, "half-way"]);
    assert!(stderr(&again).contains("there is a savepoint of this name"), "{}", stderr(&again));
    let resume = ["--resume", "--on-error", "skip"];
    assert!(place.run(&input, "500", &resume).status.success());
    assert!(place.outputs() == expected, "the outputs differ");

    let from = |label| place.run(&input, "500", &[&resume[..], &["--savepoint", label]].concat());
    let unknown = from("nowhere");
    assert_eq!(unknown.status.code(), Some(1));
    assert!(stderr(&unknown).contains("savepoints/nowhere"), "{}", stderr(&unknown));
    let output = from("half-way");
    assert!(stderr(&output).contains("\n1001 rows in "), "{}", stderr(&output));
    assert!(place.outputs() == expected, "the outputs differ");

    // As a file, and in a run that ends before it has done anything: the next one goes on from there, and not from where all was done.
    let file = place.path("copied");
    fs::copy(place.path("saved").join("savepoints/half-way"), &file).unwrap();
    let fired = place.path("fired.csv");
    let written = fs::read(&fired).unwrap();
    fs::write(&fired, "").unwrap();
    let refused = from(file.to_str().unwrap());
    assert!(stderr(&refused).contains("is 0 bytes long, but"), "{}", stderr(&refused));
    fs::write(&fired, written).unwrap();
    assert!(stderr(&place.run(&input, "500", &resume)).contains("\n1001 rows in "));
    assert!(place.outputs() == expected, "the outputs differ");

    // One of another run is refused, and nothing is changed by that.
    let complete = place.checkpoints();
    let other =
        place.run(&input, "500", &[&resume[..], &["--savepoint", "half-way", "--fill", "1h"]].concat());
    assert!(stderr(&other).contains("--fill was (not given), now it is 1h"), "{}", stderr(&other));
    assert_eq!(place.checkpoints(), complete);

    let listed = savepoint(&["list", saved]);
    assert!(stdout(&listed).starts_with("half-way: "), "{}", stdout(&listed));
    assert!(savepoint(&["delete", saved, "half-way"]).status.success());
    assert_eq!(stdout(&savepoint(&["list", saved])), "");
    assert_eq!(savepoint(&["delete", saved, "half-way"]).status.code(), Some(1));
    let nowhere = savepoint(&["list", "/nonexistent/folder"]);
    assert!(stderr(&nowhere).contains("there is no folder /nonexistent/folder"), "{}", stderr(&nowhere));
}

#[test]
fn of_two_runs_in_one_place_the_second_is_refused_and_the_first_goes_on() {
    let text = fs::read_to_string(january()).unwrap();
    let place = Place::new();
    let mut first = place.command(Path::new("-"), "100", &[]).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = first.stdin.take().unwrap();
    let (half, rest) = text.split_at(text.len() / 2);
    stdin.write_all(half.as_bytes()).unwrap();
    while place.checkpoints().is_empty() {
        thread::sleep(Duration::from_millis(5));
    }
    let second = place.run(&january(), "100", &["--resume"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(stderr(&second).contains("another run is at work in "), "{}", stderr(&second));
    let saved = place.path("saved");
    let compact = floodmark(&["snapshot", "compact", saved.to_str().unwrap()]).output().unwrap();
    assert!(stderr(&compact).contains("another run is at work in "), "{}", stderr(&compact));
    // A savepoint of it can be made all the same.
    let savepoint = floodmark(&["savepoint", "create", saved.to_str().unwrap(), "s"]).output().unwrap();
    assert!(savepoint.status.success(), "{}", stderr(&savepoint));
    stdin.write_all(rest.as_bytes()).unwrap();
    drop(stdin);
    assert!(first.wait().unwrap().success());
    assert!(place.outputs() == uninterrupted(&january()), "the outputs differ");
}

#[test]
fn outputs_that_cannot_be_cut_back_are_a_wrong_usage() {
    let input = january();
    let mut command = floodmark(&["run", input.to_str().unwrap(), "--checkpoint", "/nonexistent/folder"]);
    let output = command.args(MAIN_JOB).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("standard output"), "{}", stderr(&output));
}
