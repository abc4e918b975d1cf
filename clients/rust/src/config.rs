//! Decide how a server is reached: its address, TLS, token, and the limits of the connection.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::HeaderValue;
use http::uri::{Scheme, Uri};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use crate::calls::CallLayer;
use crate::channel::Channel;
use crate::client::Client;
use crate::target::Target;

/// Where a server is on one's own machine.
pub const DEFAULT_TARGET: &str = "localhost:50051";
/// How long a call may take that does not say so itself.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

const USER_AGENT: &str = concat!("finesieve-rust/", env!("CARGO_PKG_VERSION"));
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const KEEP_ALIVE: Duration = Duration::from_secs(60);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// Why a client cannot be made as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The target names no host and port.
    #[error("the target is {0:?}; allowed is \"host:port\" or \"dns:///host:port\"")]
    InvalidTarget(String),
    /// A token is sent to other machines over TLS alone.
    #[error("a token would travel to {0} in the clear; speak TLS")]
    TokenInTheClear(String),
    /// The token holds what no HTTP header can.
    #[error("the token holds characters that cannot be sent")]
    InvalidToken,
    /// A client proves who it is by certificate and key.
    #[error("client_certificate and client_key belong together; one is missing")]
    HalfAnIdentity,
    /// A certificate or key cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    UnreadableFile {
        /// The file asked for.
        path: PathBuf,
        /// Why it cannot be read.
        source: io::Error,
    },
    /// What the files hold is not what TLS takes.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[source] tonic::transport::Error),
}

/// Speak TLS. All files are PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tls {
    /// Whom to trust; none: the system's authorities.
    pub root_certificates: Option<PathBuf>,
    /// With `client_key`, proves who the client is.
    pub client_certificate: Option<PathBuf>,
    /// The key of `client_certificate`.
    pub client_key: Option<PathBuf>,
    /// What the server's certificate must name where that is not the host in the target.
    pub server_name: Option<String>,
}

impl Tls {
    fn read(&self) -> Result<ClientTlsConfig, ConfigError> {
        let config = match &self.root_certificates {
            Some(path) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(path)?)),
            None => ClientTlsConfig::new().with_native_roots(),
        };
        match (&self.client_certificate, &self.client_key) {
            (Some(certificate), Some(key)) => {
                Ok(config.identity(Identity::from_pem(read(certificate)?, read(key)?)))
            }
            (None, None) => Ok(config),
            _ => Err(ConfigError::HalfAnIdentity),
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ConfigError> {
    fs::read(path).map_err(|source| ConfigError::UnreadableFile {
        path: path.to_owned(),
        source,
    })
}

/// What a [`Client`] is made of; [`Client::builder`] starts one.
#[derive(Clone)]
#[must_use]
pub struct ClientBuilder {
    target: String,
    tls: Option<Tls>,
    token: Option<String>,
    timeout: Duration,
}

impl fmt::Debug for ClientBuilder {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("target", &self.target)
            .field("tls", &self.tls)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl ClientBuilder {
    pub(crate) fn new(target: String) -> Self {
        Self {
            target,
            tls: None,
            token: None,
            timeout: DEFAULT_TIMEOUT,
        }
    }

    /// Speak TLS; `Tls::default()` trusts the system's authorities.
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Send this bearer token with every call, over TLS or to this same machine; empty: none.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into()).filter(|token| !token.is_empty());
        self
    }

    /// How long calls may take that do not say so themselves (30 s); streams may take for ever.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Make the client; nothing is sent before its first call.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime.
    pub fn build(self) -> Result<Client, ConfigError> {
        let target = Target::parse(&self.target)?;
        if self.token.is_some() && self.tls.is_none() && !target.is_loopback() {
            return Err(ConfigError::TokenInTheClear(self.target));
        }
        let calls = CallLayer {
            authorization: self.token.as_deref().map(bearer).transpose()?,
            timeout: self.timeout,
        };
        let endpoint = endpoint(&target, self.tls.as_ref())?;
        Ok(Client::over(
            Channel::new(target, endpoint, &calls),
            self.target,
        ))
    }
}

fn bearer(token: &str) -> Result<HeaderValue, ConfigError> {
    let mut value =
        HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| ConfigError::InvalidToken)?;
    value.set_sensitive(true);
    Ok(value)
}

/// Return how each address of the target is spoken to.
fn endpoint(target: &Target, tls: Option<&Tls>) -> Result<Endpoint, ConfigError> {
    let scheme = if tls.is_some() {
        Scheme::HTTPS
    } else {
        Scheme::HTTP
    };
    let uri = Uri::builder()
        .scheme(scheme)
        .authority(target.authority())
        .path_and_query("/")
        .build()
        .expect("a target is a host and a port");
    let endpoint = Endpoint::from(uri)
        .user_agent(USER_AGENT)
        .expect("a name and a version")
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
    let Some(tls) = tls else { return Ok(endpoint) };
    let name = tls.server_name.as_ref().unwrap_or(&target.host);
    endpoint
        .tls_config(tls.read()?.domain_name(name))
        .map_err(ConfigError::Tls)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(builder: ClientBuilder) -> String {
        builder
            .build()
            .expect_err("it is to be refused")
            .to_string()
    }

    #[test]
    fn a_token_does_not_travel_in_the_clear() {
        let builder = Client::builder("search.example:50051").token("secret");

        assert!(refusal(builder).contains("search.example:50051 in the clear"));
    }

    #[tokio::test]
    async fn a_token_travels_to_this_same_machine() {
        Client::builder("localhost:50051")
            .token("secret")
            .build()
            .unwrap();
    }

    #[tokio::test]
    async fn an_empty_token_is_none() {
        let builder = Client::builder("search.example:50051").token("");

        builder.build().unwrap();
    }

    #[test]
    fn a_token_is_never_shown() {
        let token = bearer("secret").unwrap();

        let builder = Client::builder("localhost:1").token("secret");
        assert!(!format!("{token:?} {builder:?}").contains("secret"));
        assert!(refusal(Client::builder("localhost:1").token("a\nb")).contains("cannot be sent"));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let root_certificates = Some("no/such/ca.pem".into());
        let tls = Tls {
            root_certificates,
            ..Tls::default()
        };

        assert!(refusal(Client::builder("localhost:1").tls(tls)).contains("no/such/ca.pem"));
    }

    #[test]
    fn half_an_identity_is_none() {
        let client_key = Some("key.pem".into());
        let root_certificates = Some("Cargo.toml".into());
        let tls = Tls {
            client_key,
            root_certificates,
            ..Tls::default()
        };

        assert!(refusal(Client::builder("localhost:1").tls(tls)).contains("belong together"));
    }
}
