//! CMP messages as RFC 9810 and RFC 4211 define them: their ASN.1, their protection, and the generic checks of
//! RFC 9483 §3.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;
