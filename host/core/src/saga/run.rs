//! The loop of a saga: one host at a time reads its inputs, and its instances react side by side, each to one input at
//! a time.
//!
//! Each instance with inputs in hand has a lane. An input that has to be tried again stays at the head of its lane and
//! does not hold up other lanes. Lanes that can go on take turns, one input a turn. How far the saga has read is stored
//! twice a second: everything up to there was handled, and its commands were sent.

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{BoxStream, FuturesUnordered};
use futures::{FutureExt, StreamExt};
use lru::LruCache;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior};

use super::drain::SagaVersions;
use super::floor::Floor;
use super::input::Input;
use super::lead::{Deposed, Lead, SIGN_EVERY, Start};
use super::ports::{SagaFeeds, SagaPlugin, SagaStore};
use super::read::{Read, events, items, own};
use super::{Loaded, SagaFlow};
use crate::consumer::FeedItem;
use crate::dead_letter::{Retries, RetryRequest};
use crate::id::{InstanceId, Sequence};

/// The interval at which a saga looks for operators' requests.
const REQUESTS_EVERY: Duration = Duration::from_secs(1);
/// The interval at which the saga's own inputs that were handled are deleted.
const LET_GO_EVERY: Duration = Duration::from_secs(10);
/// The most instances that react at a time.
const MAX_WORKING: usize = 256;
/// The most inputs in hand, waiting ones included.
const MAX_IN_HAND: usize = 10_000;
/// The most bytes of their payloads.
const MAX_IN_HAND_BYTES: usize = 64 * 1024 * 1024;
/// The most instances without inputs in hand that are remembered, so that they need not be read again.
const MAX_IDLE: NonZeroUsize = NonZeroUsize::new(4_096).unwrap();
/// The most bytes of the state and the commands of an instance that is remembered.
const MAX_IDLE_BYTES: usize = 16 * 1024;
/// The wait before an operator's request is worked on again.
const PAUSE: Duration = Duration::from_secs(1);

/// A job of an instance.
enum Job {
    Input(Box<Input>),
    Retry(RetryRequest),
}

/// The jobs of one instance.
#[derive(Default)]
struct Lane {
    queue: VecDeque<Job>,
    known: Option<Loaded>,
    /// How often the plugin has failed on the first job.
    faults: u32,
    /// Whether the lane works, waits for its turn, or rests before a retry. A new job need not start it then.
    busy: bool,
    /// Whether an operator's request is being worked on.
    retrying: bool,
}

/// The result of a lane's turn.
struct Done {
    id: InstanceId,
    job: Job,
    known: Option<Loaded>,
    faults: u32,
    again: Option<Duration>,
}

/// The floors of the saga's two streams.
#[derive(Clone, Copy)]
struct Floors {
    events: Sequence,
    own: Sequence,
}

/// Why a host no longer runs a saga.
enum End {
    Stopped,
    Deposed,
}

impl<P: SagaPlugin + Clone, S: SagaStore, L: Retries> SagaFlow<P, S, L> {
    /// Runs the saga whenever no other host does, until it is stopped. `host` tells this process from all others.
    /// `versions` has the version of the plugin that runs, and then those that replace it.
    ///
    /// # Panics
    ///
    /// A reaction panicked.
    pub async fn run<F: SagaFeeds>(
        self,
        feeds: F,
        start: Start,
        host: String,
        mut versions: watch::Receiver<SagaVersions<P>>,
    ) {
        let mut flow = Arc::new(self.with(versions.borrow_and_update().clone()));
        let mut stopped = std::pin::pin!(feeds.stopped());
        while let Some(lead) =
            Lead::take(&*flow.store, &flow.id, &host, &flow.stream, start, stopped.as_mut()).await
        {
            let mut runner = Runner::new(flow.clone(), &feeds, lead);
            match runner.run(&feeds, stopped.as_mut(), &mut versions).await {
                End::Deposed => tracing::warn!(saga = %flow.id, "another host runs the saga now"),
                End::Stopped => return runner.lead.release(&*flow.store).await,
            }
            flow = runner.flow;
        }
    }
}

