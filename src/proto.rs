//! The API as generated from `proto/`.

#![allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]

pub mod herald {
    pub mod v1 {
        tonic::include_proto!("herald.v1");
    }
}

pub use herald::v1;

// The server's types mask what the SDK's types mask.
#[path = "../sdk/rust/src/proto/masked.rs"]
mod masked;

/// Every file with its imports and comments, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
