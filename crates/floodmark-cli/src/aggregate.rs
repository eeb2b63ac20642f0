//! Aggregates chosen at run time: one [`Aggregate`] over rows that holds any number of the kernel's own.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use floodmark::{
    Aggregate, Collect, Count, First, Last, Max, Mean, Min, Moments, Sum, Summand, Timestamp, TopK, Variance,
};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

/// What to compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    Count,
    Sum,
    Min,
    Max,
    Mean,
    Variance,
    First,
    Last,
    Collect,
    Top(usize),
}

impl Function {
    /// Whether only numbers will do.
    pub(crate) fn is_numeric(self) -> bool {
        !matches!(self, Self::Count | Self::First | Self::Last | Self::Collect)
    }
}

impl FromStr for Function {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "count" => Self::Count,
            "sum" => Self::Sum,
            "min" => Self::Min,
            "max" => Self::Max,
            "mean" => Self::Mean,
            "variance" => Self::Variance,
            "first" => Self::First,
            "last" => Self::Last,
            "collect" => Self::Collect,
            _ => match text.strip_prefix("top").map(str::parse) {
                Some(Ok(k)) if k > 0 => Self::Top(k),
                _ => {
                    return Err(format!(
                        "no aggregate is called {text:?}; there are count, sum, min, max, mean, variance, first, \
                         last, collect and topN (top3)"
                    ));
                }
            },
        })
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Count => "count",
            Self::Sum => "sum",
            Self::Min => "min",
            Self::Max => "max",
            Self::Mean => "mean",
            Self::Variance => "variance",
            Self::First => "first",
            Self::Last => "last",
            Self::Collect => "collect",
            Self::Top(k) => return write!(f, "top{k}"),
        })
    }
}

/// A number as written: integers stay exact.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Number {
    Integer(i64),
    Float(f64),
}

impl Number {
    /// The number that a text says, unless it says none or one that is not finite.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim_ascii();
        if let Ok(integer) = text.parse() {
            return Some(Self::Integer(integer));
        }
        text.parse().ok().filter(|float: &f64| float.is_finite()).map(Self::Float)
    }

    fn as_f64(self) -> f64 {
        match self {
            Self::Integer(integer) => integer as f64,
            Self::Float(float) => float,
        }
    }
}

impl PartialOrd for Number {
    /// Exact, also between an integer and a float that is near it.
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (*self, *other) {
            (Self::Integer(a), Self::Integer(b)) => Some(a.cmp(&b)),
            (Self::Float(a), Self::Float(b)) => a.partial_cmp(&b),
            (Self::Float(a), Self::Integer(b)) => compare(b, a).map(Ordering::reverse),
            (Self::Integer(a), Self::Float(b)) => compare(a, b),
        }
    }
}

/// Compares by the float's whole part first, which (where it fits) an i128 holds exactly.
fn compare(integer: i64, float: f64) -> Option<Ordering> {
    let whole = float.trunc() as i128;
    Some(i128::from(integer).cmp(&whole).then(0.0_f64.partial_cmp(&float.fract())?))
}

/// A sum that is exact as long as everything added is an integer.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Total {
    integers: i128,
    floats: Option<f64>,
}

impl Summand for Total {
    const NAME: &'static str = "total";
    const ZERO: Self = Self { integers: 0, floats: None };

    fn plus(self, other: Self) -> Self {
        let floats = match (self.floats, other.floats) {
            (Some(a), Some(b)) => Some(a + b),
            (a, b) => a.or(b),
        };
        Self { integers: self.integers.wrapping_add(other.integers), floats }
    }
}

/// A JSON value as text: how values that are only passed on are kept.
pub(crate) type Token = Box<str>;

/// What one aggregate sees of one row.
#[derive(Clone, Debug)]
pub(crate) enum Cell {
    /// Empty: passed over.
    Null,
    /// The row itself, for `count`.
    Row,
    Number(Number),
    Token(Token),
}

impl Cell {
    fn number(&self) -> Number {
        match self {
            Self::Number(number) => *number,
            // `row` gives numeric functions nothing else.
            _ => Number::Integer(0),
        }
    }

    fn float(&self) -> f64 {
        self.number().as_f64()
    }

    fn total(&self) -> Total {
        match self.number() {
            Number::Integer(integer) => Total { integers: integer.into(), floats: None },
            Number::Float(float) => Total { integers: 0, floats: Some(float) },
        }
    }

    fn token(&self) -> Token {
        match self {
            Self::Token(token) => token.clone(),
            _ => Token::from("null"),
        }
    }
}

