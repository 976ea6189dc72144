//! Makes the code of a client from the .proto files, without `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=../../../proto");
    let files = protox::compile(["rampd/v1/resolver_service.proto"], ["../../../proto"])?;
    tonic_prost_build::configure().build_server(false).compile_fds(files)?;
    Ok(())
}
