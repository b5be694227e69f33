//! What wasmtime generates from `wit/`: the functions of the three roles and the values that they take and give.
//!
//! No component exports all of a world here: each role is looked up by its own interface. That there are two worlds,
//! and `unused` in one, answers to wasmtime 48, whose borrowing bindings do not compile where a type is an error in one
//! place and an argument in another (`rejection`, once sagas are there), nor where a type is used nowhere.

/// Command handlers and projections, the hot path: arguments are borrowed.
pub(crate) mod folds {
    wasmtime::component::bindgen!({
        inline: "
            package pelton:host;
            interface unused {
                use pelton:plugin/types@0.1.0.{new-command};
                unused: func() -> new-command;
            }
            world folds {
                include pelton:plugin/command-handler-plugin@0.1.0;
                include pelton:plugin/projection-plugin@0.1.0;
                export unused;
            }
        ",
        path: "../../wit",
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

/// Sagas: arguments are copied.
pub(crate) mod process {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "pelton:plugin/saga-plugin@0.1.0",
    });
}
