//! Values that do not fit a property's schema as they came, but do in another form that says exactly the same.
//!
//! | schema | takes also |
//! | --- | --- |
//! | `integer`, `long` | a number written with a fraction of zero (`21.0`, `2.1e1`); text that is such a number or an integer (`"21"`) |
//! | `double`, `float` | text that is a JSON number with no more digits than doubles are written with (`"21.5"`, `"21.50"`) |
//! | `boolean` | the texts `"true"` and `"false"` |
//! | enumeration | what converts to its value schema |
//!
//! Everything else is refused rather than guessed: `"24,7"`, `" 21"`, `"NaN"`, `1` for a boolean, a number for a text,
//! digits that a double would round away. An integer for a `double` needs no conversion: it fits.

use std::borrow::Cow;

use dtdl::{EnumSchema, Mismatch, Schema};
use serde_json::{Number, Value};

/// `value` in a form that fits `schema`: as it is, or converted without loss.
///
/// # Errors
/// What does not fit in the value as it came.
pub(super) fn fit<'v>(schema: &Schema, value: &'v Value) -> Result<Cow<'v, Value>, Mismatch> {
    let Err(mismatch) = schema.check(value) else {
        return Ok(Cow::Borrowed(value));
    };
    match convert(schema, value) {
        Some(converted) if schema.check(&converted).is_ok() => Ok(Cow::Owned(converted)),
        _ => Err(mismatch),
    }
}

/// `value` in the form of `schema`, if there is one that says the same; its range is still to be checked.
///
/// Recursion is as deep as the schema, which is bounded (five levels in DTDL).
fn convert(schema: &Schema, value: &Value) -> Option<Value> {
    match (schema, value) {
        (Schema::Integer | Schema::Long, value) => whole(value),
        (Schema::Double | Schema::Float, Value::String(text)) => number(text).map(Value::Number),
        (Schema::Boolean, Value::String(text)) => match text.as_str() {
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            _ => None,
        },
        (Schema::Enum(values), value) if matches!(**values, EnumSchema::Integers(_)) => whole(value),
        (Schema::Array(array), Value::Array(elements)) => {
            let elements = elements.iter().map(|element| Some(fit(&array.element, element).ok()?.into_owned()));
            elements.collect::<Option<_>>().map(Value::Array)
        }
        (Schema::Map(map), Value::Object(members)) => {
            let members =
                members.iter().map(|(key, member)| Some((key.clone(), fit(&map.value, member).ok()?.into_owned())));
            members.collect::<Option<_>>().map(Value::Object)
        }
        (Schema::Object(object), Value::Object(members)) => {
            let members = members
                .iter()
                .map(|(name, member)| Some((name.clone(), fit(object.fields.get(name)?, member).ok()?.into_owned())));
            members.collect::<Option<_>>().map(Value::Object)
        }
        _ => None,
    }
}

/// `value` as a whole number.
fn whole(value: &Value) -> Option<Value> {
    match value {
        Value::Number(number) => integer(number),
        Value::String(text) => Decimal::parse(text)?.integer().map(Number::from),
        _ => None,
    }
    .map(Value::Number)
}

/// Integers from here on are not told apart by a double, which a number with a fraction is read as: 2^53.
const DOUBLE_INTEGERS_END: f64 = 9_007_199_254_740_992.0;

/// With so many significant digits any double is written so that it is read as the same. Text with more says more than
/// a double holds.
const DOUBLE_DIGITS: usize = 17;

/// The number that `text` is, if it is exactly a JSON number and the number of a double.
fn number(text: &str) -> Option<Number> {
    let written = Decimal::parse(text)?;
    if written.digits.len() > DOUBLE_DIGITS {
        return None;
    }
    if let Some(integer) = written.integer() {
        return Some(Number::from(integer));
    }
    // Numbers out of the range of doubles become infinite, zero or subnormal, which have fewer digits.
    text.parse::<f64>().ok().filter(|double| double.is_normal()).and_then(Number::from_f64)
}

