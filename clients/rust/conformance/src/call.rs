//! Make one call through the client's own methods, as an application would.

use std::collections::VecDeque;
use std::error::Error;
use std::future::Future;
use std::iter;
use std::time::Duration;

use finesieve_client::tonic::{Request, Status};
use finesieve_client::{Client, Responses};
use prost::Message;
use tokio::time::timeout;
use tokio_stream::{Iter, iter as stream_of};

use crate::proto::{Call, Outcome};
use crate::told;

/// How many responses an outcome keeps.
const KEPT: usize = 16;

type Made = Result<Outcome, Box<dyn Error>>;

/// Return what came of a call; the error is why it was not made.
pub(crate) async fn make(client: Client, call: &Call) -> Made {
    match call
        .method
        .strip_prefix("finesieve.v1.")
        .unwrap_or_default()
    {
        "RetrievalService/CreateCollection" => unary(call, |it| client.create_collection(it)).await,
        "RetrievalService/GetCollection" => unary(call, |it| client.get_collection(it)).await,
        "RetrievalService/ListCollections" => unary(call, |it| client.list_collections(it)).await,
        "RetrievalService/DeleteCollection" => unary(call, |it| client.delete_collection(it)).await,
        "RetrievalService/UpsertPassages" => unary(call, |it| client.upsert_passages(it)).await,
        "RetrievalService/StreamUpsertPassages" => {
            stream(call, many(call)?, |it| client.stream_upsert_passages(it)).await
        }
        "RetrievalService/DeletePassages" => unary(call, |it| client.delete_passages(it)).await,
        "RetrievalService/GetPassages" => unary(call, |it| client.get_passages(it)).await,
        "RetrievalService/ListPassages" => unary(call, |it| client.list_passages(it)).await,
        "RetrievalService/Retrieve" => unary(call, |it| client.retrieve(it)).await,
        "RetrievalService/BatchRetrieve" => unary(call, |it| client.batch_retrieve(it)).await,
        "RerankService/Rerank" => unary(call, |it| client.rerank(it)).await,
        "RerankService/StreamRerank" => {
            stream(call, many(call)?, |it| client.stream_rerank(it)).await
        }
        "SearchService/Search" => unary(call, |it| client.search(it)).await,
        "EmbeddingService/Embed" => unary(call, |it| client.embed(it)).await,
        "EmbeddingService/CountTokens" => unary(call, |it| client.count_tokens(it)).await,
        "ModelService/ListModels" => unary(call, |it| client.list_models(it)).await,
        "FeedbackService/RecordFeedback" => unary(call, |it| client.record_feedback(it)).await,
        "FeedbackService/ExportTrainingPairs" => {
            stream(call, one(call)?, |it| client.export_training_pairs(it)).await
        }
        _ => Err(format!("{:?} is no method of the contract", call.method).into()),
    }
}

async fn unary<Q, A, F>(call: &Call, send: impl FnOnce(Request<Q>) -> F) -> Made
where
    Q: Message + Default,
    A: Message,
    F: Future<Output = Result<A, finesieve_client::Error>>,
{
    let answer = send(asked(call, one(call)?));
    let mut outcome = Outcome::default();
    match until_cancelled(call, answer).await {
        Ok(answer) => {
            outcome.response_count = 1;
            outcome.responses.push(answer.encode_to_vec());
        }
        Err(error) => outcome.error = Some(told(error)),
    }
    Ok(outcome)
}

async fn stream<R, A>(
    call: &Call,
    requests: R,
    send: impl FnOnce(Request<R>) -> Responses<A>,
) -> Made
where
    A: Message,
{
    let mut answers = send(asked(call, requests));
    let mut last = VecDeque::new();
    let mut outcome = Outcome::default();
    let reading = async {
        while let Some(answer) = answers.message().await? {
            if last.len() == KEPT {
                last.pop_front();
            }
            last.push_back(answer.encode_to_vec());
            outcome.response_count += 1;
            if Some(outcome.response_count) == call.cancel_after_responses.map(u64::from) {
                return Err(cancelled());
            }
        }
        Ok(())
    };
    if let Err(error) = until_cancelled(call, reading).await {
        outcome.error = Some(told(error));
    }
    outcome.responses = last.into();
    Ok(outcome)
}

/// Return the one request.
fn one<Q: Message + Default>(call: &Call) -> Result<Q, Box<dyn Error>> {
    let request = call.requests.first().ok_or("the call has no request")?;
    Ok(Q::decode(request.as_slice())?)
}

/// Return the requests of a stream, made as they are wanted.
fn many<Q: Message + Default + Clone + 'static>(
    call: &Call,
) -> Result<Iter<impl Iterator<Item = Q> + Send + 'static>, Box<dyn Error>> {
    let requests = call
        .requests
        .iter()
        .map(|request| Q::decode(request.as_slice()));
    let requests = requests.collect::<Result<Vec<Q>, _>>()?;
    let repeated = iter::repeat_n(requests, call.repeat.max(1) as usize);
    Ok(stream_of(repeated.flatten()))
}

fn asked<T>(call: &Call, what: T) -> Request<T> {
    let mut request = Request::new(what);
    if let Some(timeout_ms) = call.timeout_ms {
        request.set_timeout(Duration::from_millis(timeout_ms.into()));
    }
    request
}

/// Wait for an answer until the call is to be cancelled: Rust does so by dropping the future.
async fn until_cancelled<T>(
    call: &Call,
    answer: impl Future<Output = Result<T, finesieve_client::Error>>,
) -> Result<T, finesieve_client::Error> {
    match call.cancel_after_ms {
        Some(after_ms) => timeout(Duration::from_millis(after_ms.into()), answer)
            .await
            .unwrap_or_else(|_| Err(cancelled())),
        None => answer.await,
    }
}

fn cancelled() -> finesieve_client::Error {
    Status::cancelled("the caller cancelled it").into()
}
