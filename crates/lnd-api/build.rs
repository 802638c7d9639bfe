//! Generates the gRPC code from `proto/*.proto`, without protoc.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

const PROTO_DIR: &str = "proto";
const PROTO_FILES: [&str; 10] = [
    "ampd.proto",
    "chainnotifier.proto",
    "invoices.proto",
    "lightning.proto",
    "router.proto",
    "signer.proto",
    "walletkit.proto",
    "state.proto",
    "verrpc.proto",
    "walletunlocker.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={PROTO_DIR}");
    write_descriptors()?;

    let descriptors = compiled(true)?.file_descriptor_set();
    // Type names are needed to look up a message's descriptor.
    let mut config = tonic_prost_build::Config::new();
    config.enable_type_names();
    tonic_prost_build::configure()
        .build_client(true)
        .build_server(true)
        .client_mod_attribute(".", "#[cfg(feature = \"client\")]")
        .server_mod_attribute(".", "#[cfg(feature = \"server\")]")
        // lnd's JSON sorts maps by key.
        .btree_map(".")
        .compile_fds_with_config(descriptors, config)?;
    Ok(())
}

/// Writes the descriptors, from which JSON, the REST interface and the permissions are derived. Comments are
/// left out, because they would be a third of the size in the binaries.
fn write_descriptors() -> Result<(), Box<dyn Error>> {
    // Encoding prost's own types would lose our custom method options.
    let descriptors = compiled(false)?.encode_file_descriptor_set();
    let out_dir = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    fs::write(out_dir.join("descriptors.bin"), descriptors)?;
    Ok(())
}

fn compiled(with_comments: bool) -> Result<protox::Compiler, Box<dyn Error>> {
    let mut compiler = protox::Compiler::new([Path::new(PROTO_DIR)])?;
    compiler
        .include_imports(true)
        .include_source_info(with_comments)
        .open_files(PROTO_FILES)?;
    Ok(compiler)
}
