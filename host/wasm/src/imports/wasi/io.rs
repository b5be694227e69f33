//! `wasi:io`, `wasi:cli/stdin`, `stdout` and `stderr`: streams and pollables that never wait.
//!
//! The only streams are the standard ones, and the only pollables are theirs and those of the clock.

use wasmtime::component::Resource;
use wasmtime_wasi::p2::bindings::cli::{stderr, stdin, stdout};
use wasmtime_wasi::p2::bindings::sync::io::{poll, streams};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, DynPollable, StreamError, StreamResult};

use super::View;
use super::print::Channel;

/// The most bytes of one write that does not wait.
const WRITE_BYTES: u64 = 64 * 1024;
/// The most bytes of one write that waits, as `wasi:io/streams` says.
const BLOCKING_WRITE_BYTES: u64 = 4096;

/// When a pollable is ready. The table has it under the handle of a [`DynPollable`].
#[derive(Debug, Clone, Copy)]
pub(super) enum Ready {
    Now,
    /// When the monotonic clock shows this.
    At(u64),
}

/// The standard input, which is at its end. The table has it under the handle of a [`DynInputStream`].
struct Stdin;

fn handle<T: 'static, U: 'static>(resource: &Resource<T>) -> Resource<U> {
    Resource::new_borrow(resource.rep())
}

impl View<'_> {
    pub(super) fn subscribe(&mut self, ready: Ready) -> wasmtime::Result<Resource<DynPollable>> {
        Ok(Resource::new_own(self.wasi.table.push(ready)?.rep()))
    }

    fn open(&mut self, channel: Channel) -> wasmtime::Result<Resource<DynOutputStream>> {
        Ok(Resource::new_own(self.wasi.table.push(channel)?.rep()))
    }

    fn deadline(&self, pollable: &Resource<DynPollable>) -> wasmtime::Result<u64> {
        Ok(match self.wasi.table.get::<Ready>(&handle(pollable))? {
            Ready::Now => 0,
            Ready::At(monotonic) => *monotonic,
        })
    }

    fn print(&mut self, stream: &Resource<DynOutputStream>, bytes: &[u8]) -> StreamResult<()> {
        let channel = *self.wasi.table.get::<Channel>(&handle(stream))?;
        self.wasi.printed.print(channel, bytes, self.origin, self.log);
        Ok(())
    }

    fn print_zeroes(&mut self, stream: &Resource<DynOutputStream>, count: u64) -> StreamResult<()> {
        if count > BLOCKING_WRITE_BYTES {
            return Err(StreamError::trap("more zeroes than one write may have"));
        }
        let count = usize::try_from(count).map_err(|e| StreamError::Trap(e.into()))?;
        self.print(stream, &vec![0; count])
    }
}

impl stdin::Host for View<'_> {
    fn get_stdin(&mut self) -> wasmtime::Result<Resource<DynInputStream>> {
        Ok(Resource::new_own(self.wasi.table.push(Stdin)?.rep()))
    }
}

impl stdout::Host for View<'_> {
    fn get_stdout(&mut self) -> wasmtime::Result<Resource<DynOutputStream>> {
        self.open(Channel::Stdout)
    }
}

impl stderr::Host for View<'_> {
    fn get_stderr(&mut self) -> wasmtime::Result<Resource<DynOutputStream>> {
        self.open(Channel::Stderr)
    }
}

impl poll::Host for View<'_> {
    /// The indices of those that are ready. If none is, the clock moves on to the first that will be.
    fn poll(&mut self, pollables: Vec<Resource<DynPollable>>) -> wasmtime::Result<Vec<u32>> {
        let deadlines: Vec<u64> =
            pollables.iter().map(|pollable| self.deadline(pollable)).collect::<Result<_, _>>()?;
        let Some(first) = deadlines.iter().min() else {
            return Err(wasmtime::Error::msg("it waits for nothing: the list of pollables is empty"));
        };
        self.wasi.clock.wait_until(*first);
        let now = self.wasi.clock.monotonic();
        Ok((0..).zip(&deadlines).filter(|(_, deadline)| **deadline <= now).map(|(index, _)| index).collect())
    }
}

