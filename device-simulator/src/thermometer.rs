//! What the simulated device measures.

use serde::Serialize;

use crate::hub::{Telemetry, TelemetryError};

/// The body of a message; the name is that of the property in the Thermostat model.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Reading {
    /// Degrees Celsius.
    temperature: f64,
}

/// One reading: a temperature within a degree of 25, in hundredths.
///
/// # Errors
///
/// None in practice: a finite number can be written as JSON.
pub fn reading() -> Result<Telemetry, TelemetryError> {
    let hundredths = fastrand::i32(2400..=2600);
    Telemetry::json(&Reading { temperature: f64::from(hundredths) / 100.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_about_25_degrees_and_not_always_the_same() {
        let readings: Vec<f64> = (0..100)
            .map(|_| {
                let body: serde_json::Value = serde_json::from_slice(reading().unwrap().body()).unwrap();
                assert_eq!(body.as_object().unwrap().len(), 1);
                body["Temperature"].as_f64().unwrap()
            })
            .collect();
        assert!(readings.iter().all(|t| (24.0..=26.0).contains(t)));
        assert!(readings.iter().any(|t| *t != readings[0]));
    }
}
