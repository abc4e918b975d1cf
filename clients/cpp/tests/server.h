// A server of a test's own, in its process, on a free port.
#pragma once

#include <finesieve/v1/rerank.grpc.pb.h>
#include <finesieve/v1/search.grpc.pb.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>

namespace finesieve {

using Answer = std::function<grpc::Status(grpc::ServerContext&, const v1::SearchRequest&,
                                          v1::SearchResponse&)>;
using RerankStream = grpc::ServerReaderWriter<v1::StreamRerankResponse, v1::StreamRerankRequest>;
using AnswerStream = std::function<grpc::Status(grpc::ServerContext&, RerankStream&)>;

/// Answers searches and streams of reranks as it is told.
class Server {
 public:
  explicit Server(Answer answer, AnswerStream answer_stream = {}, bool with_health = true)
      : search_(std::move(answer)), rerank_(std::move(answer_stream)) {
    grpc::EnableDefaultHealthCheckService(with_health);
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(&search_);
    builder.RegisterService(&rerank_);
    server_ = builder.BuildAndStart();
  }

  ~Server() { server_->Shutdown(std::chrono::system_clock::now()); }

  std::string target() const { return "127.0.0.1:" + std::to_string(port_); }

  void SetServing(bool serving) { server_->GetHealthCheckService()->SetServingStatus(serving); }

 private:
  class SearchService : public v1::SearchService::Service {
   public:
    explicit SearchService(Answer answer) : answer_(std::move(answer)) {}

    grpc::Status Search(grpc::ServerContext* context, const v1::SearchRequest* request,
                        v1::SearchResponse* response) override {
      return answer_(*context, *request, *response);
    }

   private:
    Answer answer_;
  };

  class RerankService : public v1::RerankService::Service {
   public:
    explicit RerankService(AnswerStream answer) : answer_(std::move(answer)) {}

    grpc::Status StreamRerank(grpc::ServerContext* context, RerankStream* stream) override {
      return answer_(*context, *stream);
    }

   private:
    AnswerStream answer_;
  };

  SearchService search_;
  RerankService rerank_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace finesieve
