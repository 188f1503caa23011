//! device-simulator.
