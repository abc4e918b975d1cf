//! Say what went wrong with a call, with all that the server told.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::proto::Failure;

const REQUEST_ID: &str = "x-request-id";

/// A call, or one item of it, that the server did not answer as asked.
///
/// Its source is the [`Status`] that gRPC has for it.
#[derive(Clone, Debug)]
pub struct Error {
    inner: Box<Inner>,
}

#[derive(Clone, Debug)]
struct Inner {
    reason: String,
    metadata: HashMap<String, String>,
    violations: Vec<Violation>,
    retry_delay: Option<Duration>,
    request_id: String,
    status: Status,
}

/// One field at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its path, such as `passages[3].id`.
    pub field: String,
    /// What is wrong with it.
    pub description: String,
}

impl Error {
    /// Whose fault it is, roughly: what gRPC knows of it.
    pub fn code(&self) -> Code {
        self.inner.status.code()
    }

    /// What went wrong, for programs: stable and in UPPER_SNAKE. Empty where no server said so.
    pub fn reason(&self) -> &str {
        &self.inner.reason
    }

    /// What went wrong, for people.
    pub fn message(&self) -> &str {
        self.inner.status.message()
    }

    /// The values that the message speaks of.
    pub fn metadata(&self) -> &HashMap<String, String> {
        &self.inner.metadata
    }

    /// Which fields of the request are wrong.
    pub fn violations(&self) -> &[Violation] {
        &self.inner.violations
    }

    /// When to try again, where waiting helps.
    pub fn retry_delay(&self) -> Option<Duration> {
        self.inner.retry_delay
    }

    /// What to quote when reporting a fault of the server.
    pub fn request_id(&self) -> &str {
        &self.inner.request_id
    }

    /// What gRPC has for it, with all its metadata.
    pub fn status(&self) -> &Status {
        &self.inner.status
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.code())?;
        if !self.reason().is_empty() {
            write!(f, " ({})", self.reason())?;
        }
        write!(f, ": {}", self.message())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.inner.status)
    }
}

/// The status of a call, with what its details tell.
impl From<Status> for Error {
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        let (reason, metadata) = match details.error_info() {
            Some(info) => (info.reason.clone(), info.metadata.clone()),
            None => Default::default(),
        };
        let violations = details
            .bad_request()
            .into_iter()
            .flat_map(|bad| &bad.field_violations);
        let request_id = match details.request_info() {
            Some(info) => info.request_id.clone(),
            None => header(&status, REQUEST_ID),
        };
        let inner = Inner {
            reason,
            metadata,
            violations: violations
                .map(|violation| Violation {
                    field: violation.field.clone(),
                    description: violation.description.clone(),
                })
                .collect(),
            retry_delay: details.retry_info().and_then(|retry| retry.retry_delay),
            request_id,
            status,
        };
        Self {
            inner: Box::new(inner),
        }
    }
}

fn header(status: &Status, name: &str) -> String {
    let value = status.metadata().get(name);
    value
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_owned()
}

/// The failure of one item of a call that itself went on.
impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let violation = Violation {
            field: failure.field,
            description: failure.message.clone(),
        };
        let inner = Inner {
            reason: failure.reason,
            metadata: HashMap::new(),
            violations: Some(violation)
                .filter(|it| !it.field.is_empty())
                .into_iter()
                .collect(),
            retry_delay: failure.retry_delay.and_then(|delay| delay.try_into().ok()),
            request_id: String::new(),
            status: Status::new(Code::from_i32(failure.code), failure.message),
        };
        Self {
            inner: Box::new(inner),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic_types::ErrorDetails;

    #[test]
    fn an_error_tells_all_that_the_server_told() {
        let mut details = ErrorDetails::new();
        details
            .set_error_info(
                "EMPTY_FIELD",
                "finesieve.dev",
                [("limit".into(), "3".into())],
            )
            .add_bad_request_violation("query", "is empty")
            .set_retry_info(Some(Duration::from_millis(1500)))
            .set_request_info("r1", "");
        let status = Status::with_error_details(Code::InvalidArgument, "no query", details);

        let error = Error::from(status);

        assert_eq!(error.to_string(), "InvalidArgument (EMPTY_FIELD): no query");
        assert_eq!(error.metadata()["limit"], "3");
        let violation = Violation {
            field: "query".into(),
            description: "is empty".into(),
        };
        assert_eq!(error.violations(), [violation]);
        assert_eq!(error.retry_delay(), Some(Duration::from_millis(1500)));
        assert_eq!(error.request_id(), "r1");
    }

    #[test]
    fn the_request_id_may_be_a_trailer() {
        let mut status = Status::internal("a fault");
        status
            .metadata_mut()
            .insert(REQUEST_ID, "r2".parse().unwrap());

        assert_eq!(Error::from(status).request_id(), "r2");
    }

    #[test]
    fn details_that_are_garbage_do_not_hide_the_error() {
        let status = Status::with_details(Code::NotFound, "gone", vec![0xff; 9].into());

        assert_eq!(Error::from(status).to_string(), "NotFound: gone");
    }

    #[test]
    fn the_failure_of_one_item_is_an_error_too() {
        let failure = Failure {
            code: Code::ResourceExhausted.into(),
            reason: "OVERLOADED".into(),
            message: "no room".into(),
            field: "documents[2]".into(),
            retry_delay: Some(prost_types::Duration {
                seconds: 2,
                nanos: 0,
            }),
        };

        let error = Error::from(failure);

        assert_eq!(error.to_string(), "ResourceExhausted (OVERLOADED): no room");
        assert_eq!(error.violations()[0].field, "documents[2]");
        assert_eq!(error.retry_delay(), Some(Duration::from_secs(2)));
    }
}
