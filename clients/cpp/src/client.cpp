#include <finesieve/client.h>

#include <utility>

#include "connection.h"
#include "readiness.h"

namespace finesieve {
namespace {

constexpr char kRequestIdKey[] = "x-request-id";

}  // namespace

Error ErrorOf(const grpc::Status& status, const grpc::ClientContext& context) {
  const auto& trailers = context.GetServerTrailingMetadata();
  const auto found = trailers.find(kRequestIdKey);
  if (found == trailers.end()) return Error::OfCall(status);
  return Error::OfCall(status, {found->second.data(), found->second.size()});
}

Client::Client(const std::string& target, const Options& options)
    : target_(target),
      token_(options.token),
      timeout_(options.timeout),
      channel_(Connect(target, options)),
      retrieval_(v1::RetrievalService::NewStub(channel_)),
      rerank_(v1::RerankService::NewStub(channel_)),
      search_(v1::SearchService::NewStub(channel_)),
      embedding_(v1::EmbeddingService::NewStub(channel_)),
      models_(v1::ModelService::NewStub(channel_)),
      feedback_(v1::FeedbackService::NewStub(channel_)) {}

Context Client::NewContext(std::chrono::milliseconds timeout) const {
  auto context = std::make_shared<grpc::ClientContext>();
  if (!token_.empty()) context->AddMetadata("authorization", "Bearer " + token_);
  if (timeout < kNoDeadline) context->set_deadline(std::chrono::system_clock::now() + timeout);
  return context;
}

template <class Stub, class Request, class Response>
Response Client::Call(Stub& stub,
                      grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                      const Request& request, Context context) const {
  if (!context) context = NewContext();
  Response response;
  const grpc::Status status = (stub.*method)(context.get(), request, &response);
  if (!status.ok()) throw ErrorOf(status, *context);
  return response;
}

v1::CreateCollectionResponse Client::CreateCollection(const v1::CreateCollectionRequest& request,
                                                      Context context) {
  return Call(*retrieval_, &v1::RetrievalService::Stub::CreateCollection, request,
              std::move(context));
}

v1::GetCollectionResponse Client::GetCollection(const v1::GetCollectionRequest& request,
                                                Context context) {
  return Call(*retrieval_, &v1::RetrievalService::Stub::GetCollection, request, std::move(context));
}

v1::ListCollectionsResponse Client::ListCollections(const v1::ListCollectionsRequest& request,
                                                    Context context) {
  return Call(*retrieval_, &v1::RetrievalService::Stub::ListCollections, request,
              std::move(context));
}

v1::DeleteCollectionResponse Client::DeleteCollection(const v1::DeleteCollectionRequest& request,
                                                      Context context) {
  return Call(*retrieval_, &v1::RetrievalService::Stub::DeleteCollection, request,
              std::move(context));
}

v1::UpsertPassagesResponse Client::UpsertPassages(const v1::UpsertPassagesRequest& request,
                                                  Context context) {
  return Call(*retrieval_, &v1::RetrievalService::Stub::UpsertPassages, request,
              std::move(context));
}

Stream<v1::StreamUpsertPassagesRequest, v1::StreamUpsertPassagesResponse>
Client::StreamUpsertPassages(Context context) {
  if (!context) context = NewContext(kNoDeadline);
  auto call = retrieval_->StreamUpsertPassages(context.get());
  return {std::move(context), std::move(call)};
}

v1::DeletePassagesResponse Client::DeletePassages(const v1::DeletePassagesRequest& request,
                                                  Context context) {
  return Call(*retrieval_, &v1::RetrievalService::Stub::DeletePassages, request,
              std::move(context));
}

v1::GetPassagesResponse Client::GetPassages(const v1::GetPassagesRequest& request,
                                            Context context) {
  return Call(*retrieval_, &v1::RetrievalService::Stub::GetPassages, request, std::move(context));
}

v1::ListPassagesResponse Client::ListPassages(const v1::ListPassagesRequest& request,
                                              Context context) {
  return Call(*retrieval_, &v1::RetrievalService::Stub::ListPassages, request, std::move(context));
}

v1::RetrieveResponse Client::Retrieve(const v1::RetrieveRequest& request, Context context) {
  return Call(*retrieval_, &v1::RetrievalService::Stub::Retrieve, request, std::move(context));
}

v1::BatchRetrieveResponse Client::BatchRetrieve(const v1::BatchRetrieveRequest& request,
                                                Context context) {
  return Call(*retrieval_, &v1::RetrievalService::Stub::BatchRetrieve, request, std::move(context));
}

v1::RerankResponse Client::Rerank(const v1::RerankRequest& request, Context context) {
  return Call(*rerank_, &v1::RerankService::Stub::Rerank, request, std::move(context));
}

Stream<v1::StreamRerankRequest, v1::StreamRerankResponse> Client::StreamRerank(Context context) {
  if (!context) context = NewContext(kNoDeadline);
  auto call = rerank_->StreamRerank(context.get());
  return {std::move(context), std::move(call)};
}

v1::SearchResponse Client::Search(const v1::SearchRequest& request, Context context) {
  return Call(*search_, &v1::SearchService::Stub::Search, request, std::move(context));
}

v1::EmbedResponse Client::Embed(const v1::EmbedRequest& request, Context context) {
  return Call(*embedding_, &v1::EmbeddingService::Stub::Embed, request, std::move(context));
}

v1::CountTokensResponse Client::CountTokens(const v1::CountTokensRequest& request,
                                            Context context) {
  return Call(*embedding_, &v1::EmbeddingService::Stub::CountTokens, request, std::move(context));
}

v1::ListModelsResponse Client::ListModels(const v1::ListModelsRequest& request, Context context) {
  return Call(*models_, &v1::ModelService::Stub::ListModels, request, std::move(context));
}

v1::RecordFeedbackResponse Client::RecordFeedback(const v1::RecordFeedbackRequest& request,
                                                  Context context) {
  return Call(*feedback_, &v1::FeedbackService::Stub::RecordFeedback, request, std::move(context));
}

Reader<v1::ExportTrainingPairsResponse> Client::ExportTrainingPairs(
    const v1::ExportTrainingPairsRequest& request, Context context) {
  if (!context) context = NewContext(kNoDeadline);
  auto call = feedback_->ExportTrainingPairs(context.get(), request);
  return {std::move(context), std::move(call)};
}

void Client::WaitReady(std::chrono::milliseconds timeout) { UntilServing(*this, target_, timeout); }

}  // namespace finesieve
