#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dtdl::fuzzing::models(data));
