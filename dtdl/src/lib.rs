//! dtdl.