impl poll::HostPollable for View<'_> {
    fn ready(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<bool> {
        Ok(self.deadline(&pollable)? <= self.wasi.clock.monotonic())
    }

    fn block(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        let deadline = self.deadline(&pollable)?;
        self.wasi.clock.wait_until(deadline);
        Ok(())
    }

    fn drop(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        self.wasi.table.delete::<Ready>(Resource::new_own(pollable.rep()))?;
        Ok(())
    }
}

impl streams::Host for View<'_> {
    fn convert_stream_error(&mut self, error: StreamError) -> wasmtime::Result<streams::StreamError> {
        match error {
            StreamError::Closed => Ok(streams::StreamError::Closed),
            StreamError::LastOperationFailed(error) => {
                Ok(streams::StreamError::LastOperationFailed(self.wasi.table.push(error)?))
            }
            StreamError::Trap(error) => Err(error),
        }
    }
}

impl streams::HostInputStream for View<'_> {
    fn read(&mut self, _: Resource<DynInputStream>, _: u64) -> StreamResult<Vec<u8>> {
        Err(StreamError::Closed)
    }

    fn blocking_read(&mut self, _: Resource<DynInputStream>, _: u64) -> StreamResult<Vec<u8>> {
        Err(StreamError::Closed)
    }

    fn skip(&mut self, _: Resource<DynInputStream>, _: u64) -> StreamResult<u64> {
        Err(StreamError::Closed)
    }

    fn blocking_skip(&mut self, _: Resource<DynInputStream>, _: u64) -> StreamResult<u64> {
        Err(StreamError::Closed)
    }

    fn subscribe(&mut self, _: Resource<DynInputStream>) -> wasmtime::Result<Resource<DynPollable>> {
        self.subscribe(Ready::Now)
    }

    fn drop(&mut self, stream: Resource<DynInputStream>) -> wasmtime::Result<()> {
        self.wasi.table.delete::<Stdin>(Resource::new_own(stream.rep()))?;
        Ok(())
    }
}

impl streams::HostOutputStream for View<'_> {
    fn check_write(&mut self, _: Resource<DynOutputStream>) -> StreamResult<u64> {
        Ok(WRITE_BYTES)
    }

    fn write(&mut self, stream: Resource<DynOutputStream>, bytes: Vec<u8>) -> StreamResult<()> {
        self.print(&stream, &bytes)
    }

    fn blocking_write_and_flush(
        &mut self,
        stream: Resource<DynOutputStream>,
        bytes: Vec<u8>,
    ) -> StreamResult<()> {
        self.print(&stream, &bytes)
    }

    fn write_zeroes(&mut self, stream: Resource<DynOutputStream>, count: u64) -> StreamResult<()> {
        self.print_zeroes(&stream, count)
    }

    fn blocking_write_zeroes_and_flush(
        &mut self,
        stream: Resource<DynOutputStream>,
        count: u64,
    ) -> StreamResult<()> {
        self.print_zeroes(&stream, count)
    }

    fn flush(&mut self, _: Resource<DynOutputStream>) -> StreamResult<()> {
        Ok(())
    }

    fn blocking_flush(&mut self, _: Resource<DynOutputStream>) -> StreamResult<()> {
        Ok(())
    }

    fn subscribe(&mut self, _: Resource<DynOutputStream>) -> wasmtime::Result<Resource<DynPollable>> {
        self.subscribe(Ready::Now)
    }

    fn splice(
        &mut self,
        _: Resource<DynOutputStream>,
        _: Resource<DynInputStream>,
        _: u64,
    ) -> StreamResult<u64> {
        Err(StreamError::Closed)
    }

    fn blocking_splice(
        &mut self,
        _: Resource<DynOutputStream>,
        _: Resource<DynInputStream>,
        _: u64,
    ) -> StreamResult<u64> {
        Err(StreamError::Closed)
    }

    fn drop(&mut self, stream: Resource<DynOutputStream>) -> wasmtime::Result<()> {
        self.wasi.table.delete::<Channel>(Resource::new_own(stream.rep()))?;
        Ok(())
    }
}