/// `number` as an integer, if its fraction is zero and it was not rounded when it was read.
fn integer(number: &Number) -> Option<Number> {
    if number.is_i64() || number.is_u64() {
        return Some(number.clone());
    }
    let double = number.as_f64().filter(|double| double.fract() == 0.0 && double.abs() < DOUBLE_INTEGERS_END)?;
    // Exact: below 2^53 and without fraction.
    #[expect(clippy::cast_possible_truncation, reason = "an integer below 2^53")]
    let integer = double as i64;
    Some(Number::from(integer))
}

/// A JSON number, taken apart.
#[derive(Debug)]
struct Decimal {
    negative: bool,
    /// Significant digits, without zeros at either end.
    digits: String,
    /// The power of ten of the last digit.
    exponent: i64,
}

impl Decimal {
    /// Reads `text` if it is a JSON number (RFC 8259, section 6) with nothing around it.
    fn parse(text: &str) -> Option<Self> {
        let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => {
                let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
                (mantissa, if all_digits(digits) { exponent.parse::<i32>().ok()? } else { return None })
            }
            None => (rest, 0),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((whole, fraction)) if all_digits(fraction) => (whole, fraction),
            Some(_) => return None,
            None => (mantissa, ""),
        };
        if !all_digits(whole) || (whole.len() > 1 && whole.starts_with('0')) {
            return None;
        }
        let digits = format!("{whole}{fraction}");
        let significant = digits.trim_end_matches('0');
        let cut = digits.len() - significant.len();
        let significant = significant.trim_start_matches('0');
        if significant.is_empty() {
            return Some(Self { negative, digits: String::new(), exponent: 0 });
        }
        let exponent = i64::from(exponent) - i64::try_from(fraction.len()).ok()? + i64::try_from(cut).ok()?;
        Some(Self { negative, digits: significant.to_owned(), exponent })
    }

    /// The number as an integer, if it is one of 64 bits.
    fn integer(&self) -> Option<i64> {
        /// 10^19 is out of range.
        const MAX_ZEROS: usize = 18;
        let zeros = usize::try_from(self.exponent).ok().filter(|zeros| *zeros <= MAX_ZEROS)?;
        let (sign, digits) = (if self.negative { "-" } else { "" }, self.digits.as_str());
        format!("{sign}0{digits}{}", "0".repeat(zeros)).parse().ok()
    }
}

