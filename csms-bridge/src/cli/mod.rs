//! The subcommands and what they share.

pub(crate) mod access;
pub(crate) mod ask;
pub(crate) mod check;
pub(crate) mod hash_password;
pub(crate) mod proxy;
pub(crate) mod servers;