/// What one aggregate keeps for one key and slice.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Slot {
    /// Nothing but empty values so far.
    Empty,
    Count(u64),
    Sum(Total),
    Extreme(Number),
    Mean((f64, u64)),
    Variance(Moments),
    Timed((Timestamp, Token)),
    Collect(Vec<(Timestamp, Token)>),
    Top(SmallVec<[Number; 4]>),
}

/// A result's field.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Integer(i128),
    Float(f64),
    Token(Token),
    List(Vec<Self>),
}

impl From<u64> for Value {
    fn from(count: u64) -> Self {
        Self::Integer(count.into())
    }
}

impl From<f64> for Value {
    fn from(float: f64) -> Self {
        Self::Float(float)
    }
}

impl From<Number> for Value {
    fn from(number: Number) -> Self {
        match number {
            Number::Integer(integer) => Self::Integer(integer.into()),
            Number::Float(float) => Self::Float(float),
        }
    }
}

impl From<Total> for Value {
    fn from(total: Total) -> Self {
        match total.floats {
            Some(floats) => Self::Float(total.integers as f64 + floats),
            None => Self::Integer(total.integers),
        }
    }
}

impl From<Moments> for Value {
    fn from(moments: Moments) -> Self {
        moments.sample_variance().map_or(Self::Null, Self::Float)
    }
}

impl From<Token> for Value {
    fn from(token: Token) -> Self {
        Self::Token(token)
    }
}

impl<T: Into<Self>> From<Vec<T>> for Value {
    fn from(values: Vec<T>) -> Self {
        Self::List(values.into_iter().map(Into::into).collect())
    }
}

/// Runs `$body` with `$built_in` as the kernel's aggregate for a function and `Kept` as its slot.
macro_rules! with_built_in {
    ($function:expr, |$built_in:ident| $body:expr) => {
        with_built_in!(@arms $function, $built_in, $body,
            Count => Count, Count;
            Sum => Sum, Sum::of(Cell::total);
            Min => Extreme, Min::of(Cell::number);
            Max => Extreme, Max::of(Cell::number);
            Mean => Mean, Mean::of(Cell::float);
            Variance => Variance, Variance::of(Cell::float);
            First => Timed, First::of(Cell::token);
            Last => Timed, Last::of(Cell::token);
            Collect => Collect, Collect::of(Cell::token);
        )
    };
    (@arms $function:expr, $built_in:ident, $body:expr, $($name:ident => $slot:ident, $made:expr;)+) => {
        match $function {
            $(Function::$name => {
                use Slot::$slot as Kept;
                let $built_in = $made;
                $body
            })+
            Function::Top(k) => {
                use Slot::Top as Kept;
                let $built_in = TopK::of(k, Cell::number);
                $body
            }
        }
    };
}

impl Function {
    fn lift(self, time: Timestamp, cell: &Cell) -> Slot {
        match cell {
            Cell::Null => Slot::Empty,
            _ => with_built_in!(self, |built_in| Kept(built_in.lift(time, cell))),
        }
    }

    fn add(self, slot: &mut Slot, time: Timestamp, cell: &Cell) {
        match (&mut *slot, cell) {
            (_, Cell::Null) => {}
            (Slot::Empty, _) => *slot = self.lift(time, cell),
            _ => with_built_in!(self, |built_in| if let Kept(acc) = slot {
                built_in.add(acc, time, cell);
            }),
        }
    }

    fn combine(self, left: &mut Slot, right: &Slot) {
        match (&mut *left, right) {
            (_, Slot::Empty) => {}
            (Slot::Empty, _) => left.clone_from(right),
            _ => with_built_in!(self, |built_in| if let (Kept(left), Kept(right)) = (left, right) {
                Aggregate::<Cell>::combine(&built_in, left, right);
            }),
        }
    }

    fn lower(self, slot: &Slot) -> Value {
        with_built_in!(self, |built_in| match slot {
            Kept(acc) => Aggregate::<Cell>::lower(&built_in, acc).into(),
            _ => Value::Null,
        })
    }

    /// Of no rows: what SQL says, and what a column of nothing but empty values gives.
    fn empty(self) -> Value {
        match self {
            Self::Count => Value::Integer(0),
            _ => Value::Null,
        }
    }

    fn heap_bytes(self, slot: &Slot) -> usize {
        with_built_in!(self, |built_in| match slot {
            Kept(acc) => Aggregate::<Cell>::heap_bytes(&built_in, acc),
            _ => 0,
        })
    }
}

