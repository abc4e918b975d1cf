//! Read what a stream answers.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio_stream::{Stream, StreamExt};
use tonic::{Response, Status, Streaming};

use crate::error::Error;

type Opening<T> = Pin<Box<dyn Future<Output = Result<Response<Streaming<T>>, Status>> + Send>>;

/// The answers of one stream; dropping it cancels the stream.
///
/// Nothing is sent before the first answer is asked for.
#[must_use = "nothing is sent before the first answer is asked for"]
pub struct Responses<T>(State<T>);

enum State<T> {
    Opening(Opening<T>),
    Open(Box<Streaming<T>>),
    Over,
}

impl<T> Responses<T> {
    pub(crate) fn of(
        opening: impl Future<Output = Result<Response<Streaming<T>>, Status>> + Send + 'static,
    ) -> Self {
        Self(State::Opening(Box::pin(opening)))
    }

    /// Return the next answer, and none where the stream has ended well.
    pub async fn message(&mut self) -> Result<Option<T>, Error> {
        self.next().await.transpose()
    }
}

impl<T> Stream for Responses<T> {
    type Item = Result<T, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let answer = match &mut self.0 {
                State::Opening(opening) => match ready!(opening.as_mut().poll(context)) {
                    Ok(response) => {
                        self.0 = State::Open(Box::new(response.into_inner()));
                        continue;
                    }
                    Err(status) => Some(Err(status)),
                },
                State::Open(answers) => ready!(Pin::new(answers.as_mut()).poll_next(context)),
                State::Over => None,
            };
            if !matches!(answer, Some(Ok(_))) {
                self.0 = State::Over;
            }
            return Poll::Ready(answer.map(|answer| answer.map_err(Error::from)));
        }
    }
}

impl<T> std::fmt::Debug for Responses<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = match self.0 {
            State::Opening(_) => "opening",
            State::Open(_) => "open",
            State::Over => "over",
        };
        f.debug_tuple("Responses").field(&state).finish()
    }
}
