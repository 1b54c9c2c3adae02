//! What CMP needs of cryptography, as one small trait with two providers.

use alloc::vec::Vec;

mod algorithm;
pub use algorithm::{HashAlgorithm, SignatureAlgorithm};
