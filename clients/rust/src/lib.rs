#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

mod addresses;
mod calls;
mod cancel;
mod channel;
mod client;
mod config;
mod deadline;
mod error;
#[cfg(test)]
mod fake;
pub mod metadata;
mod policy;
mod prompt;
pub mod proto;
mod responses;
mod retry;
mod target;
mod wire;

pub use channel::Channel;
pub use client::Client;
pub use config::{ClientBuilder, ConfigError, DEFAULT_TARGET, DEFAULT_TIMEOUT, Tls};
pub use error::{Error, Violation};
pub use prompt::{cited, prompt};
pub use responses::Responses;

pub use prost_types;
pub use tonic;
