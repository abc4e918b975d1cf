//! Stop sending a stream's requests once nobody reads its answers.
//!
//! hyper goes on to send them where an answer's body is dropped, and the server never hears of it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::Reason;
use http::Request;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::oneshot;
use tonic::Status;
use tonic::body::Body;

/// To be kept for as long as somebody waits for the answer, or reads it.
pub(crate) type Reader = oneshot::Sender<()>;

/// Tie a request to its reader: when that is dropped, what is left of the request is not sent.
pub(crate) fn tie(request: Request<Body>) -> (Request<Body>, Reader) {
    let (reader, gone) = oneshot::channel();
    let request = request.map(|inner| Body::new(Requests { inner, gone }));
    (request, reader)
}

/// The body of a request that ends with its reader.
struct Requests {
    inner: Body,
    gone: oneshot::Receiver<()>,
}

impl HttpBody for Requests {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if Pin::new(&mut self.gone).poll(context).is_ready() {
            let cancel = h2::Error::from(Reason::CANCEL); // what hyper resets the stream with
            return Poll::Ready(Some(Err(Status::from_error(Box::new(cancel)))));
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

    #[tokio::test]
    async fn requests_end_once_nobody_reads_the_answers() {
        let (_unfinished, body) = Channel::<Bytes, Status>::new(1);
        let (request, reader) = tie(Request::new(Body::new(body)));

        drop(reader);
        let status = request.into_body().collect().await.unwrap_err();

        let source = std::error::Error::source(&status).expect("what hyper looks for");
        let reset = source.downcast_ref::<h2::Error>().expect("a reset");
        assert_eq!(reset.reason(), Some(Reason::CANCEL));
    }
}
