//! Compiles the contracts with protox, so that no `protoc` need be installed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["accounts", "encoder", "seeder", "tracker"]
        .map(|name| format!("livestation/{name}.proto"));
    let descriptors = protox::compile(&files, ["."])?;
    tonic_prost_build::configure()
        .bytes(".")
        .compile_fds(descriptors)?;
    println!("cargo:rerun-if-changed=livestation");
    Ok(())
}
