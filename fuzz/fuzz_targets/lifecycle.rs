#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| function_app::fuzzing::lifecycle(data));
