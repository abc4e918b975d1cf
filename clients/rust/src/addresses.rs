//! Keep a connection to each address of the server's name, and let calls take turns over them.
//!
//! tonic's own balancing knows a list of addresses, but goes on giving calls to those which do not
//! answer. Here an address gets calls while it is connected.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tonic::body::Body;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tower_service::Service;

use crate::calls::Answer;
use crate::cancel;
use crate::deadline::Deadline;
use crate::target::Target;
use crate::wire;

/// How often the name is looked up again.
const REFRESH: Duration = Duration::from_secs(30);
/// How long an address that did not answer is left alone: each time longer, up to REFRESH.
const FIRST_REST: Duration = Duration::from_secs(1);
const REST_GROWTH: f64 = 1.6;

/// A connection to one address.
#[derive(Clone, Debug)]
struct Lane {
    address: SocketAddr,
    /// Tells it from an earlier connection to the same address.
    number: usize,
    channel: Channel,
}

/// An address that did not answer is left alone until then.
#[derive(Debug)]
struct Rest {
    until: Instant,
    length: Duration,
    failure: Status,
}

/// What is known of the addresses now.
#[derive(Debug, Default)]
struct View {
    lanes: Vec<Lane>,
    /// How often all addresses were about to be tried, and how often they were.
    rounds_begun: usize,
    rounds_ended: usize,
    /// What the last round met with where it could not connect.
    failure: Option<Status>,
}

/// A channel to all addresses of a name. Nothing is sent before the first call.
#[derive(Clone, Debug)]
pub(crate) struct Addresses {
    view: watch::Sender<View>,
    wanted: mpsc::Sender<()>,
    turn: Arc<AtomicUsize>,
}

impl Addresses {
    /// Look after the addresses of a target until the last clone of what is returned is dropped.
    ///
    /// `endpoint` says how each is spoken to. Panics outside a Tokio runtime.
    pub(crate) fn of(target: Target, endpoint: Endpoint) -> Self {
        let (addresses, keeper, asked) = Self::kept(target, endpoint);
        tokio::spawn(keeper.keep(asked));
        addresses
    }

    /// Return the addresses, and what is to look after them when it is asked to.
    fn kept(target: Target, endpoint: Endpoint) -> (Self, Keeper, mpsc::Receiver<()>) {
        let (wanted, asked) = mpsc::channel(1);
        let addresses = Self {
            view: watch::Sender::default(),
            wanted,
            turn: Arc::default(),
        };
        let keeper = Keeper {
            target,
            endpoint,
            view: addresses.view.clone(),
            resting: HashMap::new(),
            made: 0,
        };
        (addresses, keeper, asked)
    }

    async fn carry(self, mut request: Request<Body>) -> Result<Response<Body>, Status> {
        let mut lane = self.next_lane().await?;
        Deadline::announce(&mut request);
        let (request, reader) = cancel::tie(request);
        let answer = async {
            std::future::poll_fn(|context| lane.channel.poll_ready(context)).await?;
            lane.channel.call(request).await
        };
        match answer.await {
            Ok(answer) => wire::readable(answer, reader),
            Err(error) => {
                let status = wire::status_of(&error);
                if status.code() == Code::Unavailable {
                    self.lose(lane.number);
                }
                Err(status)
            }
        }
    }

    /// Wait for a connection, for as long as it takes to try every address once from now on.
    async fn next_lane(&self) -> Result<Lane, Status> {
        let mut views = self.view.subscribe();
        let round = views.borrow().rounds_begun + 1;
        loop {
            {
                let view = views.borrow_and_update();
                if !view.lanes.is_empty() {
                    let turn = self.turn.fetch_add(1, Ordering::Relaxed);
                    return Ok(view.lanes[turn % view.lanes.len()].clone());
                }
                if view.rounds_ended >= round {
                    let failure = view.failure.clone();
                    return Err(failure.unwrap_or_else(|| Status::unavailable("connection lost")));
                }
                if view.rounds_begun < round {
                    self.ask();
                }
            }
            tokio::select! {
                changed = views.changed() => changed.expect("the sender is in self"),
                () = self.wanted.closed() => {
                    return Err(Status::unavailable("the client's Tokio runtime has ended"));
                }
            }
        }
    }

    fn lose(&self, number: usize) {
        self.view
            .send_modify(|view| view.lanes.retain(|lane| lane.number != number));
        self.ask();
    }

    /// Ask for a round; where one is asked for already, it will do.
    fn ask(&self) {
        let _ = self.wanted.try_send(());
    }
}

impl Service<Request<Body>> for Addresses {
    type Response = Response<Body>;
    type Error = Status;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Answer {
        Box::pin(self.clone().carry(request))
    }
}

