//! Turn what the transport reports into the status that gRPC has for it.
//!
//! tonic says UNKNOWN of most failures of a connection, and panics where error details are not
//! base64. Here a lost connection is UNAVAILABLE, as with other gRPC clients, and bad details go.

use std::error::Error as StdError;
use std::pin::Pin;
use std::task::{Context, Poll};

use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine, alphabet};
use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, Response, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::body::Body;
use tonic::{Code, Status, TimeoutExpired};

use crate::cancel::Reader;

const STATUS: &str = "grpc-status";
const DETAILS: &str = "grpc-status-details-bin";
/// What tonic decodes details with: servers may pad them or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Return the status of a call that the transport could not carry.
pub(crate) fn status_of(error: &(dyn StdError + 'static)) -> Status {
    let mut message = error.to_string();
    let mut code = Code::Unavailable;
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<TimeoutExpired>() {
            code = Code::DeadlineExceeded;
        } else if let Some(h2) = error.downcast_ref::<h2::Error>() {
            code = code_of_reset(h2);
        }
        let detail = error.to_string();
        if !message.contains(&detail) {
            message = format!("{message}: {detail}");
        }
        cause = error.source();
    }
    Status::new(code, message)
}

/// Return what gRPC says of a stream that the other side reset, and UNAVAILABLE of anything else.
///
/// Source: <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#errors>
fn code_of_reset(error: &h2::Error) -> Code {
    match error.reason() {
        Some(reason) if error.is_reset() => match reason {
            Reason::REFUSED_STREAM => Code::Unavailable,
            Reason::CANCEL => Code::Cancelled,
            Reason::ENHANCE_YOUR_CALM => Code::ResourceExhausted,
            Reason::INADEQUATE_SECURITY => Code::PermissionDenied,
            _ => Code::Internal,
        },
        _ => Code::Unavailable,
    }
}

/// Make an answer's failures statuses, and its status one that tonic can read.
pub(crate) fn readable(
    mut answer: Response<Body>,
    reader: Reader,
) -> Result<Response<Body>, Status> {
    drop_bad_details(answer.headers_mut());
    let ended = answer.headers().contains_key(STATUS);
    if answer.status() != StatusCode::OK && !ended {
        return Err(status_of_http(answer.status()));
    }
    Ok(answer.map(|inner| {
        Body::new(Answer {
            inner,
            ended,
            _reader: reader,
        })
    }))
}

/// Return the status of an answer from something that does not speak gRPC, such as a proxy.
///
/// Source: <https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md>
fn status_of_http(status: StatusCode) -> Status {
    let code = match status.as_u16() {
        400 => Code::Internal,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::Unimplemented,
        429 | 502..=504 => Code::Unavailable,
        _ => Code::Unknown,
    };
    Status::new(code, format!("answered with HTTP {status}"))
}

fn drop_bad_details(headers: &mut HeaderMap) {
    if let Some(details) = headers.get(DETAILS)
        && BASE64.decode(details).is_err()
    {
        headers.remove(DETAILS);
    }
}

/// The body of an answer.
struct Answer {
    inner: Body,
    /// Whether its status has come.
    ended: bool,
    _reader: Reader,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = std::task::ready!(Pin::new(&mut self.inner).poll_frame(context));
        Poll::Ready(match frame {
            Some(Ok(mut frame)) => {
                if let Some(trailers) = frame.trailers_mut() {
                    drop_bad_details(trailers);
                    self.ended = true;
                }
                Some(Ok(frame))
            }
            Some(Err(status)) => Some(Err(match status.source() {
                Some(error) => status_of(error),
                None => status,
            })),
            // hyper makes this of a stream that the server reset because it stops.
            None if !self.ended => {
                self.ended = true;
                Some(Err(Status::unavailable(
                    "the answer ended without a status",
                )))
            }
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.ended && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::answer;
    use http_body_util::BodyExt;
    use tokio::sync::oneshot;

    fn read(answer: Response<Body>) -> Result<Response<Body>, Status> {
        readable(answer, oneshot::channel().0)
    }

    #[test]
    fn details_that_are_not_base64_do_not_hide_the_status() {
        let garbage = answer(&[(STATUS, "5"), (DETAILS, "%%%")]);

        let read = read(garbage).unwrap();

        assert_eq!(
            Status::from_header_map(read.headers()).unwrap().code(),
            Code::NotFound
        );
    }

    #[test]
    fn details_are_kept_padded_or_not() {
        for details in ["CAU", "CAU="] {
            let read = read(answer(&[(STATUS, "5"), (DETAILS, details)])).unwrap();

            assert_eq!(
                Status::from_header_map(read.headers()).unwrap().details(),
                [8, 5]
            );
        }
    }

    #[tokio::test]
    async fn an_answer_without_a_status_is_a_lost_connection() {
        let read = read(answer(&[])).unwrap();

        let status = read.into_body().collect().await.unwrap_err();

        assert_eq!(status.code(), Code::Unavailable);
    }

    #[test]
    fn a_proxys_error_is_the_status_that_grpc_has_for_it() {
        let mut proxied = answer(&[]);
        *proxied.status_mut() = StatusCode::BAD_GATEWAY;

        assert_eq!(read(proxied).unwrap_err().code(), Code::Unavailable);
    }

    #[test]
    fn a_stream_that_the_server_reset_has_the_status_of_the_reset() {
        let local = h2::Error::from(Reason::REFUSED_STREAM);
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);

        assert_eq!(status_of(&local).code(), Code::Unavailable);
        assert_eq!(status_of(&refused).code(), Code::Unavailable);
        assert_eq!(status_of(&refused).message(), "connection refused");
    }
}