struct Runner<P, S, L> {
    flow: Arc<SagaFlow<P, S, L>>,
    lead: Lead,
    own_stream: String,
    lanes: HashMap<InstanceId, Lane>,
    /// The lanes that wait for their turn, first come, first served.
    ready: VecDeque<InstanceId>,
    working: JoinSet<Done>,
    resting: FuturesUnordered<BoxFuture<'static, InstanceId>>,
    idle: LruCache<InstanceId, Loaded>,
    in_hand: usize,
    in_hand_bytes: usize,
    events: Floor,
    own: Floor,
    let_go: Sequence,
    event_items: BoxStream<'static, Vec<FeedItem>>,
    own_items: BoxStream<'static, Vec<FeedItem>>,
    /// Events that were read and that the plugin correlates now.
    sorting: Option<BoxFuture<'static, Vec<Read>>>,
}

impl<P: SagaPlugin + Clone, S: SagaStore, L: Retries> Runner<P, S, L> {
    fn new<F: SagaFeeds>(flow: Arc<SagaFlow<P, S, L>>, feeds: &F, lead: Lead) -> Self {
        let own_stream = feeds.own_stream();
        let (from, own_from) = (lead.position.of(&flow.stream), lead.position.of(&own_stream));
        let event_items = items(feeds.events(&flow.reads()), from);
        Self {
            event_items,
            own_items: items(feeds.own(), own_from),
            own_stream,
            flow,
            lead,
            lanes: HashMap::new(),
            ready: VecDeque::new(),
            working: JoinSet::new(),
            resting: FuturesUnordered::new(),
            idle: LruCache::new(MAX_IDLE),
            in_hand: 0,
            in_hand_bytes: 0,
            events: Floor::new(from),
            own: Floor::new(own_from),
            let_go: own_from,
            sorting: None,
        }
    }

    async fn run<F: SagaFeeds>(
        &mut self,
        feeds: &F,
        mut stopped: Pin<&mut impl Future<Output = ()>>,
        versions: &mut watch::Receiver<SagaVersions<P>>,
    ) -> End {
        let (mut signs, mut requests, mut let_go) =
            (every(SIGN_EVERY), every(REQUESTS_EVERY), every(LET_GO_EVERY));
        loop {
            self.begin_turns();
            let has_room = self.in_hand < MAX_IN_HAND && self.in_hand_bytes < MAX_IN_HAND_BYTES;
            tokio::select! {
                // Work in hand comes before more work. More is read when nothing else is ready.
                biased;
                () = &mut stopped => {
                    self.finish().await;
                    return End::Stopped;
                }
                _ = signs.tick() => if self.sign().await == Err(Deposed) {
                    self.finish().await;
                    return End::Deposed;
                },
                _ = requests.tick() => self.look_for_requests().await,
                _ = let_go.tick() => self.let_go().await,
                Ok(()) = versions.changed() => {
                    self.flow = Arc::new(self.flow.with(versions.borrow_and_update().clone()));
                    // They may read other types of events. Events that are being correlated are read again.
                    self.sorting = None;
                    self.event_items = items(feeds.events(&self.flow.reads()), self.events.last());
                }
                Some(done) = self.working.join_next(), if !self.working.is_empty() => match done {
                    Ok(done) => self.end_turn(done),
                    Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                    Err(_) => {}
                },
                Some(rested) = self.resting.next(), if !self.resting.is_empty() => self.ready.push_back(rested),
                read = sorted(&mut self.sorting), if self.sorting.is_some() => {
                    self.sorting = None;
                    read.into_iter().for_each(|read| self.take(read, true));
                }
                Some(items) = self.own_items.next(), if has_room => {
                    for read in own(&self.flow, items).await {
                        self.take(read, false);
                    }
                }
                Some(items) = self.event_items.next(), if has_room && self.sorting.is_none() => {
                    self.sorting = Some(events(self.flow.clone(), items).boxed());
                }
            }
        }
    }

    /// Hands a message that was read to every instance that it concerns.
    fn take(&mut self, Read { sequence, inputs }: Read, is_event: bool) {
        let floor = if is_event { &mut self.events } else { &mut self.own };
        floor.read(sequence, inputs.len());
        for (id, input) in inputs {
            self.in_hand += 1;
            self.in_hand_bytes += input.message.payload.len();
            self.push(id, Job::Input(Box::new(input)));
        }
    }

    fn push(&mut self, id: InstanceId, job: Job) {
        let idle = &mut self.idle;
        let lane =
            self.lanes.entry(id.clone()).or_insert_with(|| Lane { known: idle.pop(&id), ..Lane::default() });
        lane.queue.push_back(job);
        if !lane.busy {
            lane.busy = true;
            self.ready.push_back(id);
        }
    }

