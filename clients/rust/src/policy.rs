//! Say which methods may be tried again, when, and how often: what service_config.json says.

use std::collections::HashSet;
use std::sync::LazyLock;
use std::time::Duration;

use serde::Deserialize;
use tonic::Code;

use crate::proto;

/// The policy of all finesieve clients: the same file stands in each.
static POLICY: LazyLock<RetryPolicy> =
    LazyLock::new(|| RetryPolicy::of(include_str!("../service_config.json")));

/// The stream that is not of finesieve's contract.
const HEALTH_WATCH: &str = "/grpc.health.v1.Health/Watch";

/// Tell whether a second try of a method leaves the same state and gets the same kind of answer.
pub(crate) fn is_repeatable(path: &str) -> bool {
    POLICY.paths.contains(path)
}

/// Tell whether a method sends or receives several messages.
pub(crate) fn is_stream(path: &str) -> bool {
    path == HEALTH_WATCH || proto::STREAMS.contains(&path)
}

/// Return the waits before the next tries of one call.
pub(crate) fn waits() -> Waits {
    Waits {
        policy: &POLICY,
        tries: 1,
        backoff: POLICY.initial_backoff,
    }
}

#[derive(Debug)]
struct RetryPolicy {
    paths: HashSet<String>,
    max_tries: u32,
    initial_backoff: Duration,
    max_backoff: Duration,
    multiplier: f64,
    codes: Vec<Code>,
}

impl RetryPolicy {
    /// Read a service config with one method config; panics where it is another.
    fn of(json: &str) -> Self {
        let config: ServiceConfig = serde_json::from_str(json).expect("a service config");
        let [methods] = config.method_config;
        Self {
            paths: methods
                .name
                .iter()
                .map(|name| format!("/{}/{}", name.service, name.method))
                .collect(),
            max_tries: methods.retry_policy.max_attempts,
            initial_backoff: seconds(&methods.retry_policy.initial_backoff),
            max_backoff: seconds(&methods.retry_policy.max_backoff),
            multiplier: methods.retry_policy.backoff_multiplier,
            codes: methods
                .retry_policy
                .retryable_status_codes
                .iter()
                .map(|name| match name.as_str() {
                    "UNAVAILABLE" => Code::Unavailable,
                    "RESOURCE_EXHAUSTED" => Code::ResourceExhausted,
                    _ => panic!("{name} is not known as a code to retry"),
                })
                .collect(),
        }
    }
}

fn seconds(duration: &str) -> Duration {
    let number = duration.strip_suffix('s').expect("a duration in seconds");
    Duration::from_secs_f64(number.parse().expect("a number of seconds"))
}

/// How long one call waits before it is tried again.
#[derive(Debug)]
pub(crate) struct Waits {
    policy: &'static RetryPolicy,
    tries: u32,
    backoff: Duration,
}

impl Waits {
    /// Return the wait after a try that failed with this code, and nothing where it was the last.
    ///
    /// `pushback` is the server's word: that many milliseconds, or never where it is no such number.
    pub(crate) fn next(&mut self, code: Code, pushback: Option<&str>) -> Option<Duration> {
        if self.tries == self.policy.max_tries || !self.policy.codes.contains(&code) {
            return None;
        }
        self.tries += 1;
        if let Some(pushback) = pushback {
            self.backoff = self.policy.initial_backoff;
            return pushback.parse().ok().map(Duration::from_millis);
        }
        let backoff = self.backoff;
        self.backoff = (backoff.mul_f64(self.policy.multiplier)).min(self.policy.max_backoff);
        // So that the clients of a server that was away do not all come back at once.
        Some(backoff.mul_f64(0.8 + 0.4 * fastrand::f64()))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ServiceConfig {
    method_config: [MethodConfig; 1],
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MethodConfig {
    name: Vec<Name>,
    retry_policy: RetryPolicyFile,
}

#[derive(Deserialize)]
struct Name {
    service: String,
    method: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RetryPolicyFile {
    max_attempts: u32,
    initial_backoff: String,
    max_backoff: String,
    backoff_multiplier: f64,
    retryable_status_codes: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reads_is_repeatable_and_what_creates_is_not() {
        assert!(is_repeatable("/finesieve.v1.SearchService/Search"));
        assert!(!is_repeatable(
            "/finesieve.v1.RetrievalService/CreateCollection"
        ));
    }

    #[test]
    fn no_stream_is_repeatable() {
        for path in proto::STREAMS {
            assert!(!is_repeatable(path), "{path}");
        }
    }

    #[test]
    fn waits_double_and_end_after_the_fourth_try() {
        let mut waits = waits();

        for expected_s in [0.2, 0.4, 0.8] {
            let wait = waits.next(Code::Unavailable, None).expect("another try");
            let share = wait.as_secs_f64() / expected_s;
            assert!((0.8..=1.2).contains(&share), "{wait:?}");
        }
        assert_eq!(waits.next(Code::Unavailable, None), None);
    }

    #[test]
    fn the_servers_word_comes_before_the_backoff() {
        let mut waits = waits();

        let wait = waits.next(Code::ResourceExhausted, Some("1500"));

        assert_eq!(wait, Some(Duration::from_millis(1500)));
    }

    #[test]
    fn a_server_that_says_never_is_obeyed() {
        for pushback in ["-1", "soon", ""] {
            assert_eq!(waits().next(Code::Unavailable, Some(pushback)), None);
        }
    }

    #[test]
    fn an_error_of_the_caller_is_not_tried_again() {
        assert_eq!(waits().next(Code::InvalidArgument, None), None);
    }
}
