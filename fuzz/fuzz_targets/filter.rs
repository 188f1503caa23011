#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| local_azure::fuzzing::filter(data));
