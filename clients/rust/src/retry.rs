//! Try calls again that may be tried again, as gRPC's own retries do where there is a service config.

use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use tonic::body::Body;
use tonic::{Code, Status};
use tower_layer::Layer;
use tower_service::Service;

use crate::calls::{Answer, Carrier};
use crate::policy;

const PUSHBACK: &str = "grpc-retry-pushback-ms";
const PREVIOUS_TRIES: &str = "grpc-previous-rpc-attempts";

/// Makes [`Retries`].
#[derive(Clone, Debug)]
pub(crate) struct RetryLayer;

impl<S> Layer<S> for RetryLayer {
    type Service = Retries<S>;

    fn layer(&self, inner: S) -> Retries<S> {
        Retries { inner }
    }
}

/// A channel that makes a repeatable call up to four times.
///
/// A call is over once an answer's headers came without a status: the rest belongs to the caller.
#[derive(Clone, Debug)]
pub(crate) struct Retries<S> {
    inner: S,
}

impl<S: Carrier> Service<Request<Body>> for Retries<S> {
    type Response = Response<Body>;
    type Error = Status;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Answer {
        let inner = self.inner.clone();
        if policy::is_repeatable(request.uri().path()) {
            Box::pin(repeat(inner, request))
        } else {
            inner.carry(request)
        }
    }
}

async fn repeat<S: Carrier>(inner: S, request: Request<Body>) -> Result<Response<Body>, Status> {
    let (head, body) = request.into_parts();
    let message = body.collect().await?.to_bytes();
    let mut waits = policy::waits();
    for previous_tries in 0.. {
        let mut request = Request::from_parts(head.clone(), body_of(&message));
        if previous_tries > 0 {
            let number = HeaderValue::from(previous_tries);
            request.headers_mut().insert(PREVIOUS_TRIES, number);
        }
        let answer = inner.clone().carry(request).await;
        let Some(wait) = failure(&answer).and_then(|(code, pushback)| waits.next(code, pushback))
        else {
            return answer;
        };
        tokio::time::sleep(wait).await;
    }
    unreachable!("the waits end")
}

fn body_of(message: &Bytes) -> Body {
    Body::new(Full::new(message.clone()))
}

/// Return code and pushback of a call that failed before it was answered.
fn failure(answer: &Result<Response<Body>, Status>) -> Option<(Code, Option<&str>)> {
    match answer {
        Err(status) => Some((status.code(), None)),
        Ok(answer) => {
            let status = answer.headers().get("grpc-status")?;
            let pushback = answer.headers().get(PUSHBACK);
            Some((
                Code::from_bytes(status.as_bytes()),
                pushback.map(|value| value.to_str().unwrap_or_default()),
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{Fake, answer, request};
    use std::time::Duration;
    use tokio::time::Instant;

    const SEARCH: &str = "SearchService/Search";
    const UNAVAILABLE: (&str, &str) = ("grpc-status", "14");

    fn retries(answers: Vec<Result<Response<Body>, Status>>) -> (Retries<Fake>, Fake) {
        let fake = Fake::new(answers, Duration::ZERO);
        (RetryLayer.layer(fake.clone()), fake)
    }

    fn status(answer: &Response<Body>) -> Option<&str> {
        answer.headers().get("grpc-status")?.to_str().ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_is_made_again_whole_until_it_is_answered() {
        let refused = || answer(&[UNAVAILABLE]);
        let lost = || Status::unavailable("lost");
        let (channel, fake) = retries(vec![Ok(refused()), Err(lost()), Ok(answer(&[]))]);

        let answer = channel.carry(request(SEARCH, b"query")).await.unwrap();

        assert_eq!(status(&answer), None);
        let tries: Vec<_> = fake
            .asked()
            .into_iter()
            .map(|(headers, body)| (headers.get(PREVIOUS_TRIES).cloned(), body))
            .collect();
        let body = Bytes::from_static(b"query");
        assert_eq!(
            tries,
            [
                (None, body.clone()),
                (Some(HeaderValue::from(1)), body.clone()),
                (Some(HeaderValue::from(2)), body),
            ]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_fourth_failure_is_the_answer() {
        let (channel, fake) = retries((0..5).map(|_| Ok(answer(&[UNAVAILABLE]))).collect());

        let answer = channel.carry(request(SEARCH, b"")).await.unwrap();

        assert_eq!(status(&answer), Some("14"));
        assert_eq!(fake.asked().len(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn the_server_says_when() {
        let busy = answer(&[("grpc-status", "8"), (PUSHBACK, "3000")]);
        let (channel, _) = retries(vec![Ok(busy), Ok(answer(&[]))]);
        let start = Instant::now();

        channel.carry(request(SEARCH, b"")).await.unwrap();

        assert_eq!(start.elapsed(), Duration::from_millis(3000));
    }

    #[tokio::test(start_paused = true)]
    async fn the_server_says_never() {
        let full = answer(&[("grpc-status", "8"), (PUSHBACK, "-1")]);
        let (channel, fake) = retries(vec![Ok(full)]);

        let answer = channel.carry(request(SEARCH, b"")).await.unwrap();

        assert_eq!(status(&answer), Some("8"));
        assert_eq!(fake.asked().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_have_been_done_is_not_done_again() {
        let (channel, fake) = retries(vec![Err(Status::unavailable("lost"))]);

        let create = request("RetrievalService/CreateCollection", b"");
        channel.carry(create).await.unwrap_err();

        assert_eq!(fake.asked().len(), 1);
    }
}
