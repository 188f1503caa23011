//! Function app.
fn main() {}
