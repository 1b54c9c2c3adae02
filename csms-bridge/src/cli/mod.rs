//! The subcommands and what they share.

pub(crate) mod access;
pub(crate) mod hash_password;
pub(crate) mod proxy;
