//! The code that wasmtime generates from `wit/`: the functions of the three roles and their arguments and results.
//!
//! No component exports a whole world of this file: each role is looked up by its own interface. There are two worlds,
//! and `unused` in one of them, because the borrowing bindings of wasmtime 48 do not compile if a type is an error in
//! one place and an argument in another (`rejection`, once sagas are there), or if a type is not used at all.

/// Command handlers and projections, the hot path. Arguments are borrowed.
pub(crate) mod folds {
    wasmtime::component::bindgen!({
        inline: "
            package pelton:host;
            interface unused {
                use pelton:plugin/types@0.1.0.{new-command, timer};
                unused: func() -> tuple<new-command, timer>;
            }
            world folds {
                include pelton:plugin/command-handler-plugin@0.1.0;
                include pelton:plugin/projection-plugin@0.1.0;
                export unused;
            }
        ",
        path: "wit",
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

/// Sagas. Arguments are copied.
pub(crate) mod process {
    wasmtime::component::bindgen!({
        path: "wit",
        world: "pelton:plugin/saga-plugin@0.1.0",
    });
}

/// The optional interface for schemas.
pub(crate) mod schemas {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "pelton:plugin/schemas-plugin@0.1.0",
    });
}

/// The optional interface that takes over the instances of another version of a saga.
pub(crate) mod migration {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "pelton:plugin/saga-migration-plugin@0.1.0",
    });
}
