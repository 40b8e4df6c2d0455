//! The API as generated from `proto/`. Its documentation is that of the proto files.

#![allow(missing_docs, clippy::all, clippy::pedantic, rustdoc::all, unreachable_pub)]

pub mod herald {
    pub mod v1 {
        tonic::include_proto!("herald.v1");
    }
}

pub use herald::v1;

mod masked;