/// What looks after the connections.
struct Keeper {
    target: Target,
    endpoint: Endpoint,
    view: watch::Sender<View>,
    resting: HashMap<SocketAddr, Rest>,
    /// Connections made so far.
    made: usize,
}

impl Keeper {
    async fn keep(mut self, mut asked: mpsc::Receiver<()>) {
        let mut go_on = asked.recv().await.is_some();
        while go_on {
            self.connect_all().await;
            // A pause that ends by itself is as good as being asked.
            go_on = !matches!(timeout(self.pause(), asked.recv()).await, Ok(None));
        }
    }

    /// Return how long there is nothing to do unless a call asks for it.
    fn pause(&self) -> Duration {
        if self.view.borrow().lanes.is_empty() {
            return REFRESH; // the next call asks
        }
        let ends = self.resting.values().map(|rest| rest.until);
        let now = Instant::now();
        ends.map(|end| end.saturating_duration_since(now))
            .fold(REFRESH, Duration::min)
    }

    /// Look the name up, connect to what is not connected, forget what is no address any more.
    async fn connect_all(&mut self) {
        self.view.send_modify(|view| view.rounds_begun += 1);
        let result = match self.resolve().await {
            Ok(addresses) => self.connect(addresses).await,
            Err(status) => Err(status),
        };
        self.view.send_modify(|view| {
            view.rounds_ended += 1;
            view.failure = result.err();
        });
    }

    async fn resolve(&self) -> Result<BTreeSet<SocketAddr>, Status> {
        let name = (self.target.host.as_str(), self.target.port);
        match lookup_host(name).await {
            Ok(addresses) => Ok(addresses.collect()),
            Err(error) => Err(Status::unavailable(format!(
                "{}: {error}",
                self.target.host
            ))),
        }
    }

    async fn connect(&mut self, addresses: BTreeSet<SocketAddr>) -> Result<(), Status> {
        let mut result = Ok(());
        let mut missing = JoinSet::new();
        let now = Instant::now();
        self.resting
            .retain(|address, _| addresses.contains(address));
        self.view.send_modify(|view| {
            view.lanes.retain(|lane| addresses.contains(&lane.address));
            for address in addresses {
                if view.lanes.iter().any(|lane| lane.address == address) {
                    continue;
                }
                match self.resting.get(&address) {
                    Some(rest) if now < rest.until => result = Err(rest.failure.clone()),
                    _ => {
                        missing.spawn(open(address, self.endpoint.clone()));
                    }
                }
            }
        });
        while let Some(opened) = missing.join_next().await {
            match opened.expect("opening a connection does not panic") {
                (address, Ok(channel)) => {
                    self.resting.remove(&address);
                    self.made += 1;
                    let number = self.made;
                    let lane = Lane {
                        address,
                        number,
                        channel,
                    };
                    self.view.send_modify(|view| view.lanes.push(lane));
                }
                (address, Err(failure)) => {
                    self.rest(address, failure.clone());
                    result = Err(failure);
                }
            }
        }
        result
    }

    fn rest(&mut self, address: SocketAddr, failure: Status) {
        let length = self.resting.get(&address).map_or(FIRST_REST, |last| {
            last.length.mul_f64(REST_GROWTH).min(REFRESH)
        });
        let until = Instant::now() + length;
        let rest = Rest {
            until,
            length,
            failure,
        };
        self.resting.insert(address, rest);
    }
}

async fn open(address: SocketAddr, endpoint: Endpoint) -> (SocketAddr, Result<Channel, Status>) {
    let channel = endpoint.connect_with_connector(Dial(address)).await;
    let channel = channel.map_err(|error| {
        let status = wire::status_of(&error);
        Status::unavailable(format!("{address}: {}", status.message()))
    });
    (address, channel)
}

/// Connects to this address, whatever the name.
struct Dial(SocketAddr);

