//! The messages of the contract and, in modules of their own, the typed stubs of its services.
//!
//! Generated from `proto/finesieve/v1`; what the fields mean stands there and here alike.

#![allow(missing_docs, clippy::all)]

use std::sync::LazyLock;

include!("proto/finesieve.v1.rs");

/// Paths of the methods that stream.
pub(crate) const STREAMS: &[&str] = include!("proto/streams.rs");

impl SearchHit {
    /// Return the passage that was found; an empty one where the answer has none.
    pub fn passage(&self) -> &Passage {
        static NONE: LazyLock<Passage> = LazyLock::new(Passage::default);
        let passage = self.hit.as_ref().and_then(|hit| hit.passage.as_ref());
        passage.unwrap_or_else(|| &NONE)
    }
}
