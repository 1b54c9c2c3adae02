#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::binding_station(data));
