//! Read where a server is.

use std::net::IpAddr;

use http::uri::Authority;

use crate::config::ConfigError;

/// What gRPC takes where a target names no port.
const DEFAULT_PORT: u16 = 443;

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// A name or an IP address, without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Target {
    /// Read "host:port", "dns:///host:port" or "dns:host:port"; IPv6 addresses stand in brackets.
    pub(crate) fn parse(target: &str) -> Result<Self, ConfigError> {
        let name = target.strip_prefix("dns:").unwrap_or(target);
        let name = name.strip_prefix("///").unwrap_or(name);
        let invalid = || ConfigError::InvalidTarget(target.to_owned());
        let authority: Authority = name.parse().map_err(|_| invalid())?;
        let host = authority.host();
        let port = match name.strip_prefix(host).ok_or_else(invalid)? {
            "" => DEFAULT_PORT,
            port => port
                .strip_prefix(':')
                .and_then(|port| port.parse().ok())
                .ok_or_else(invalid)?,
        };
        let host = host.trim_matches(['[', ']']).to_owned();
        if host.is_empty() {
            return Err(invalid());
        }
        Ok(Self { host, port })
    }

    /// Tell whether it can only mean this same machine.
    pub(crate) fn is_loopback(&self) -> bool {
        match self.host.parse::<IpAddr>() {
            Ok(address) => address.is_loopback(),
            Err(_) => self.host == "localhost",
        }
    }

    /// Return it as a URI's authority.
    pub(crate) fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(host: &str, port: u16) -> Target {
        let host = host.to_owned();
        Target { host, port }
    }

    #[test]
    fn a_target_is_read_as_grpc_reads_it() {
        for (text, expected) in [
            ("localhost:50051", target("localhost", 50051)),
            ("dns:///search.example:8443", target("search.example", 8443)),
            ("dns:search.example:8443", target("search.example", 8443)),
            ("search.example", target("search.example", 443)),
            ("[::1]:50051", target("::1", 50051)),
            ("[::1]", target("::1", 443)),
        ] {
            assert_eq!(Target::parse(text).expect(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_host_and_port_is_refused() {
        for text in [
            "",
            ":50051",
            "host:",
            "host:port",
            "host:70000",
            "http://host:50051",
            "user@host:50051",
            "::1",
            "two words:1",
        ] {
            let error = Target::parse(text).expect_err(text);
            assert!(matches!(error, ConfigError::InvalidTarget(_)), "{text}");
        }
    }

    #[test]
    fn loopback_is_an_address_of_this_machine_or_localhost() {
        for text in [
            "localhost:1",
            "127.0.0.1:1",
            "127.8.8.8:1",
            "[::1]:1",
            "dns:///localhost:1",
        ] {
            assert!(Target::parse(text).expect(text).is_loopback(), "{text}");
        }
        for text in [
            "localhost.example:1",
            "10.0.0.1:1",
            "0.0.0.0:1",
            "127.0.0.1.example:1",
        ] {
            assert!(!Target::parse(text).expect(text).is_loopback(), "{text}");
        }
    }

    #[test]
    fn an_ipv6_address_stands_in_brackets_in_a_uri() {
        assert_eq!(target("::1", 80).authority(), "[::1]:80");
    }
}
