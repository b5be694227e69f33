//! Generated from `wit/`: the types and functions of the contract. Only the export macros use them.
//!
//! There is one module for each world, so that a plugin carries the description of its own world only. The modules
//! share the types of the first one.
#![allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    unsafe_code,
    clippy::allow_attributes_without_reason,
    clippy::semicolon_if_nothing_returned,
    reason = "generated code, documented in wit/; its exports and imports are pointers into linear memory"
)]

pub use command_handler::pelton::plugin::types;

/// The world `command-handler-plugin`.
pub mod command_handler {
    wit_bindgen::generate!({
        path: "wit",
        world: "command-handler-plugin",
        pub_export_macro: true,
        export_macro_name: "export_bindings",
        default_bindings_module: "pelton_plugin::bindings::command_handler",
    });
}

/// The world `projection-plugin`.
pub mod projection {
    wit_bindgen::generate!({
        path: "wit",
        world: "projection-plugin",
        pub_export_macro: true,
        export_macro_name: "export_bindings",
        default_bindings_module: "pelton_plugin::bindings::projection",
        with: {
            "pelton:plugin/types@0.1.0": super::command_handler::pelton::plugin::types,
            "pelton:plugin/log@0.1.0": super::command_handler::pelton::plugin::log,
            "pelton:plugin/settings@0.1.0": super::command_handler::pelton::plugin::settings,
        },
    });
}

/// The world `saga-plugin`.
pub mod saga {
    wit_bindgen::generate!({
        path: "wit",
        world: "saga-plugin",
        pub_export_macro: true,
        export_macro_name: "export_bindings",
        default_bindings_module: "pelton_plugin::bindings::saga",
        with: {
            "pelton:plugin/types@0.1.0": super::command_handler::pelton::plugin::types,
            "pelton:plugin/log@0.1.0": super::command_handler::pelton::plugin::log,
            "pelton:plugin/settings@0.1.0": super::command_handler::pelton::plugin::settings,
        },
    });
}

/// The world `schemas-plugin`.
#[cfg(feature = "schemas")]
pub mod schemas {
    wit_bindgen::generate!({
        path: "wit",
        world: "schemas-plugin",
        pub_export_macro: true,
        export_macro_name: "export_bindings",
        default_bindings_module: "pelton_plugin::bindings::schemas",
    });
}

/// The world `saga-migration-plugin`.
pub mod saga_migration {
    wit_bindgen::generate!({
        path: "wit",
        world: "saga-migration-plugin",
        pub_export_macro: true,
        export_macro_name: "export_bindings",
        default_bindings_module: "pelton_plugin::bindings::saga_migration",
        with: {
            "pelton:plugin/types@0.1.0": super::command_handler::pelton::plugin::types,
        },
    });
}
