//! Give every call its token and its deadline, whatever carries it then.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderValue};
use http::{Request, Response};
use tonic::Status;
use tonic::body::Body;
use tower_layer::Layer;
use tower_service::Service;

use crate::deadline::Deadline;
use crate::policy;

/// The answer to come of one call.
pub(crate) type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Status>> + Send>>;

/// A tower service that carries gRPC calls and is always ready for another.
pub(crate) trait Carrier: Clone + Send + 'static {
    /// Make one call.
    fn carry(self, request: Request<Body>) -> Answer;
}

impl<S> Carrier for S
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Status, Future = Answer>
        + Clone
        + Send
        + 'static,
{
    fn carry(mut self, request: Request<Body>) -> Answer {
        self.call(request)
    }
}

/// Makes [`Calls`].
#[derive(Clone, Debug)]
pub(crate) struct CallLayer {
    /// What every call carries.
    pub(crate) authorization: Option<HeaderValue>,
    /// How long calls may take that do not say so themselves. Streams may take for ever.
    pub(crate) timeout: Duration,
}

impl<S> Layer<S> for CallLayer {
    type Service = Calls<S>;

    fn layer(&self, inner: S) -> Calls<S> {
        Calls {
            inner,
            layer: self.clone(),
        }
    }
}

/// A channel whose calls have a token and a deadline.
#[derive(Clone, Debug)]
pub(crate) struct Calls<S> {
    inner: S,
    layer: CallLayer,
}

impl<S: Carrier> Service<Request<Body>> for Calls<S> {
    type Response = Response<Body>;
    type Error = Status;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Answer {
        if let Some(authorization) = self.layer.authorization.clone() {
            request.headers_mut().insert(AUTHORIZATION, authorization);
        }
        let is_stream = policy::is_stream(request.uri().path());
        let default = (!is_stream).then_some(self.layer.timeout);
        let deadline = Deadline::of(&mut request, default);
        let answer = self.inner.clone().carry(request);
        match deadline {
            Some(deadline) => Box::pin(deadline.keep(answer)),
            None => answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{Fake, answer, request};
    use http::{HeaderMap, Uri};
    use tonic::Code;

    fn calls(delay: Duration) -> (Calls<Fake>, Fake) {
        let fake = Fake::new([Ok(answer(&[]))], delay);
        let layer = CallLayer {
            authorization: Some(HeaderValue::from_static("Bearer secret")),
            timeout: Duration::from_secs(30),
        };
        (layer.layer(fake.clone()), fake)
    }

    async fn headers(request: Request<Body>) -> HeaderMap {
        let (calls, fake) = calls(Duration::ZERO);
        calls.carry(request).await.unwrap();
        fake.asked().remove(0).0
    }

    #[tokio::test(start_paused = true)]
    async fn every_call_bears_the_token() {
        let headers = headers(request("SearchService/Search", b"")).await;

        assert_eq!(headers[AUTHORIZATION], "Bearer secret");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_has_the_clients_deadline() {
        let headers = headers(request("SearchService/Search", b"")).await;

        assert_eq!(headers["grpc-timeout"], "30000000u");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_may_have_a_deadline_of_its_own() {
        for method in ["SearchService/Search", "RerankService/StreamRerank"] {
            let mut request = request(method, b"");
            let own = HeaderValue::from_static("90000000n");
            request.headers_mut().insert("grpc-timeout", own);

            assert_eq!(headers(request).await["grpc-timeout"], "90000u");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_may_take_for_ever() {
        let headers = headers(request("RerankService/StreamRerank", b"")).await;

        assert!(!headers.contains_key("grpc-timeout"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_is_watched_for_ever() {
        let mut watch = request("", b"");
        *watch.uri_mut() = Uri::from_static("http://server/grpc.health.v1.Health/Watch");

        assert!(!headers(watch).await.contains_key("grpc-timeout"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_answer_is_not_waited_for() {
        let (calls, _) = calls(Duration::from_secs(31));

        let status = calls
            .carry(request("SearchService/Search", b""))
            .await
            .unwrap_err();

        assert_eq!(status.code(), Code::DeadlineExceeded);
    }
}
