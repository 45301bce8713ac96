//! Compiles the contracts with protox, so that no `protoc` need be installed,
//! and leaves what they say for the test of who may call what.

use std::{env, fs, path::Path};

use prost::Message as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["accounts", "encoder", "registry", "seeder", "tracker"]
        .map(|name| format!("livestation/{name}.proto"));
    let descriptors = protox::compile(&files, ["."])?;
    let contracts = Path::new(&env::var("OUT_DIR")?).join("contracts.bin");
    fs::write(contracts, descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .bytes(".")
        .compile_fds(descriptors)?;
    println!("cargo:rerun-if-changed=livestation");
    Ok(())
}
