//! Converts a core module, as a compiler writes it, to a component, as the host runs it.

use wasmparser::{Parser, Validator, WasmFeatures};
use wit_component::ComponentEncoder;

/// Why a module did not become a component. A retry does not help: the input has to change.
#[derive(Debug, thiserror::Error)]
pub enum ComponentizeError {
    /// The bytes are a component already; use them as they are.
    #[error("this is a component already")]
    AlreadyComponent,
    /// The bytes do not start as a binary WebAssembly module does. The text format is not accepted.
    #[error("this is not a WebAssembly module")]
    NotAModule,
    /// The module does not state the WIT world that it was written against.
    #[error(
        "the module carries no component type: it was not built against a WIT world with wit-bindgen, \
         or the section was stripped from it"
    )]
    NoWorld,
    /// The module is damaged, or does not match the component type that it carries.
    #[error("the module cannot become a component: {0}")]
    Encode(String),
    /// The resulting component is not valid with the features that Pelton runs.
    #[error("the component is not valid: {0}")]
    Invalid(#[from] wasmparser::BinaryReaderError),
}

/// Wraps a core module that wit-bindgen's `component-type` section describes into a component.
///
/// The section names the world, so nothing else is needed. A module that imports WASI preview 1 is refused, because
/// there is no adapter here. The result is valid WebAssembly without threads and without component-model async, which
/// the host does not run. The same input gives the same output.
///
/// # Errors
///
/// Each [`ComponentizeError`] names what is wrong with `module`.
pub fn componentize(module: &[u8]) -> Result<Vec<u8>, ComponentizeError> {
    if Parser::is_component(module) {
        return Err(ComponentizeError::AlreadyComponent);
    }
    if !Parser::is_core_wasm(module) {
        return Err(ComponentizeError::NotAModule);
    }
    let (described, _) = wit_component::metadata::decode(module).map_err(encode_error)?;
    if described.is_none() {
        return Err(ComponentizeError::NoWorld);
    }
    // The encoder would validate with every proposal switched on, so the result is validated with the host's features.
    let component = ComponentEncoder::default()
        .validate(false)
        .module(module)
        .and_then(|mut encoder| encoder.encode())
        .map_err(encode_error)?;
    Validator::new_with_features(features()).validate_all(&component)?;
    Ok(component)
}

/// The proposals that a plugin may use: WebAssembly 2.0 and 3.0's settled parts, and synchronous components.
fn features() -> WasmFeatures {
    WasmFeatures::WASM2
        | WasmFeatures::TAIL_CALL
        | WasmFeatures::EXTENDED_CONST
        | WasmFeatures::MULTI_MEMORY
        | WasmFeatures::COMPONENT_MODEL
}

/// Keeps every cause, because the first line of an encoder's error rarely states what is missing.
fn encode_error(error: impl std::fmt::Display) -> ComponentizeError {
    ComponentizeError::Encode(format!("{error:#}"))
}

#[cfg(test)]
mod tests {
    use wit_component::{StringEncoding, embed_component_metadata};
    use wit_parser::Resolve;

    use super::*;

    const WORLD: &str = "package test:double; world double { export double: func(n: u32) -> u32; }";
    const DOUBLE: &str =
        r#"(module (func (export "double") (param i32) (result i32) (i32.shl (local.get 0) (i32.const 1))))"#;

    /// The module of `wat`, with the component type of [`WORLD`] embedded as wit-bindgen does.
    fn described(wat: &str) -> Vec<u8> {
        let mut module = wat::parse_str(wat).expect("valid text");
        let mut resolve = Resolve::default();
        let package = resolve.push_str("double.wit", WORLD).expect("valid WIT");
        let world = resolve.select_world(&[package], None).expect("one world");
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("embeds");
        module
    }

    fn refused(bytes: &[u8]) -> String {
        componentize(bytes).expect_err("must be refused").to_string()
    }

    #[test]
    fn a_module_that_names_its_world_becomes_a_component() {
        let component = componentize(&described(DOUBLE)).expect("a component");
        assert!(Parser::is_component(&component));
        assert_eq!(
            component,
            componentize(&described(DOUBLE)).expect("again"),
            "same bytes in, same bytes out"
        );
        assert_eq!(refused(&component), "this is a component already");
    }

    #[test]
    fn bytes_that_cannot_become_a_component_are_refused_by_cause() {
        assert_eq!(refused(b"(module)"), "this is not a WebAssembly module");
        assert_eq!(refused(b""), "this is not a WebAssembly module");
        let cut = refused(&described(DOUBLE)[..12]);
        assert!(cut.contains("decoding item in module: unexpected end-of-file"), "{cut}");
        let bare = wat::parse_str(DOUBLE).expect("valid text");
        assert!(refused(&bare).starts_with("the module carries no component type"));
        let misfit = refused(&described("(module)"));
        assert!(misfit.contains("failed to find export of function `double`"), "{misfit}");
    }
}
