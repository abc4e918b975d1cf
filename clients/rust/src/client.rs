//! Call a server: one method for each of the contract's, and the stubs they are made with.

use std::time::Duration;

use tokio::time::{sleep, timeout};
use tonic::{Code, IntoRequest, IntoStreamingRequest, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::channel::Channel;
use crate::config::{ClientBuilder, ConfigError};
use crate::error::Error;
use crate::proto;
use crate::responses::Responses;

/// Answers may be longer than tonic's 4 MiB.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;
/// Before watching again, where a server that starts or stops ended the watch.
const PAUSE: Duration = Duration::from_millis(200);

/// A client of one server, or of several behind one name. Cheap to clone.
///
/// A call takes its request as it is, or in a [`tonic::Request`] that has a deadline or metadata of
/// its own.
#[derive(Clone, Debug)]
pub struct Client {
    channel: Channel,
    target: String,
}

impl Client {
    /// Make a client of the server at "host:port", without TLS. Nothing is sent before its first call.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime.
    pub fn new(target: impl Into<String>) -> Result<Self, ConfigError> {
        Self::builder(target).build()
    }

    /// Begin to make a client that speaks TLS, has a token, or another deadline.
    pub fn builder(target: impl Into<String>) -> ClientBuilder {
        ClientBuilder::new(target.into())
    }

    pub(crate) fn over(channel: Channel, target: String) -> Self {
        Self { channel, target }
    }

    /// Return once the server is reachable and takes calls; DEADLINE_EXCEEDED if it does not.
    pub async fn wait_ready(&self, patience: Duration) -> Result<(), Error> {
        let ready = timeout(patience, self.watch()).await;
        ready.unwrap_or_else(|_| {
            let target = &self.target;
            let message = format!("the server at {target} was not ready within {patience:?}");
            Err(Status::deadline_exceeded(message).into())
        })
    }

    /// Watch the server's health until it is good, however often the server ends the watch.
    async fn watch(&self) -> Result<(), Error> {
        let mut health = HealthClient::new(self.channel.clone());
        loop {
            let watch = async {
                let mut answers = health
                    .watch(HealthCheckRequest::default())
                    .await?
                    .into_inner();
                while let Some(answer) = answers.message().await? {
                    if answer.status() == ServingStatus::Serving {
                        return Ok(true);
                    }
                }
                Ok(false)
            };
            match watch.await {
                Ok(true) => return Ok(()),
                Ok(false) => sleep(PAUSE).await,
                Err(status) if Status::code(&status) == Code::Unavailable => sleep(PAUSE).await,
                Err(status) => return Err(status.into()),
            }
        }
    }
}

/// Write a method that returns a service's stub, for each service.
macro_rules! stubs {
    ($($name:ident: $module:ident::$stub:ident;)*) => {
        impl Client {$(
            #[doc = concat!("Return the typed stub of ", stringify!($stub), ", on this client's channel.")]
            pub fn $name(&self) -> proto::$module::$stub<Channel> {
                proto::$module::$stub::new(self.channel.clone())
                    .max_decoding_message_size(MAX_ANSWER_BYTES)
            }
        )*}
    };
}

stubs! {
    retrieval_service: retrieval_service_client::RetrievalServiceClient;
    rerank_service: rerank_service_client::RerankServiceClient;
    search_service: search_service_client::SearchServiceClient;
    embedding_service: embedding_service_client::EmbeddingServiceClient;
    model_service: model_service_client::ModelServiceClient;
    feedback_service: feedback_service_client::FeedbackServiceClient;
}

/// Write a method for each RPC with one request and one response.
macro_rules! unary {
    ($($(#[$doc:meta])* $stub:ident.$name:ident($request:ident) -> $response:ident;)*) => {
        impl Client {$(
            $(#[$doc])*
            pub async fn $name(
                &self,
                request: impl IntoRequest<proto::$request>,
            ) -> Result<proto::$response, Error> {
                Ok(self.$stub().$name(request).await?.into_inner())
            }
        )*}
    };
}

unary! {
    /// Make a collection.
    retrieval_service.create_collection(CreateCollectionRequest) -> CreateCollectionResponse;
    /// Return what a collection is.
    retrieval_service.get_collection(GetCollectionRequest) -> GetCollectionResponse;
    /// Return a page of the collections.
    retrieval_service.list_collections(ListCollectionsRequest) -> ListCollectionsResponse;
    /// Remove a collection with all its passages.
    retrieval_service.delete_collection(DeleteCollectionRequest) -> DeleteCollectionResponse;
    /// Store all of the passages or none; they are durable once this returns.
    retrieval_service.upsert_passages(UpsertPassagesRequest) -> UpsertPassagesResponse;
    /// Remove passages by their ids or by a filter.
    retrieval_service.delete_passages(DeletePassagesRequest) -> DeletePassagesResponse;
    /// Return passages by their ids.
    retrieval_service.get_passages(GetPassagesRequest) -> GetPassagesResponse;
    /// Return a page of the passages.
    retrieval_service.list_passages(ListPassagesRequest) -> ListPassagesResponse;
    /// The first stage alone: return the passages nearest to a query, best first.
    retrieval_service.retrieve(RetrieveRequest) -> RetrieveResponse;
    /// The first stage for many queries at once.
    retrieval_service.batch_retrieve(BatchRetrieveRequest) -> BatchRetrieveResponse;
    /// The second stage alone: order documents by relevance to a query.
    rerank_service.rerank(RerankRequest) -> RerankResponse;
    /// Both stages: retrieve many, rerank, return few.
    search_service.search(SearchRequest) -> SearchResponse;
    /// Return a vector for each text.
    embedding_service.embed(EmbedRequest) -> EmbedResponse;
    /// Return how many tokens each text is to a bi-encoder.
    embedding_service.count_tokens(CountTokensRequest) -> CountTokensResponse;
    /// Return the models that the server holds.
    model_service.list_models(ListModelsRequest) -> ListModelsResponse;
    /// Say what a user did with a search's hit.
    feedback_service.record_feedback(RecordFeedbackRequest) -> RecordFeedbackResponse;
}

impl Client {
    /// Store batches while earlier ones are worked on; answers each, in their order.
    ///
    /// A batch is stored whole or, where its answer has a failure, not at all.
    pub fn stream_upsert_passages(
        &self,
        batches: impl IntoStreamingRequest<Message = proto::StreamUpsertPassagesRequest>,
    ) -> Responses<proto::StreamUpsertPassagesResponse> {
        let mut stub = self.retrieval_service();
        let batches = batches.into_streaming_request();
        Responses::of(async move { stub.stream_upsert_passages(batches).await })
    }

    /// Rerank many times over one stream; answers carry their request's id, in any order.
    pub fn stream_rerank(
        &self,
        requests: impl IntoStreamingRequest<Message = proto::StreamRerankRequest>,
    ) -> Responses<proto::StreamRerankResponse> {
        let mut stub = self.rerank_service();
        let requests = requests.into_streaming_request();
        Responses::of(async move { stub.stream_rerank(requests).await })
    }

    /// Return what models can be fine-tuned with, from logged searches and their feedback.
    pub fn export_training_pairs(
        &self,
        request: impl IntoRequest<proto::ExportTrainingPairsRequest>,
    ) -> Responses<proto::ExportTrainingPairsResponse> {
        let mut stub = self.feedback_service();
        let request = request.into_request();
        Responses::of(async move { stub.export_training_pairs(request).await })
    }
}
