//! Digital Twins Definition Language (DTDL), versions 2 and 3: reads models, puts them together, and checks values
//! against them as strictly as Azure Digital Twins does. No I/O.
//!
//! ```
//! use dtdl::{Interface, ModelId, ModelSet};
//! use serde_json::json;
//!
//! let thermostat = Interface::parse(&json!({
//!     "@context": "dtmi:dtdl:context;2",
//!     "@id": "dtmi:com:example:Thermostat;1",
//!     "@type": "Interface",
//!     "contents": [{ "@type": "Property", "name": "Temperature", "schema": "double" }],
//! }))?;
//! let models = ModelSet::default().with([thermostat])?;
//!
//! let contents = models.contents(&ModelId::parse("dtmi:com:example:Thermostat;1")?).expect("just added");
//! let temperature = &contents.properties["Temperature"];
//! assert!(temperature.schema.check(&json!(21.5)).is_ok());
//! assert_eq!(
//!     temperature.schema.check(&json!("21.5")).unwrap_err().to_string(),
//!     r#"expected a number (double), got the string "21.5""#,
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Source of the rules: <https://github.com/Azure/opendigitaltwins-dtdl> (DTDL v2, DTDL v3, and the extensions of v3
//! QuantitativeTypes, Annotation, Historization and Overriding), and what the documentation of Azure Digital Twins
//! ("Learn about twin models") adds to them.

mod class;
mod contents;
mod context;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod interface;
mod model_id;
mod model_set;
mod place;
mod quantity;
mod read;
mod resolve;
mod schema;

pub use contents::{Command, Content, Contents, Payload, Property, Relationship, Telemetry};
pub use context::Language;
pub use error::{Error, Fault};
pub use interface::{Interface, MAX_TEXT, parse_text};
pub use model_id::{InvalidModelId, ModelId, ModelVersion};
pub use model_set::ModelSet;
pub use quantity::Quantity;
pub use schema::{ArraySchema, EnumSchema, Geometry, MapSchema, Mismatch, ObjectSchema, Schema};
