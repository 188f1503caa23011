//! An IoT device on the command line.

fn main() {}
