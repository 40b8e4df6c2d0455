//! Compiles `proto/` for the server, without protoc.

use std::path::{Path, PathBuf};

use prost::Message;

/// Messages with a text, a phone number or a secret: `sdk/rust/src/proto/masked.rs` writes their Debug.
const MASKED: [&str; 12] = [
    ".herald.v1.CreateApiKeyResponse",
    ".herald.v1.CreateProviderKeyResponse",
    ".herald.v1.DeliveryReport",
    ".herald.v1.ListMessagesRequest",
    ".herald.v1.Message",
    ".herald.v1.Part",
    ".herald.v1.PreviewMessageRequest",
    ".herald.v1.PreviewMessageResponse",
    ".herald.v1.QuoteLine",
    ".herald.v1.QuoteRequest",
    ".herald.v1.RotateApiKeyResponse",
    ".herald.v1.SendMessageRequest",
];

/// The crate that has the types of `google.rpc`.
const GOOGLE_RPC: (&str, &str) = (".google.rpc", "::tonic_types::pb");

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let mut files = proto_files(Path::new("proto/herald/v1"))?;
    // Reflection serves the error details too, or clients print them as raw bytes.
    files.push("proto/google/rpc/error_details.proto".into());
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_source_info(true).include_imports(true);
    compiler.open_files(files)?;
    // The encoded form keeps `google.api.http`, which the decoded one drops.
    std::fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;

    let descriptors =
        prost_types::FileDescriptorSet::decode(compiler.encode_file_descriptor_set().as_slice())?;
    tonic_prost_build::configure()
        .build_client(false)
        .codec_path("crate::codec::ProstCodec")
        .extern_path(GOOGLE_RPC.0, GOOGLE_RPC.1)
        .skip_debug(MASKED)
        .compile_fds(descriptors)?;
    Ok(())
}

fn proto_files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
