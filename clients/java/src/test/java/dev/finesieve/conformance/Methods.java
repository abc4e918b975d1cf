package dev.finesieve.conformance;

import com.google.protobuf.Message;
import com.google.protobuf.Parser;
import dev.finesieve.client.FinesieveAsyncClient;
import dev.finesieve.client.FinesieveClient;
import dev.finesieve.client.ResponseStream;
import dev.finesieve.v1.BatchRetrieveRequest;
import dev.finesieve.v1.CountTokensRequest;
import dev.finesieve.v1.CreateCollectionRequest;
import dev.finesieve.v1.DeleteCollectionRequest;
import dev.finesieve.v1.DeletePassagesRequest;
import dev.finesieve.v1.EmbedRequest;
import dev.finesieve.v1.ExportTrainingPairsRequest;
import dev.finesieve.v1.GetCollectionRequest;
import dev.finesieve.v1.GetPassagesRequest;
import dev.finesieve.v1.ListCollectionsRequest;
import dev.finesieve.v1.ListModelsRequest;
import dev.finesieve.v1.ListPassagesRequest;
import dev.finesieve.v1.RecordFeedbackRequest;
import dev.finesieve.v1.RerankRequest;
import dev.finesieve.v1.RetrieveRequest;
import dev.finesieve.v1.SearchRequest;
import dev.finesieve.v1.StreamRerankRequest;
import dev.finesieve.v1.StreamUpsertPassagesRequest;
import dev.finesieve.v1.UpsertPassagesRequest;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.function.BiFunction;

/** Name every RPC of the contract, and the methods of the client that make it. */
final class Methods {
  sealed interface Method {}

  record Unary<Q extends Message, R extends Message>(
      Parser<Q> parser,
      BiFunction<FinesieveClient, Q, R> call,
      BiFunction<FinesieveAsyncClient, Q, CompletableFuture<R>> callAsync)
      implements Method {}

  record Streaming<Q extends Message, R extends Message>(
      Parser<Q> parser, BiFunction<FinesieveClient, Iterable<Q>, ResponseStream<R>> open)
      implements Method {}

  static final Map<String, Method> BY_PATH =
      Map.ofEntries(
          Map.entry(
              "finesieve.v1.RetrievalService/Retrieve",
              new Unary<>(
                  RetrieveRequest.parser(),
                  FinesieveClient::retrieve,
                  FinesieveAsyncClient::retrieve)),
          Map.entry(
              "finesieve.v1.RetrievalService/BatchRetrieve",
              new Unary<>(
                  BatchRetrieveRequest.parser(),
                  FinesieveClient::batchRetrieve,
                  FinesieveAsyncClient::batchRetrieve)),
          Map.entry(
              "finesieve.v1.RetrievalService/CreateCollection",
              new Unary<>(
                  CreateCollectionRequest.parser(),
                  FinesieveClient::createCollection,
                  FinesieveAsyncClient::createCollection)),
          Map.entry(
              "finesieve.v1.RetrievalService/GetCollection",
              new Unary<>(
                  GetCollectionRequest.parser(),
                  FinesieveClient::getCollection,
                  FinesieveAsyncClient::getCollection)),
          Map.entry(
              "finesieve.v1.RetrievalService/ListCollections",
              new Unary<>(
                  ListCollectionsRequest.parser(),
                  FinesieveClient::listCollections,
                  FinesieveAsyncClient::listCollections)),
          Map.entry(
              "finesieve.v1.RetrievalService/DeleteCollection",
              new Unary<>(
                  DeleteCollectionRequest.parser(),
                  FinesieveClient::deleteCollection,
                  FinesieveAsyncClient::deleteCollection)),
          Map.entry(
              "finesieve.v1.RetrievalService/UpsertPassages",
              new Unary<>(
                  UpsertPassagesRequest.parser(),
                  FinesieveClient::upsertPassages,
                  FinesieveAsyncClient::upsertPassages)),
          Map.entry(
              "finesieve.v1.RetrievalService/DeletePassages",
              new Unary<>(
                  DeletePassagesRequest.parser(),
                  FinesieveClient::deletePassages,
                  FinesieveAsyncClient::deletePassages)),
          Map.entry(
              "finesieve.v1.RetrievalService/GetPassages",
              new Unary<>(
                  GetPassagesRequest.parser(),
                  FinesieveClient::getPassages,
                  FinesieveAsyncClient::getPassages)),
          Map.entry(
              "finesieve.v1.RetrievalService/ListPassages",
              new Unary<>(
                  ListPassagesRequest.parser(),
                  FinesieveClient::listPassages,
                  FinesieveAsyncClient::listPassages)),
          Map.entry(
              "finesieve.v1.RerankService/Rerank",
              new Unary<>(
                  RerankRequest.parser(), FinesieveClient::rerank, FinesieveAsyncClient::rerank)),
          Map.entry(
              "finesieve.v1.SearchService/Search",
              new Unary<>(
                  SearchRequest.parser(), FinesieveClient::search, FinesieveAsyncClient::search)),
          Map.entry(
              "finesieve.v1.EmbeddingService/Embed",
              new Unary<>(
                  EmbedRequest.parser(), FinesieveClient::embed, FinesieveAsyncClient::embed)),
          Map.entry(
              "finesieve.v1.EmbeddingService/CountTokens",
              new Unary<>(
                  CountTokensRequest.parser(),
                  FinesieveClient::countTokens,
                  FinesieveAsyncClient::countTokens)),
          Map.entry(
              "finesieve.v1.ModelService/ListModels",
              new Unary<>(
                  ListModelsRequest.parser(),
                  FinesieveClient::listModels,
                  FinesieveAsyncClient::listModels)),
          Map.entry(
              "finesieve.v1.FeedbackService/RecordFeedback",
              new Unary<>(
                  RecordFeedbackRequest.parser(),
                  FinesieveClient::recordFeedback,
                  FinesieveAsyncClient::recordFeedback)),
          Map.entry(
              "finesieve.v1.RerankService/StreamRerank",
              new Streaming<>(StreamRerankRequest.parser(), FinesieveClient::streamRerank)),
          Map.entry(
              "finesieve.v1.RetrievalService/StreamUpsertPassages",
              new Streaming<>(
                  StreamUpsertPassagesRequest.parser(), FinesieveClient::streamUpsertPassages)),
          Map.entry(
              "finesieve.v1.FeedbackService/ExportTrainingPairs",
              new Streaming<>(
                  ExportTrainingPairsRequest.parser(),
                  (client, requests) -> client.exportTrainingPairs(requests.iterator().next()))));

  private Methods() {}
}
