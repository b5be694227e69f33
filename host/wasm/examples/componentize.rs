//! `componentize IN.wasm -o OUT.wasm`: what plugins/build.sh calls until `pelton component` does it.
use std::fs;

use anyhow::{Context, bail};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [input, flag, output] = arguments.as_slice() else {
        bail!("usage: componentize IN.wasm -o OUT.wasm");
    };
    if flag != "-o" {
        bail!("expected -o, found {flag}");
    }
    let module = fs::read(input).with_context(|| format!("cannot read {input}"))?;
    let component = pelton_wasm::component::componentize(&module).with_context(|| input.clone())?;
    fs::write(output, component).with_context(|| format!("cannot write {output}"))
}
