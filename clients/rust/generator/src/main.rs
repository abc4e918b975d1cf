//! Write what is generated from the contract: `finesieve-generator REPOSITORY CRATES`.
//!
//! The contract is read from the repository; the code goes into the folder of the crates, which is
//! clients/rust, or one like it to compare with. protox parses the contract, so that protoc is not
//! needed; the code is committed, so that the crates do not need this.

use std::{env, error::Error, fmt::Write, fs, path::Path};

use prost_types::FileDescriptorSet;

fn main() -> Result<(), Box<dyn Error>> {
    let folders: Vec<String> = env::args().skip(1).collect();
    let [repository, crates] = folders.as_slice() else {
        return Err("usage: finesieve-generator REPOSITORY CRATES".into());
    };
    let (repository, crates) = (Path::new(repository), Path::new(crates));

    let contract = parse(&repository.join("proto"), "finesieve/v1")?;
    let out = crates.join("src/proto");
    generate(contract.clone(), &out)?;
    fs::write(out.join("streams.rs"), streams(&contract)?)?;

    let orders = parse(
        &repository.join("clients/conformance/proto"),
        "finesieve/conformance/v1",
    )?;
    generate(orders, &crates.join("conformance/src/proto"))
}

/// Parse all the .proto files of one package; its path below `root` is its name.
fn parse(root: &Path, package: &str) -> Result<FileDescriptorSet, Box<dyn Error>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(root.join(package))? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "proto")
        {
            files.push(path);
        }
    }
    files.sort();
    Ok(protox::compile(files, [root])?)
}

/// Write the messages and the clients of these files, one module for each package.
fn generate(files: FileDescriptorSet, out: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(out)?;
    tonic_prost_build::configure()
        .build_server(false)
        .build_transport(false)
        .out_dir(out)
        .compile_fds(files)?;
    Ok(())
}

/// Write which methods stream: prost's code does not say, and deadlines are not for them.
fn streams(files: &FileDescriptorSet) -> Result<String, Box<dyn Error>> {
    let mut code = String::from("&[\n");
    for file in &files.file {
        for service in &file.service {
            for method in &service.method {
                if method.client_streaming() || method.server_streaming() {
                    let (package, service) = (file.package(), service.name());
                    writeln!(code, "    \"/{package}.{service}/{}\",", method.name())?;
                }
            }
        }
    }
    code.push_str("]\n");
    Ok(code)
}
