//! The messages of the contract and, in modules of their own, the typed stubs of its services.
//!
//! Generated from `proto/finesieve/v1`; what the fields mean stands there and here alike.

#![allow(missing_docs, clippy::all)]

include!("proto/finesieve.v1.rs");

/// Paths of the methods that stream.
pub(crate) const STREAMS: &[&str] = include!("proto/streams.rs");
