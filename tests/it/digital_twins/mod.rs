//! The client of Azure Digital Twins against a transport that answers from a script.

mod errors;
mod lists;
mod pace;
mod script;
mod writes;
