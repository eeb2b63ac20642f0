//! A pane as a record.

use floodmark::{Pane, Retracted, Timestamp, Window};

use crate::aggregate::Value;
use crate::args::RunArgs;
use crate::error::Stop;
use crate::input::Kind;
use crate::output::{Table, json_object, json_token};
use crate::row::{Key, kind_of};

/// How the records of a run look.
#[derive(Debug)]
pub(crate) struct Records {
    fields: Vec<String>,
    /// What the windows are called, where there are several.
    windows: Vec<String>,
    /// Where the fields of the aggregates begin.
    first_aggregate: usize,
    retracts: bool,
}

impl Records {
    pub(crate) fn new(args: &RunArgs) -> Result<Self, Stop> {
        let windows: Vec<String> = match args.window.len() {
            1 => Vec::new(),
            _ => args.window.iter().map(|spec| spec.given.clone()).collect(),
        };
        Ok(Self {
            fields: args.fields()?,
            first_aggregate: usize::from(!windows.is_empty()) + 2 + args.key.len(),
            windows,
            retracts: args.retracts(),
        })
    }

    /// Writes a pane, with the kinds that the key columns have.
    pub(crate) fn write(
        &self,
        pane: Pane<'_, Key, Vec<Value>>,
        kinds: &[(String, Kind)],
        table: &mut Table,
    ) -> Result<(), Stop> {
        let mut names = self.fields.iter().map(String::as_str);
        let mut name = || names.next().unwrap_or_default();
        if let Some(window) = self.windows.get(pane.definition as usize) {
            table.text(name(), window)?;
        }
        for bound in bounds(pane.window) {
            match bound {
                Some(bound) => table.text(name(), &bound)?,
                None => table.json(name(), "null")?,
            }
        }
        for value in pane.key {
            let name = name();
            match value {
                Some(text) => table.json(name, &json_token(text, kind_of(kinds, name)))?,
                None => table.json(name, "null")?,
            }
        }
        for value in &pane.value {
            table.value(name(), value)?;
        }
        table.text(name(), &pane.timing.to_string())?;
        table.json(name(), &pane.index.to_string())?;
        if self.retracts {
            let retracts = pane.retracts.iter().map(|retracted| self.retracted(retracted)).collect();
            table.value(name(), &Value::List(retracts))?;
        }
        table.end()
    }

    /// What a result said that is replaced.
    fn retracted(&self, retracted: &Retracted<Vec<Value>>) -> Value {
        let token = |text: String| Value::Token(serde_json::json!(text).to_string().into_boxed_str());
        let bounds = bounds(retracted.window).map(|bound| bound.map_or(Value::Null, token));
        let aggregates = self.fields[self.first_aggregate..].iter().map(String::as_str);
        let fields = ["window_start", "window_end"].into_iter().chain(aggregates);
        Value::Token(json_object(fields.zip(bounds.iter().chain(&retracted.value))).into_boxed_str())
    }
}

/// The start and the end of a window, which the global one has not.
fn bounds(window: Window) -> [Option<String>; 2] {
    let is_global = (window.start, window.end) == (Timestamp::MIN, Timestamp::MAX);
    [window.start, window.end].map(|bound| (!is_global).then(|| bound.to_string()))
}
