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
