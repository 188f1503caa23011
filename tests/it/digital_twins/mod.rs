//! The client of Azure Digital Twins against a transport that answers from a script, and against
//! an instance.

mod errors;
mod instance;
mod lists;
mod pace;
mod script;
mod writes;
