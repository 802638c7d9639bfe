//! Generates the gRPC code from `src/rpc/proto/*.proto`, without protoc.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

use protox::prost::Message;
use tonic_prost_build::FileDescriptorSet;

const PROTO_DIR: &str = "src/rpc/proto";
const PROTO_FILES: [&str; 6] = [
    "ampd.proto",
    "invoices.proto",
    "lightning.proto",
    "router.proto",
    "state.proto",
    "verrpc.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={PROTO_DIR}");
    let descriptors = protox::Compiler::new([Path::new(PROTO_DIR)])?
        .include_imports(true)
        .include_source_info(true)
        .open_files(PROTO_FILES)?
        .file_descriptor_set();
    write_descriptors(&descriptors)?;

    // Type names, so that a message finds its descriptor.
    let mut config = tonic_prost_build::Config::new();
    config.enable_type_names();
    tonic_prost_build::configure()
        .build_client(true)
        .build_server(true)
        // lnd's JSON lists maps by key.
        .btree_map(".")
        .compile_fds_with_config(descriptors, config)?;
    Ok(())
}

/// Keeps the descriptors beside the generated code: ampcli's JSON is made from them.
fn write_descriptors(descriptors: &FileDescriptorSet) -> Result<(), Box<dyn Error>> {
    let mut descriptors = descriptors.clone();
    for file in &mut descriptors.file {
        // The comments would be a third of what the binaries carry.
        file.source_code_info = None;
    }
    let out_dir = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    fs::write(out_dir.join("descriptors.bin"), descriptors.encode_to_vec())?;
    Ok(())
}
