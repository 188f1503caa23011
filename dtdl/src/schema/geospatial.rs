//! GeoJSON geometries.

use serde_json::Value;

/// A geospatial schema: a GeoJSON geometry (RFC 7946).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Geometry {
    /// A position.
    Point,
    /// Positions.
    MultiPoint,
    /// Two or more positions.
    LineString,
    /// Lines.
    MultiLineString,
    /// Rings: the first is the outline, others are holes.
    Polygon,
    /// Polygons.
    MultiPolygon,
}

impl Geometry {
    pub(crate) fn named(schema: &str) -> Option<Geometry> {
        [
            Geometry::Point,
            Geometry::MultiPoint,
            Geometry::LineString,
            Geometry::MultiLineString,
            Geometry::Polygon,
            Geometry::MultiPolygon,
        ]
        .into_iter()
        .find(|geometry| geometry.schema_name() == schema)
    }

    /// The name of the schema in DTDL: `multiPoint`.
    pub fn schema_name(self) -> &'static str {
        match self {
            Geometry::Point => "point",
            Geometry::MultiPoint => "multiPoint",
            Geometry::LineString => "lineString",
            Geometry::MultiLineString => "multiLineString",
            Geometry::Polygon => "polygon",
            Geometry::MultiPolygon => "multiPolygon",
        }
    }

    /// The `type` of the geometry in GeoJSON: `MultiPoint`.
    pub fn type_name(self) -> &'static str {
        match self {
            Geometry::Point => "Point",
            Geometry::MultiPoint => "MultiPoint",
            Geometry::LineString => "LineString",
            Geometry::MultiLineString => "MultiLineString",
            Geometry::Polygon => "Polygon",
            Geometry::MultiPolygon => "MultiPolygon",
        }
    }

    /// Arrays around each position.
    fn dimensions(self) -> u8 {
        match self {
            Geometry::Point => 0,
            Geometry::MultiPoint | Geometry::LineString => 1,
            Geometry::MultiLineString | Geometry::Polygon => 2,
            Geometry::MultiPolygon => 3,
        }
    }

    /// Whether `coordinates` has the shape of this geometry: positions of two or more numbers, in as many arrays as
    /// it takes. That a line has two ends and a ring closes is not checked.
    pub(super) fn has_shape(self, coordinates: &Value) -> bool {
        is_nested(coordinates, self.dimensions())
    }
}

/// Recursion ends after `dimensions`, at most three.
fn is_nested(value: &Value, dimensions: u8) -> bool {
    let Value::Array(elements) = value else {
        return false;
    };
    match dimensions.checked_sub(1) {
        Some(inner) => elements.iter().all(|element| is_nested(element, inner)),
        None => elements.len() >= 2 && elements.iter().all(Value::is_number),
    }
}
