//! Function app.
