//! From one unit to another: a factor and an offset.

use dtdl::Schema;
use serde_json::{Number, Value};

use crate::telemetry::body::kind;
use crate::telemetry::conversion;

/// What is written is the number that came, times `scale`, plus `offset`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Unit {
    pub(super) scale: f64,
    pub(super) offset: f64,
}

impl Unit {
    /// The number in the other unit.
    ///
    /// Computed in doubles and rounded to 15 significant digits, as many as a double always holds: 77 °F are 25 °C, and
    /// not 25.000000000000004.
    pub(super) fn convert(&self, value: &Value) -> Result<Value, String> {
        let number = conversion::fit(&Schema::Double, value).ok().and_then(|number| number.as_f64());
        let Some(number) = number else {
            return Err(format!("scale and offset take a number, and {} came", kind(value)));
        };
        let result = format!("{:.14e}", number.mul_add(self.scale, self.offset));
        let result = result.parse().ok().and_then(Number::from_f64).map(Value::Number);
        result.ok_or_else(|| "with scale and offset it is larger than a double holds".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_scaled_and_moved_without_noise() {
        let fahrenheit = Unit { scale: 0.555_555_555_555_555_6, offset: -17.777_777_777_777_78 };
        let per_mille = Unit { scale: 0.1, offset: 0.0 };
        let kelvin = Unit { scale: 1.0, offset: -273.15 };
        for (unit, from, to) in [
            (fahrenheit, json!(77), 25.0),
            (fahrenheit, json!(32.0), 0.0),
            (fahrenheit, json!("212"), 100.0),
            (per_mille, json!(3), 0.3),
            (per_mille, json!(-455), -45.5),
            (kelvin, json!(300.15), 27.0),
            (kelvin, json!(0), -273.15),
        ] {
            let converted = unit.convert(&from).unwrap().as_f64().unwrap();
            assert!((converted - to).abs() < 1e-12, "{from} is {converted}, not {to}");
        }
        assert_eq!(fahrenheit.convert(&json!(77)).unwrap(), json!(25.0));
        assert_eq!(per_mille.convert(&json!(3)).unwrap(), json!(0.3));
    }

    #[test]
    fn what_is_no_number_or_becomes_none_is_refused() {
        let unit = Unit { scale: 1e300, offset: 0.0 };
        for (value, reason) in [
            (json!("24,7"), "scale and offset take a number, and a text came"),
            (json!(true), "scale and offset take a number, and a boolean came"),
            (json!(null), "scale and offset take a number, and null came"),
            (json!([1]), "scale and offset take a number, and an array came"),
            (json!(1e300), "with scale and offset it is larger than a double holds"),
        ] {
            assert_eq!(unit.convert(&value).unwrap_err(), reason);
        }
    }
}
