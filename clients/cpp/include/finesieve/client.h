// A connection to one finesieve server.
#pragma once

#include <finesieve/stream.h>
#include <finesieve/v1/embedding.grpc.pb.h>
#include <finesieve/v1/feedback.grpc.pb.h>
#include <finesieve/v1/models.grpc.pb.h>
#include <finesieve/v1/rerank.grpc.pb.h>
#include <finesieve/v1/retrieval.grpc.pb.h>
#include <finesieve/v1/search.grpc.pb.h>
#include <grpcpp/channel.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>

namespace finesieve {

/// As good as none: a hundred years, or longer.
inline constexpr std::chrono::milliseconds kNoDeadline = std::chrono::hours(24 * 365 * 100);

/// Speak TLS. The files are PEM.
struct Tls {
  /// Empty: the system's authorities are trusted.
  std::string root_certificates = {};
  /// These two together prove who the client is.
  std::string client_certificate = {};
  std::string client_key = {};
  /// What the server's certificate must name, where that is not the host in the target.
  std::string server_name = {};
};

struct Options {
  std::optional<Tls> tls = {};
  /// Travels as a bearer token, and only over TLS or to this same machine.
  std::string token = {};
  /// The deadline of calls that are not streams.
  std::chrono::milliseconds timeout = std::chrono::seconds(30);
};

/// A connection to one server, for any number of threads.
///
/// Each method is the RPC of that name. It throws Error where the server, or the way to it, fails.
/// Without a context of the caller's, calls have the client's deadline and streams have none.
/// Calls that may be repeated are, up to four times, as the server's pushback allows.
class Client {
 public:
  /// `target` is "host:port", or any gRPC target; calls take turns over all addresses of its name.
  /// Nothing is sent before the first call. Throws std::invalid_argument where the options do not
  /// go together, std::system_error where a certificate's file cannot be read.
  explicit Client(const std::string& target = "localhost:50051", const Options& options = {});

  v1::CreateCollectionResponse CreateCollection(const v1::CreateCollectionRequest& request,
                                                Context context = {});
  v1::GetCollectionResponse GetCollection(const v1::GetCollectionRequest& request,
                                          Context context = {});
  v1::ListCollectionsResponse ListCollections(const v1::ListCollectionsRequest& request,
                                              Context context = {});
  v1::DeleteCollectionResponse DeleteCollection(const v1::DeleteCollectionRequest& request,
                                                Context context = {});
  v1::UpsertPassagesResponse UpsertPassages(const v1::UpsertPassagesRequest& request,
                                            Context context = {});
  Stream<v1::StreamUpsertPassagesRequest, v1::StreamUpsertPassagesResponse> StreamUpsertPassages(
      Context context = {});
  v1::DeletePassagesResponse DeletePassages(const v1::DeletePassagesRequest& request,
                                            Context context = {});
  v1::GetPassagesResponse GetPassages(const v1::GetPassagesRequest& request, Context context = {});
  v1::ListPassagesResponse ListPassages(const v1::ListPassagesRequest& request,
                                        Context context = {});
  v1::RetrieveResponse Retrieve(const v1::RetrieveRequest& request, Context context = {});
  v1::BatchRetrieveResponse BatchRetrieve(const v1::BatchRetrieveRequest& request,
                                          Context context = {});

  v1::RerankResponse Rerank(const v1::RerankRequest& request, Context context = {});
  Stream<v1::StreamRerankRequest, v1::StreamRerankResponse> StreamRerank(Context context = {});

  v1::SearchResponse Search(const v1::SearchRequest& request, Context context = {});

  v1::EmbedResponse Embed(const v1::EmbedRequest& request, Context context = {});
  v1::CountTokensResponse CountTokens(const v1::CountTokensRequest& request, Context context = {});

  v1::ListModelsResponse ListModels(const v1::ListModelsRequest& request = {},
                                    Context context = {});

  v1::RecordFeedbackResponse RecordFeedback(const v1::RecordFeedbackRequest& request,
                                            Context context = {});
  Reader<v1::ExportTrainingPairsResponse> ExportTrainingPairs(
      const v1::ExportTrainingPairsRequest& request, Context context = {});

  /// Returns once the server is reachable and takes calls; throws Error, DEADLINE_EXCEEDED, where
  /// that takes longer than `timeout`.
  void WaitReady(std::chrono::milliseconds timeout = std::chrono::seconds(60));

  /// A context for one call, with the client's deadline or this one: for a call that another
  /// thread cancels, for metadata of the caller's, and for the stubs below.
  Context NewContext() const { return NewContext(timeout_); }
  Context NewContext(std::chrono::milliseconds timeout) const;

  /// gRPC's own stubs, for asynchronous calls, or for a status instead of an exception.
  v1::RetrievalService::Stub& retrieval() { return *retrieval_; }
  v1::RerankService::Stub& rerank() { return *rerank_; }
  v1::SearchService::Stub& search() { return *search_; }
  v1::EmbeddingService::Stub& embedding() { return *embedding_; }
  v1::ModelService::Stub& models() { return *models_; }
  v1::FeedbackService::Stub& feedback() { return *feedback_; }
  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }

 private:
  template <class Stub, class Request, class Response>
  Response Call(Stub& stub,
                grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                const Request& request, Context context) const;

  std::string target_;
  std::string token_;
  std::chrono::milliseconds timeout_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::RetrievalService::Stub> retrieval_;
  std::unique_ptr<v1::RerankService::Stub> rerank_;
  std::unique_ptr<v1::SearchService::Stub> search_;
  std::unique_ptr<v1::EmbeddingService::Stub> embedding_;
  std::unique_ptr<v1::ModelService::Stub> models_;
  std::unique_ptr<v1::FeedbackService::Stub> feedback_;
};

}  // namespace finesieve
