//! Tests of the query language as a whole.

mod answering;
mod reading;
mod walking;
mod writing;
