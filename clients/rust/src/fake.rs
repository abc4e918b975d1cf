//! A channel for tests: it answers as it is told, and keeps what it was asked.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use tonic::Status;
use tonic::body::Body;
use tower_service::Service;

use crate::calls::Answer;
use crate::deadline::Deadline;

type Answers = VecDeque<Result<Response<Body>, Status>>;

/// What one call brought: headers, with the deadline announced, and the whole body.
pub(crate) type Asked = (HeaderMap, Bytes);

#[derive(Clone)]
pub(crate) struct Fake {
    answers: Arc<Mutex<Answers>>,
    asked: Arc<Mutex<Vec<Asked>>>,
    delay: Duration,
}

impl Fake {
    /// Answer calls with these, in this order, each after a delay.
    pub(crate) fn new(answers: impl Into<Answers>, delay: Duration) -> Self {
        let answers = Arc::new(Mutex::new(answers.into()));
        let asked = Arc::default();
        Self {
            answers,
            asked,
            delay,
        }
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

impl Service<Request<Body>> for Fake {
    type Response = Response<Body>;
    type Error = Status;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Answer {
        let fake = self.clone();
        Box::pin(async move {
            Deadline::announce(&mut request);
            let (head, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            fake.asked.lock().unwrap().push((head.headers, body));
            tokio::time::sleep(fake.delay).await;
            fake.answers
                .lock()
                .unwrap()
                .pop_front()
                .expect("no more answers")
        })
    }
}

/// Return a call of a method, such as "SearchService/Search".
pub(crate) fn request(method: &str, body: &'static [u8]) -> Request<Body> {
    let body = http_body_util::Full::new(Bytes::from_static(body));
    let uri = format!("http://server/finesieve.v1.{method}");
    Request::builder().uri(uri).body(Body::new(body)).unwrap()
}

/// Return an answer that is nothing but headers.
pub(crate) fn answer(headers: &[(&'static str, &str)]) -> Response<Body> {
    let mut answer = Response::new(Body::empty());
    for (name, value) in headers {
        answer.headers_mut().insert(*name, value.parse().unwrap());
    }
    answer
}