impl Service<Uri> for Dial {
    type Response = TokioIo<TcpStream>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), std::io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let address = self.0;
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(TokioIo::new(stream))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::request;
    use tokio::net::TcpListener;

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    async fn closed() -> SocketAddr {
        listener().await.1
    }

    fn kept(port: u16) -> (Addresses, Keeper) {
        let host = "127.0.0.1".to_owned();
        let endpoint = Endpoint::from_static("http://name");
        let (addresses, keeper, _) = Addresses::kept(Target { host, port }, endpoint);
        (addresses, keeper)
    }

    async fn turns(addresses: &Addresses, count: usize) -> Vec<SocketAddr> {
        let mut turns = Vec::new();
        for _ in 0..count {
            turns.push(addresses.next_lane().await.unwrap().address);
        }
        turns
    }

    #[tokio::test]
    async fn calls_take_turns_over_the_addresses_that_answer() {
        let ((_one, one), (_two, two), none) = (listener().await, listener().await, closed().await);
        let (addresses, mut keeper) = kept(1);

        let status = keeper.connect([one, two, none].into()).await.unwrap_err();

        assert!(status.message().contains(&none.to_string()), "{status}");
        let turns = turns(&addresses, 4).await;
        assert_eq!(turns[..2], turns[2..]);
        assert_eq!(BTreeSet::from_iter(turns), [one, two].into());
    }

    #[tokio::test]
    async fn a_lost_address_is_out_of_turn_until_it_is_connected_again() {
        let ((_one, one), (_two, two)) = (listener().await, listener().await);
        let (addresses, mut keeper) = kept(1);
        keeper.connect([one, two].into()).await.unwrap();

        let lost = addresses.next_lane().await.unwrap();
        addresses.lose(lost.number);

        assert!(!turns(&addresses, 2).await.contains(&lost.address));
        keeper.connect([one, two].into()).await.unwrap();
        addresses.lose(lost.number); // of an earlier connection
        assert!(turns(&addresses, 2).await.contains(&lost.address));
    }

    #[tokio::test]
    async fn an_address_that_the_name_has_no_more_is_forgotten() {
        let ((_one, one), (_two, two)) = (listener().await, listener().await);
        let (addresses, mut keeper) = kept(1);
        keeper.connect([one, two].into()).await.unwrap();

        keeper.connect([two].into()).await.unwrap();

        assert_eq!(turns(&addresses, 2).await, [two, two]);
    }

    #[tokio::test]
    async fn where_no_address_answers_the_call_fails_once_all_were_tried() {
        let none = closed().await;
        let (_, keeper) = kept(none.port());
        let mut addresses = Addresses::of(keeper.target, keeper.endpoint);

        for _ in 0..2 {
            let call = addresses.call(request("SearchService/Search", b""));
            let status = call.await.unwrap_err();

            assert_eq!(status.code(), Code::Unavailable);
            assert!(status.message().contains(&none.to_string()), "{status}");
        }
    }

    #[test]
    fn where_the_clients_runtime_has_ended_calls_fail() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        for is_connected in [false, true] {
            let [first, other] = [(); 2].map(|()| tokio::runtime::Runtime::new().unwrap());
            let mut addresses = first.block_on(async {
                let (_, keeper) = kept(address.port());
                let addresses = Addresses::of(keeper.target, keeper.endpoint);
                if is_connected {
                    addresses.next_lane().await.unwrap();
                }
                addresses
            });
            drop(first);

            let status = other.block_on(async {
                let call = addresses.call(request("SearchService/Search", b""));
                let answer = timeout(Duration::from_secs(5), call).await;
                answer.expect("it does not hang").unwrap_err()
            });

            assert_eq!(status.code(), Code::Unavailable, "{status}");
        }
    }

    #[tokio::test]
    async fn a_call_that_waits_when_the_clients_runtime_ends_fails() {
        let host = "127.0.0.1".to_owned();
        let endpoint = Endpoint::from_static("http://name");
        let (addresses, _keeper, asked) = Addresses::kept(Target { host, port: 1 }, endpoint);

        let (waiting, ()) = tokio::join!(addresses.next_lane(), async { drop(asked) });

        assert!(waiting.unwrap_err().message().contains("runtime has ended"));
    }

    #[tokio::test]
    async fn an_address_that_does_not_answer_is_left_alone_longer_each_time() {
        let none = closed().await;
        let (_, mut keeper) = kept(none.port());
        keeper.connect([none].into()).await.unwrap_err();
        let _back = TcpListener::bind(none).await.unwrap();

        let status = keeper.connect([none].into()).await.unwrap_err();

        assert!(status.message().contains(&none.to_string()), "{status}");
        for seconds in [1.6, 2.56, 4.096] {
            keeper.rest(none, status.clone());
            assert_eq!(keeper.resting[&none].length.as_secs_f64(), seconds);
        }
        (0..9).for_each(|_| keeper.rest(none, status.clone()));
        assert_eq!(keeper.resting[&none].length, REFRESH);
    }

    #[tokio::test]
    async fn a_server_that_comes_back_is_found_once_it_is_tried_again() {
        let (listener, address) = listener().await;
        drop(listener);
        let (_, keeper) = kept(address.port());
        let addresses = Addresses::of(keeper.target, keeper.endpoint);
        addresses.next_lane().await.unwrap_err();

        let _back = TcpListener::bind(address).await.unwrap();
        tokio::time::sleep(FIRST_REST).await;

        assert_eq!(turns(&addresses, 1).await, [address]);
    }
}
