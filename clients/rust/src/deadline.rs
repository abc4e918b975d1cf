//! Keep the deadline of a call: tell the server, and end the call where the answer is late.
//!
//! tonic ends a late call only until the headers of its answer are there, and as CANCELLED.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep};
use tonic::Status;
use tonic::body::Body;

use crate::calls::Answer;

const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// The moment after which nobody waits for the answer any more; travels in a request's extensions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    /// Return the deadline that a request brings along or else, where there is one, the default.
    pub(crate) fn of(request: &mut Request<Body>, default: Option<Duration>) -> Option<Self> {
        let asked = request.headers_mut().remove(TIMEOUT);
        let timeout = asked
            .and_then(|value| parse(value.to_str().ok()?))
            .or(default)?;
        let deadline = Self(Instant::now().checked_add(timeout)?);
        request.extensions_mut().insert(deadline);
        Some(deadline)
    }

    /// Tell the server how much of it is left, just before the request leaves.
    pub(crate) fn announce(request: &mut Request<Body>) {
        if let Some(Self(end)) = request.extensions().get().copied() {
            let left = end.saturating_duration_since(Instant::now());
            request.headers_mut().insert(TIMEOUT, written(left));
        }
    }

    /// Wait for the answer, its body included, until then and no longer.
    pub(crate) async fn keep(self, answer: Answer) -> Result<Response<Body>, Status> {
        let answer = tokio::time::timeout_at(self.0, answer).await;
        let answer = answer.unwrap_or_else(|_| Err(exceeded()))?;
        Ok(answer.map(|inner| {
            Body::new(Timed {
                inner,
                end: Box::pin(tokio::time::sleep_until(self.0)),
            })
        }))
    }
}

pub(crate) fn exceeded() -> Status {
    Status::deadline_exceeded("the deadline came before the answer")
}

/// Read a timeout as gRPC writes it: at most eight digits and a unit.
fn parse(timeout: &str) -> Option<Duration> {
    let (number, unit) = timeout.split_at_checked(timeout.len().checked_sub(1)?)?;
    let number = number.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

/// Write a timeout as gRPC reads it, rounded down.
fn written(timeout: Duration) -> HeaderValue {
    const DIGITS: u128 = 100_000_000;
    let text = if timeout.as_micros() < DIGITS {
        format!("{}u", timeout.as_micros().max(1)) // 0 is none that gRPC reads
    } else if timeout.as_millis() < DIGITS {
        format!("{}m", timeout.as_millis())
    } else {
        format!("{}S", u128::from(timeout.as_secs()).min(DIGITS - 1))
    };
    HeaderValue::try_from(text).expect("digits and a letter")
}

/// The body of an answer that must be whole by the deadline.
struct Timed {
    inner: Body,
    end: Pin<Box<Sleep>>,
}

impl HttpBody for Timed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        // First of all: there may always be something to read.
        if !self.inner.is_end_stream() && self.end.as_mut().poll(context).is_ready() {
            self.inner = Body::empty(); // the server hears that the call is over
            return Poll::Ready(Some(Err(exceeded())));
        }
        Pin::new(&mut self.inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt, Channel};
    use tonic::Code;

    #[test]
    fn a_timeout_is_read_as_it_was_written() {
        for (timeout, text) in [
            (Duration::ZERO, "1u"),
            (Duration::from_micros(1), "1u"),
            (Duration::from_secs(99), "99000000u"),
            (Duration::from_secs(100), "100000m"),
            (Duration::from_secs(86_400), "86400000m"),
            (Duration::from_secs(1_000_000), "1000000S"),
            (Duration::MAX, "99999999S"),
        ] {
            assert_eq!(written(timeout), text);
        }
        for (text, timeout) in [
            ("2H", Duration::from_secs(7_200)),
            ("2M", Duration::from_secs(120)),
            ("2S", Duration::from_secs(2)),
            ("2m", Duration::from_millis(2)),
            ("2u", Duration::from_micros(2)),
            ("2n", Duration::from_nanos(2)),
        ] {
            assert_eq!(parse(text), Some(timeout));
        }
        for text in ["", "2", "S", "-2S", "2\u{b5}"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_has_begun_must_end_in_time_too() {
        let (_unfinished, body) = Channel::<Bytes, Status>::new(1);
        let deadline = Deadline(Instant::now() + Duration::from_secs(1));
        let begun = Box::pin(async { Ok(Response::new(Body::new(body))) });

        let answer = deadline.keep(begun).await.unwrap();
        let status = answer.into_body().collect().await.unwrap_err();

        assert_eq!(status.code(), Code::DeadlineExceeded);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_never_pauses_must_end_in_time_too() {
        let (mut sender, body) = Channel::<Bytes, Status>::new(2);
        sender.send_data(Bytes::from_static(b"more")).await.unwrap();
        sender.send_data(Bytes::from_static(b"more")).await.unwrap();
        let deadline = Deadline(Instant::now() + Duration::from_secs(1));
        let begun = Box::pin(async { Ok(Response::new(Body::new(body))) });
        let mut answer = deadline.keep(begun).await.unwrap().into_body();

        answer.frame().await.unwrap().unwrap();
        tokio::time::advance(Duration::from_secs(2)).await;

        let status = answer.frame().await.unwrap().unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert!(answer.frame().await.is_none());
    }
}
