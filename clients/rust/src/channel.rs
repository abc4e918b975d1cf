//! Put together what carries calls.

use std::task::{Context, Poll};

use http::{Request, Response};
use tonic::Status;
use tonic::body::Body;
use tonic::transport::Endpoint;
use tower_layer::Layer;
use tower_service::Service;

use crate::addresses::Addresses;
use crate::calls::{Answer, CallLayer, Calls};
use crate::retry::{Retries, RetryLayer};
use crate::target::Target;

/// What carries the calls of a [`Client`](crate::Client) and of its stubs.
///
/// It gives them token and deadline, tries again what may be tried again, and takes turns over the
/// addresses of the server's name. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Channel(Calls<Retries<Addresses>>);

impl Channel {
    pub(crate) fn new(target: Target, endpoint: Endpoint, calls: &CallLayer) -> Self {
        Self(calls.layer(RetryLayer.layer(Addresses::of(target, endpoint))))
    }
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Body>;
    type Error = Status;
    type Future = Answer;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Answer {
        self.0.call(request)
    }
}
