//! The shapes of Flink's sessions, as far as they tell where it loses data (finding 1).

use std::collections::HashMap;

use super::setup::Setup;
use super::{Element, Step};

/// What a session had collected before a step, lost there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Loss {
    pub(super) step: usize,
    pub(super) key: i64,
    /// The bounds of the session. It can only grow from there.
    pub(super) start: i64,
    pub(super) end: i64,
}

#[derive(Clone, Copy)]
struct Session {
    start: i64,
    end: i64,
    /// Its state is kept under the bounds that it had before it grew.
    grown: bool,
}

/// Where an element's own window is exactly that of a session which got its shape by growing: Flink then takes
/// the session for a new one, with nothing in it.
pub(super) fn losses(setup: &Setup, input: &[Step]) -> Vec<Loss> {
    let mut losses = Vec::new();
    let mut sessions: HashMap<i64, Vec<Session>> = HashMap::new();
    let mut watermark = i64::MIN;
    for (at, step) in input.iter().enumerate() {
        match *step {
            Step::Watermark(w) => {
                watermark = watermark.max(super::flink::watermark(w));
                let open = |session: &Session| !setup.has_closed(session.end, watermark);
                sessions.values_mut().for_each(|sessions| sessions.retain(open));
            }
            // Where the gap is fixed, what has grown is longer than any element's own window.
            Step::Element(Element(.., None)) => {}
            Step::Element(Element(key, time, _, Some(gap))) => {
                let own = Session { start: time, end: time.saturating_add(gap), grown: false };
                let sessions = sessions.entry(key).or_default();
                if take(sessions, own, setup.has_closed(own.end, watermark)) {
                    losses.push(Loss { step: at, key, start: own.start, end: own.end });
                }
            }
        }
    }
    losses
}

/// Takes an element's own window into the sessions of its key. Whether that loses data.
fn take(sessions: &mut Vec<Session>, own: Session, is_late: bool) -> bool {
    let bounds = |session: &Session| (session.start, session.end);
    if let Some(same) = sessions.iter_mut().find(|session| bounds(session) == bounds(&own)) {
        return std::mem::take(&mut same.grown);
    }
    let touches = |session: &mut Session| session.start <= own.end && own.start <= session.end;
    let touched: Vec<Session> = sessions.extract_if(.., touches).collect();
    if touched.is_empty() && is_late {
        return false;
    }
    let start = touched.iter().map(|session| session.start).fold(own.start, i64::min);
    let end = touched.iter().map(|session| session.end).fold(own.end, i64::max);
    // Within a session an element leaves it as it is.
    let same = touched.iter().find(|session| bounds(session) == (start, end));
    let grown = same.map_or(!touched.is_empty(), |session| session.grown);
    sessions.push(Session { start, end, grown });
    false
}

#[cfg(test)]
mod tests {
    use super::super::replay;
    use crate::runner::report::Outcome;

    /// Elements with gaps of their own, watermarks, and what was recorded of it.
    fn case(input: &str, output: &str) -> Outcome {
        let config = r#"{"window":{"type":"session_dynamic"},"allowed_lateness":0,
            "trigger":{"type":"event_time"},"aggregate":"list"}"#;
        let case = format!(r#"{{"config":{config},"input":{input},"output":{output}}}"#);
        replay(&case).expect("the case can be read")
    }

    const GROWN_AND_MET_AGAIN: &str = r#"[{"e":[1,1,1,1]},{"e":[1,0,2,5]},{"e":[1,0,3,5]},{"w":4}]"#;

    #[test]
    fn what_a_grown_session_holds_may_differ_once_an_element_is_exactly_it() {
        let lost = r#"[[],[],[],[{"fire":[1,0,5,[3]]},{"w":4}]]"#;
        let outcome = case(GROWN_AND_MET_AGAIN, lost);
        assert!(matches!(outcome, Outcome::Deviation(ref rules) if rules.len() == 1), "{outcome:?}");
        let kept = r#"[[],[],[],[{"fire":[1,0,5,[1,2,3]]},{"w":4}]]"#;
        assert!(matches!(case(GROWN_AND_MET_AGAIN, kept), Outcome::Passed));
    }

    #[test]
    fn nothing_else_of_such_a_case_may_differ() {
        let not_fired = r#"[[],[],[],[{"w":4}]]"#;
        assert!(matches!(case(GROWN_AND_MET_AGAIN, not_fired), Outcome::Failed(_)));
        let other_window = r#"[[],[],[],[{"fire":[1,0,6,[3]]},{"w":4}]]"#;
        assert!(matches!(case(GROWN_AND_MET_AGAIN, other_window), Outcome::Failed(_)));
        // Of another key.
        let input = GROWN_AND_MET_AGAIN.replace(r#"[{"e""#, r#"[{"e":[2,0,9,5]},{"e""#);
        let lost = r#"[[],[],[],[],[{"fire":[1,0,5,[3]]},{"fire":[2,0,5,[8]]},{"w":4}]]"#;
        assert!(matches!(case(&input, lost), Outcome::Failed(_)));
    }

    #[test]
    fn no_session_loses_what_it_began_with() {
        let lost = r#"[[],[],[{"fire":[1,0,5,[2]]},{"w":4}]]"#;
        let met_again = r#"[{"e":[1,0,1,5]},{"e":[1,0,2,5]},{"w":4}]"#;
        assert!(matches!(case(met_again, lost), Outcome::Failed(_)), "it never grew");
        let met_inside = r#"[{"e":[1,1,1,1]},{"e":[1,0,2,5]},{"w":4}]"#;
        assert!(matches!(case(met_inside, lost), Outcome::Failed(_)), "it was another");
    }

    #[test]
    fn a_session_that_has_lost_its_shape_is_as_new() {
        // The third lost what was before it; the fourth finds a session that began as it is.
        let input = GROWN_AND_MET_AGAIN.replace(r#",{"w""#, r#",{"e":[1,0,4,5]},{"w""#);
        let lost = r#"[[],[],[],[],[{"fire":[1,0,5,[3,4]]},{"w":4}]]"#;
        assert!(matches!(case(&input, lost), Outcome::Deviation(_)));
    }

    #[test]
    fn a_session_that_closed_is_not_met_again() {
        let input = r#"[{"e":[1,1,1,1]},{"e":[1,0,2,5]},{"w":4},{"e":[1,0,3,5]}]"#;
        let late = r#"[[],[],[{"fire":[1,0,5,[1,2]]},{"w":4}],[{"late":[1,0,3,5]}]]"#;
        assert!(matches!(case(input, late), Outcome::Passed));
        let lost = r#"[[],[],[{"fire":[1,0,5,[2]]},{"w":4}],[{"late":[1,0,3,5]}]]"#;
        assert!(matches!(case(input, lost), Outcome::Failed(_)));
    }
}