/// What the kernel sees of a row: a cell for each aggregate.
pub(crate) type Row = Box<[Cell]>;

/// All aggregates of a run as one.
#[derive(Clone, Debug)]
pub(crate) struct Functions(pub(crate) Vec<Function>);

impl Aggregate<Row> for Functions {
    type Acc = Box<[Slot]>;
    type Output = Vec<Value>;

    fn lift(&self, time: Timestamp, row: &Row) -> Self::Acc {
        self.0.iter().zip(row).map(|(function, cell)| function.lift(time, cell)).collect()
    }

    fn combine(&self, left: &mut Self::Acc, right: &Self::Acc) {
        for ((function, left), right) in self.0.iter().zip(left).zip(right) {
            function.combine(left, right);
        }
    }

    fn lower(&self, acc: &Self::Acc) -> Vec<Value> {
        self.0.iter().zip(acc).map(|(function, slot)| function.lower(slot)).collect()
    }

    fn add(&self, acc: &mut Self::Acc, time: Timestamp, row: &Row) {
        for ((function, slot), cell) in self.0.iter().zip(acc).zip(row) {
            function.add(slot, time, cell);
        }
    }

    fn empty(&self) -> Option<Vec<Value>> {
        Some(self.0.iter().map(|function| function.empty()).collect())
    }

    fn name(&self) -> String {
        let names: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        format!("floodmark-cli 1: {}", names.join(", "))
    }

    fn heap_bytes(&self, acc: &Self::Acc) -> usize {
        let slots: usize = self.0.iter().zip(acc).map(|(function, slot)| function.heap_bytes(slot)).sum();
        size_of_val(&**acc) + slots
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(text: &str) -> Row {
        let number = Number::parse(text).map_or(Cell::Null, Cell::Number);
        let token = if text.is_empty() { Cell::Null } else { Cell::Token(text.into()) };
        [Cell::Row].into_iter().chain(vec![number; 6]).chain(vec![token; 3]).collect()
    }

    fn all() -> Functions {
        use Function::*;
        Functions(vec![Count, Sum, Min, Max, Mean, Variance, Top(2), First, Last, Collect])
    }

    #[test]
    fn the_laws_hold_with_empty_values_among_them() {
        let rows: Vec<Row> = ["", "3", "-7", "", "2.5", "3"].into_iter().map(cells).collect();
        floodmark::laws::check_by(&all(), &rows, |left, right| {
            // Variances agree up to rounding only.
            left.iter().zip(right).all(|pair| match pair {
                (Value::Float(a), Value::Float(b)) => (a - b).abs() < 1e-9,
                (a, b) => a == b,
            })
        });
    }

    #[test]
    fn nothing_but_empty_values_gives_null() {
        let functions = all();
        let values = functions.lower(&functions.lift(Timestamp::MIN, &cells("")));
        assert_eq!(values[0], Value::Integer(1), "count counts rows");
        assert!(values[1..].iter().all(|value| *value == Value::Null), "{values:?}");
        let of_no_rows = functions.empty().unwrap();
        assert_eq!(of_no_rows[0], Value::Integer(0));
        assert_eq!(of_no_rows[1..], values[1..]);
    }

    #[test]
    fn integers_stay_exact_beyond_what_a_float_can_tell_apart() {
        let big = Number::parse("9007199254740993").unwrap();
        let near = Number::Float(9_007_199_254_740_992.0);
        assert_eq!(
            (big.partial_cmp(&near), near.partial_cmp(&big)),
            (Some(Ordering::Greater), Some(Ordering::Less))
        );
        assert!(Number::Integer(-2) > Number::Float(-2.5) && Number::Float(2.5) > Number::Integer(2));
        assert!(Number::Integer(2) == Number::Integer(2) && Number::Integer(2) < Number::Float(1e300));
        let functions = Functions(vec![Function::Sum]);
        let mut acc = functions.lift(Timestamp::MIN, &[Cell::Number(Number::Integer(i64::MAX))].into());
        functions.add(&mut acc, Timestamp::MIN, &[Cell::Number(Number::Integer(1))].into());
        assert_eq!(functions.lower(&acc), [Value::Integer(1 << 63)]);
    }

    #[test]
    fn only_finite_numbers_are_numbers() {
        for text in ["NaN", "inf", "1e999", "abc", "", "1,5", "0x10"] {
            assert_eq!(Number::parse(text), None, "{text}");
        }
        assert_eq!(Number::parse(" -3 "), Some(Number::Integer(-3)));
        assert_eq!(Number::parse("1e3"), Some(Number::Float(1000.0)));
    }
}