    fn begin_turns(&mut self) {
        while self.working.len() < MAX_WORKING
            && let Some(id) = self.ready.pop_front()
        {
            let Some(lane) = self.lanes.get_mut(&id) else { continue };
            let Some(job) = lane.queue.pop_front() else { continue };
            lane.retrying = matches!(job, Job::Retry(_));
            let floors = Floors { events: self.events.get(), own: self.own.get() };
            self.working.spawn(work(self.flow.clone(), id, job, lane.known.take(), lane.faults, floors));
        }
    }

    fn end_turn(&mut self, Done { id, job, known, faults, again }: Done) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        lane.known = known;
        if let Some(delay) = again {
            lane.faults = faults;
            lane.queue.push_front(job);
            let rest = async move {
                tokio::time::sleep(delay).await;
                id
            };
            return self.resting.push(rest.boxed());
        }
        (lane.faults, lane.retrying) = (0, false);
        if let Job::Input(input) = job {
            self.in_hand -= 1;
            self.in_hand_bytes -= input.message.payload.len();
            let is_event = input.message.stream.as_str() == &*self.flow.stream;
            let floor = if is_event { &mut self.events } else { &mut self.own };
            floor.handled(input.message.sequence);
        }
        if !lane.queue.is_empty() {
            self.ready.push_back(id);
        } else if let Some(lane) = self.lanes.remove(&id)
            && let Some(known) = lane.known.filter(|known| known.bytes() <= MAX_IDLE_BYTES)
        {
            self.idle.push(id, known);
        }
    }

    async fn sign(&mut self) -> Result<(), Deposed> {
        let handled = &mut self.lead.position.handled;
        handled.insert(self.flow.stream.to_string(), self.events.get());
        handled.insert(self.own_stream.clone(), self.own.get());
        self.lead.sign(&*self.flow.store).await
    }

    /// Finishes the turns that have begun. The host that runs the saga next reads the waiting inputs again.
    async fn finish(&mut self) {
        while let Some(done) = self.working.join_next().await {
            if let Ok(done) = done {
                self.end_turn(done);
            }
        }
        let _ = self.sign().await;
    }

    async fn look_for_requests(&mut self) {
        match self.flow.dead_letters.request(&self.flow.id).await {
            Ok(None) => {}
            Ok(Some(request)) => match InstanceId::new(&request.key) {
                Ok(id) => {
                    let is_taken = |job: &Job| matches!(job, Job::Retry(taken) if *taken == request);
                    if !self
                        .lanes
                        .get(&id)
                        .is_some_and(|lane| lane.retrying || lane.queue.iter().any(is_taken))
                    {
                        self.push(id, Job::Retry(request));
                    }
                }
                Err(_) => {
                    let _ = self.flow.dead_letters.close(&request).await;
                }
            },
            Err(away) => tracing::warn!(saga = %self.flow.id, "will be tried again: {away}"),
        }
    }

    /// Deletes the saga's own inputs that had been handled at the last sign.
    async fn let_go(&mut self) {
        let handled = self.lead.position.of(&self.own_stream);
        if handled <= self.let_go {
            return;
        }
        match self.flow.store.let_go(handled).await {
            Ok(()) => self.let_go = handled,
            Err(away) => tracing::warn!(saga = %self.flow.id, "will be tried again: {away}"),
        }
    }
}

/// One turn of a lane.
async fn work<P: SagaPlugin, S: SagaStore, L: Retries>(
    flow: Arc<SagaFlow<P, S, L>>,
    id: InstanceId,
    job: Job,
    mut known: Option<Loaded>,
    mut faults: u32,
    floors: Floors,
) -> Done {
    let again = match &job {
        Job::Input(input) => {
            let floor = |stream: &str| if *stream == *flow.stream { floors.events } else { floors.own };
            flow.handle(&id, input, floor, &mut known, &mut faults).await
        }
        Job::Retry(request) => {
            known = None;
            let done = async {
                flow.retry_instance(&id).await?;
                flow.dead_letters.close(request).await
            };
            match done.await {
                Ok(()) => None,
                Err(away) => {
                    tracing::warn!(saga = %flow.id, "will be tried again: {away}");
                    Some(PAUSE)
                }
            }
        }
    };
    Done { id, job, known, faults, again }
}

async fn sorted(sorting: &mut Option<BoxFuture<'static, Vec<Read>>>) -> Vec<Read> {
    match sorting {
        Some(sorting) => sorting.await,
        None => std::future::pending().await,
    }
}

fn every(period: Duration) -> Interval {
    let mut interval = tokio::time::interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}