fn all_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dtdl::{ArraySchema, MapSchema, ObjectSchema};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn modes() -> Schema {
        let values = [(1, "off"), (2, "on")].map(|(value, name)| (value, name.to_owned()));
        Schema::Enum(Arc::new(EnumSchema::Integers(values.into())))
    }

    #[test]
    fn what_says_the_same_in_another_form_is_converted() {
        for (schema, value, expected) in [
            (Schema::Double, json!("21.5"), json!(21.5)),
            (Schema::Double, json!("21.50"), json!(21.5)),
            (Schema::Double, json!("-2.15e1"), json!(-21.5)),
            (Schema::Double, json!("21"), json!(21)),
            (Schema::Float, json!("0.1"), json!(0.1)),
            (Schema::Integer, json!(21.0), json!(21)),
            (Schema::Integer, json!("21"), json!(21)),
            (Schema::Integer, json!("2.1e1"), json!(21)),
            (Schema::Long, json!("-9223372036854775808"), json!(i64::MIN)),
            (Schema::Long, json!("9007199254740993.0"), json!(9_007_199_254_740_993_i64)),
            (Schema::Double, json!("0.0"), json!(0)),
            (Schema::Double, json!("1.7976931348623157e308"), json!(f64::MAX)),
            (Schema::Double, json!("-0.1234567890123456"), json!(-0.123_456_789_012_345_6)),
            (Schema::Boolean, json!("true"), json!(true)),
            (Schema::Boolean, json!("false"), json!(false)),
            (modes(), json!(2.0), json!(2)),
            (modes(), json!("2"), json!(2)),
        ] {
            assert_eq!(*fit(&schema, &value).unwrap(), expected, "{schema} {value}");
        }
    }

    #[test]
    fn what_fits_is_left_as_it_is() {
        for (schema, value) in [
            (Schema::Double, json!(21)),
            (Schema::Double, json!(21.5)),
            (Schema::String, json!("21.5")),
            (Schema::Long, json!(i64::MAX)),
        ] {
            assert!(matches!(fit(&schema, &value), Ok(Cow::Borrowed(same)) if *same == value), "{schema} {value}");
        }
    }

    #[test]
    fn what_would_lose_or_guess_is_refused() {
        for (schema, value) in [
            (Schema::Double, json!("24,7")),
            (Schema::Double, json!(" 21")),
            (Schema::Double, json!("21 ")),
            (Schema::Double, json!("+21")),
            (Schema::Double, json!("021")),
            (Schema::Double, json!("21.")),
            (Schema::Double, json!(".5")),
            (Schema::Double, json!("0x10")),
            (Schema::Double, json!("NaN")),
            (Schema::Double, json!("Infinity")),
            (Schema::Double, json!("inf")),
            (Schema::Double, json!("1e999")),
            (Schema::Double, json!("1e99999999999")),
            (Schema::Double, json!("1e-999")),
            (Schema::Double, json!("0.12345678901234567890")),
            (Schema::Double, json!("9223372036854775808")),
            (Schema::Double, json!("4.5e-324")),
            (Schema::Integer, json!("21.00000000000000000001")),
            (Schema::Long, json!("9007199254740991.4")),
            (Schema::Long, json!("1e19")),
            (Schema::Double, json!("")),
            (Schema::Double, json!(true)),
            (Schema::Double, json!(null)),
            (Schema::Double, json!([21.5])),
            (Schema::Integer, json!(21.5)),
            (Schema::Integer, json!("21.5")),
            (Schema::Integer, json!(2_147_483_648.0)),
            (Schema::Long, json!(9_007_199_254_740_992.0)),
            (Schema::Long, json!("9223372036854775808")),
            (Schema::Boolean, json!(1)),
            (Schema::Boolean, json!("True")),
            (Schema::Boolean, json!("1")),
            (Schema::String, json!(21.5)),
            (modes(), json!(3.0)),
            (modes(), json!("on")),
        ] {
            assert!(fit(&schema, &value).is_err(), "{schema} {value}");
        }
    }

    #[test]
    fn what_is_inside_an_array_a_map_or_an_object_is_converted_too() {
        let array = Schema::Array(Arc::new(ArraySchema { element: Schema::Integer }));
        assert_eq!(*fit(&array, &json!([1, 2.0, "3"])).unwrap(), json!([1, 2, 3]));
        assert!(fit(&array, &json!([1, "x"])).is_err());
        let (key_name, value_name) = ("room".to_owned(), "temperature".to_owned());
        let map = Schema::Map(Arc::new(MapSchema { key_name, value_name, value: Schema::Double }));
        assert_eq!(*fit(&map, &json!({"hall": "21.5"})).unwrap(), json!({"hall": 21.5}));
        let fields = [("on".to_owned(), Schema::Boolean)].into();
        let object = Schema::Object(Arc::new(ObjectSchema { fields }));
        assert_eq!(*fit(&object, &json!({"on": "true"})).unwrap(), json!({"on": true}));
        assert!(fit(&object, &json!({"on": "true", "off": "true"})).is_err());
    }

    proptest! {
        /// Whatever double is written down, in whatever form Rust knows, comes back as that double.
        #[test]
        fn a_double_survives_being_text(double in proptest::num::f64::NORMAL) {
            for text in [json!(double).to_string(), format!("{double:e}"), format!("{double:.16e}")] {
                let fitted = fit(&Schema::Double, &json!(text)).unwrap().into_owned();
                prop_assert_eq!(fitted.as_f64(), Some(double));
            }
        }

        /// Whatever text comes: nothing panics, and an integer is exactly the one that is written.
        #[test]
        fn text_becomes_the_integer_that_it_says(text in "-?[0-9]{1,20}(\\.0{1,3})?([eE]\\+?[0-2])?|.{0,8}") {
            if let Some(Value::Number(number)) = whole(&json!(text)) {
                let exact = text.split(['.', 'e', 'E']).next().unwrap().parse::<i128>().unwrap();
                let power = text.split(['e', 'E']).nth(1).map_or(0, |power| power.parse::<u32>().unwrap());
                prop_assert_eq!(i128::from(number.as_i64().unwrap()), exact * 10_i128.pow(power));
            }
        }
    }
}
