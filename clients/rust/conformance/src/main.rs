//! Carry out the conformance suite's orders (clients/conformance) by the Rust client.

mod call;
#[allow(clippy::all)]
mod proto {
    include!("proto/finesieve.conformance.v1.rs");
}

use std::collections::HashMap;
use std::error::Error;
use std::io::{self, Read, Write};
use std::time::Duration;

use finesieve_client::proto::SearchResponse;
use finesieve_client::{Client, ConfigError, Tls, cited, prompt};
use prost::Message;
use proto::order::What;
use proto::{Connection, Order, Outcome, Prompt, Violation, WaitReady};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut driver = Driver::default();
    let (mut orders, mut outcomes) = (io::stdin().lock(), io::stdout().lock());
    while let Some(order) = read(&mut orders)? {
        let order = Order::decode(order.as_slice())?;
        let outcome = driver
            .carry_out(order)
            .await
            .unwrap_or_else(|refusal| Outcome {
                refusal: refusal.to_string(),
                ..Outcome::default()
            });
        let outcome = outcome.encode_to_vec();
        outcomes.write_all(&u32::try_from(outcome.len())?.to_be_bytes())?;
        outcomes.write_all(&outcome)?;
        outcomes.flush()?;
    }
    Ok(())
}

/// Return the next message, and none at the end of the input.
fn read(input: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    if input.read(&mut length[..1])? == 0 {
        return Ok(None);
    }
    input.read_exact(&mut length[1..])?;
    let mut message = vec![0; u32::from_be_bytes(length) as usize];
    input.read_exact(&mut message)?;
    Ok(Some(message))
}

/// The clients made so far, each by its connection, encoded.
#[derive(Default)]
struct Driver {
    clients: HashMap<Vec<u8>, Client>,
}

impl Driver {
    /// Return what came of an order; the error is what the client, or this, refuses.
    async fn carry_out(&mut self, order: Order) -> Result<Outcome, Box<dyn Error>> {
        let connection = order.connection.unwrap_or_default();
        match order.what.ok_or("the order says nothing to do")? {
            What::Call(call) => call::make(self.client(connection)?, &call).await,
            What::WaitReady(order) => Ok(wait_ready(self.client(connection)?, order).await),
            What::Prompt(order) => write_prompt(order),
        }
    }

    fn client(&mut self, connection: Connection) -> Result<Client, ConfigError> {
        let key = connection.encode_to_vec();
        if let Some(client) = self.clients.get(&key) {
            return Ok(client.clone());
        }
        let client = connect(connection)?;
        self.clients.insert(key, client.clone());
        Ok(client)
    }
}

fn connect(connection: Connection) -> Result<Client, ConfigError> {
    let tls = Tls {
        root_certificates: set(connection.root_certificates).map(Into::into),
        client_certificate: set(connection.client_certificate).map(Into::into),
        client_key: set(connection.client_key).map(Into::into),
        server_name: set(connection.server_name),
    };
    let mut client = Client::builder(connection.target).token(connection.token);
    if connection.tls || tls != Tls::default() {
        client = client.tls(tls);
    }
    if connection.timeout_ms > 0 {
        client = client.timeout(Duration::from_millis(connection.timeout_ms.into()));
    }
    client.build()
}

fn set(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

async fn wait_ready(client: Client, order: WaitReady) -> Outcome {
    let patience = Duration::from_millis(order.timeout_ms.into());
    let error = client.wait_ready(patience).await.err();
    Outcome {
        error: error.map(told),
        ..Outcome::default()
    }
}

fn write_prompt(order: Prompt) -> Result<Outcome, Box<dyn Error>> {
    let hits = SearchResponse::decode(order.search_response.as_slice())?.hits;
    Ok(Outcome {
        prompt: prompt(&order.question, &hits),
        cited_ids: cited(&order.answer, &hits)
            .into_iter()
            .map(Into::into)
            .collect(),
        ..Outcome::default()
    })
}

/// Return all that the client's error tells.
fn told(error: finesieve_client::Error) -> proto::Error {
    let violations = error.violations().iter().map(|violation| Violation {
        field: violation.field.clone(),
        description: violation.description.clone(),
    });
    proto::Error {
        code: error.code().into(),
        message: error.message().into(),
        reason: error.reason().into(),
        metadata: error.metadata().clone(),
        violations: violations.collect(),
        retry_delay_s: error.retry_delay().map(|delay| delay.as_secs_f64()),
        request_id: error.request_id().into(),
    }
}
