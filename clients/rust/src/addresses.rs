//! Keep a connection to each address of the server's name, and let calls take turns over them.
//!
//! tonic's own balancing knows a list of addresses, but goes on giving calls to those which do not
//! answer. Here an address gets calls while it is connected.

use std::collections::BTreeSet;
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
use tokio::time::timeout;
use tonic::body::Body;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tower_service::Service;

use crate::calls::Answer;
use crate::cancel;
use crate::deadline::Deadline;
use crate::target::Target;
use crate::wire;

/// How often the name is looked up again, and how often while an address does not answer.
const REFRESH: Duration = Duration::from_secs(30);
const REFRESH_INCOMPLETE: Duration = Duration::from_secs(2);

/// A connection to one address.
#[derive(Clone, Debug)]
struct Lane {
    address: SocketAddr,
    /// Tells it from an earlier connection to the same address.
    number: usize,
    channel: Channel,
}

/// What is known of the addresses now.
#[derive(Debug, Default)]
struct View {
    lanes: Vec<Lane>,
    /// How often all addresses were tried.
    rounds: usize,
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
        let view = watch::Sender::default();
        let (wanted, asked) = mpsc::channel(1);
        let keeper = Keeper {
            target,
            endpoint,
            view: view.clone(),
            made: 0,
        };
        tokio::spawn(keeper.keep(asked));
        Self {
            view,
            wanted,
            turn: Arc::default(),
        }
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

    /// Wait for a connection, for as long as it takes to try every address once.
    async fn next_lane(&self) -> Result<Lane, Status> {
        let mut views = self.view.subscribe();
        let rounds_before = views.borrow().rounds;
        loop {
            {
                let view = views.borrow_and_update();
                if !view.lanes.is_empty() {
                    let turn = self.turn.fetch_add(1, Ordering::Relaxed);
                    return Ok(view.lanes[turn % view.lanes.len()].clone());
                }
                if view.rounds > rounds_before
                    && let Some(failure) = &view.failure
                {
                    return Err(failure.clone());
                }
            }
            // Where it is full, the keeper knows already.
            let _ = self.wanted.try_send(());
            views.changed().await.expect("the sender is in self");
        }
    }

    fn lose(&self, number: usize) {
        self.view
            .send_modify(|view| view.lanes.retain(|lane| lane.number != number));
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
    /// Connections made so far.
    made: usize,
}

impl Keeper {
    async fn keep(mut self, mut asked: mpsc::Receiver<()>) {
        let mut go_on = asked.recv().await.is_some();
        while go_on {
            let pause = match self.connect_all().await {
                Ok(()) => REFRESH,
                Err(_) if self.view.borrow().lanes.is_empty() => REFRESH,
                Err(_) => REFRESH_INCOMPLETE,
            };
            // A pause that ends by itself is as good as being asked.
            go_on = !matches!(timeout(pause, asked.recv()).await, Ok(None));
        }
    }

    /// Look the name up, connect to what is not connected, forget what is no address any more.
    async fn connect_all(&mut self) -> Result<(), Status> {
        let result = match self.resolve().await {
            Ok(addresses) => self.connect(addresses).await,
            Err(status) => Err(status),
        };
        self.view.send_modify(|view| {
            view.rounds += 1;
            view.failure = result.clone().err();
        });
        result
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
        let mut missing = JoinSet::new();
        self.view.send_modify(|view| {
            view.lanes.retain(|lane| addresses.contains(&lane.address));
            for address in addresses {
                if view.lanes.iter().all(|lane| lane.address != address) {
                    missing.spawn(open(address, self.endpoint.clone()));
                }
            }
        });
        let mut result = Ok(());
        while let Some(opened) = missing.join_next().await {
            match opened.expect("opening a connection does not panic") {
                Ok((address, channel)) => {
                    self.made += 1;
                    let number = self.made;
                    let lane = Lane {
                        address,
                        number,
                        channel,
                    };
                    self.view.send_modify(|view| view.lanes.push(lane));
                }
                Err(status) => result = Err(status),
            }
        }
        result
    }
}

async fn open(address: SocketAddr, endpoint: Endpoint) -> Result<(SocketAddr, Channel), Status> {
    let channel = endpoint.connect_with_connector(Dial(address)).await;
    let channel = channel.map_err(|error| {
        let status = wire::status_of(&error);
        Status::unavailable(format!("{address}: {}", status.message()))
    })?;
    Ok((address, channel))
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
