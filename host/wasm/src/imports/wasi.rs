//! WASI 0.2 without the world behind it, for the tier `deterministic`.
//!
//! A guest sees nothing but its call: the clock begins at the time of the call's message and moves only when the guest
//! waits, random numbers follow from the message's id, and what the guest prints goes to its log. Files, sockets, the
//! environment and terminals are those of an empty context of `wasmtime-wasi`.
//!
//! Nothing here waits. The interfaces for which `wasmtime-wasi` would wait have hosts of our own: a call runs on a thread
//! of the runtime, which must not be blocked.

mod clock;
mod io;
mod print;
mod random;

use wasmtime::StoreContextMut;
use wasmtime::component::{HasData, HasSelf, Linker, Resource, ResourceTable};
use wasmtime_wasi::cli::{WasiCli, WasiCliView};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView};
use wasmtime_wasi::p2::UdpSocket;
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddressFamily};
use wasmtime_wasi::p2::bindings::{cli, clocks, filesystem, random as wasi_random, sockets, sync};
use wasmtime_wasi::sockets::{WasiSockets, WasiSocketsView};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use self::clock::Clock;
use self::print::Printed;
use self::random::Random;
use crate::call_log::CallLog;
use crate::context::CallContext;
use crate::guest::{Guest, Origin};

/// The most streams and pollables that a guest may have at a time.
const MAX_RESOURCES: usize = 1_000;

/// What one instance has of WASI.
pub(crate) struct Wasi {
    empty: WasiCtx,
    table: ResourceTable,
    clock: Clock,
    random: Random,
    printed: Printed,
}

impl Default for Wasi {
    fn default() -> Self {
        let mut empty = WasiCtx::builder();
        empty.allow_tcp(false).allow_udp(false).allow_ip_name_lookup(false);
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_RESOURCES);
        let context = CallContext::CONSTANT;
        Self {
            empty: empty.build(),
            table,
            clock: Clock::at(context.time),
            random: Random::of(context.seed),
            printed: Printed::default(),
        }
    }
}

impl std::fmt::Debug for Wasi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wasi").field("clock", &self.clock).finish_non_exhaustive()
    }
}

impl Wasi {
    /// Starts a new call.
    pub(crate) fn begin_call(&mut self, context: &CallContext<'_>) {
        self.clock = Clock::at(context.time);
        self.random = Random::of(context.seed);
    }

    /// Ends the call: a line that was begun is a line.
    pub(crate) fn end_call(&mut self, origin: &Origin, log: &mut CallLog) {
        self.printed.end(origin, log);
    }
}

/// Links all interfaces that [`Tier::Deterministic`](crate::Tier::Deterministic) allows.
pub(crate) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let l = linker;
    cli::stdin::add_to_linker::<_, Own>(l, view)?;
    cli::stdout::add_to_linker::<_, Own>(l, view)?;
    cli::stderr::add_to_linker::<_, Own>(l, view)?;
    clocks::wall_clock::add_to_linker::<_, Own>(l, view)?;
    clocks::monotonic_clock::add_to_linker::<_, Own>(l, view)?;
    wasi_random::random::add_to_linker::<_, Own>(l, view)?;
    wasi_random::insecure::add_to_linker::<_, Own>(l, view)?;
    wasi_random::insecure_seed::add_to_linker::<_, Own>(l, view)?;
    sync::io::poll::add_to_linker::<_, Own>(l, view)?;
    sync::io::streams::add_to_linker::<_, Own>(l, view)?;
    sync::io::error::add_to_linker::<_, HasSelf<ResourceTable>>(l, |guest| &mut view(guest).wasi.table)?;

    cli::environment::add_to_linker::<_, WasiCli>(l, Guest::cli)?;
    cli::exit::add_to_linker::<_, WasiCli>(l, Guest::cli)?;
    cli::terminal_input::add_to_linker::<_, WasiCli>(l, Guest::cli)?;
    cli::terminal_output::add_to_linker::<_, WasiCli>(l, Guest::cli)?;
    cli::terminal_stdin::add_to_linker::<_, WasiCli>(l, Guest::cli)?;
    cli::terminal_stdout::add_to_linker::<_, WasiCli>(l, Guest::cli)?;
    cli::terminal_stderr::add_to_linker::<_, WasiCli>(l, Guest::cli)?;

    // Without a preopened directory there is no descriptor to call anything on.
    filesystem::preopens::add_to_linker::<_, WasiFilesystem>(l, Guest::filesystem)?;
    sync::filesystem::types::add_to_linker::<_, WasiFilesystem>(l, Guest::filesystem)?;

    // Neither is there a socket.
    // The one of `wasmtime-wasi` would wait before it says no.
    l.instance("wasi:sockets/udp-create-socket@0.2.12")?.func_wrap("create-udp-socket", no_udp_socket)?;
    sockets::tcp_create_socket::add_to_linker::<_, WasiSockets>(l, Guest::sockets)?;
    sockets::instance_network::add_to_linker::<_, WasiSockets>(l, Guest::sockets)?;
    sockets::network::add_to_linker::<_, WasiSockets>(
        l,
        &sockets::network::LinkOptions::default(),
        Guest::sockets,
    )?;
    sockets::ip_name_lookup::add_to_linker::<_, WasiSockets>(l, Guest::sockets)?;
    sync::sockets::tcp::add_to_linker::<_, WasiSockets>(l, Guest::sockets)?;
    sync::sockets::udp::add_to_linker::<_, WasiSockets>(l, Guest::sockets)
}

/// The interfaces that are hosted here.
struct Own;

impl HasData for Own {
    type Data<'a> = View<'a>;
}

/// What the hosts of the interfaces see of a guest.
struct View<'a> {
    origin: &'a Origin,
    log: &'a mut CallLog,
    wasi: &'a mut Wasi,
}

fn view(guest: &mut Guest) -> View<'_> {
    let Guest { origin, log, wasi, .. } = guest;
    View { origin, log, wasi: wasi.get_or_insert_default() }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let Wasi { empty, table, .. } = view(self).wasi;
        WasiCtxView { ctx: empty, table }
    }
}

type NoSocket = Result<Resource<UdpSocket>, ErrorCode>;

fn no_udp_socket(_: StoreContextMut<'_, Guest>, _: (IpAddressFamily,)) -> wasmtime::Result<(NoSocket,)> {
    Ok((Err(ErrorCode::AccessDenied),))
}
