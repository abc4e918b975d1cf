package dev.finesieve.client;

import dev.finesieve.v1.BatchRetrieveRequest;
import dev.finesieve.v1.BatchRetrieveResponse;
import dev.finesieve.v1.CountTokensRequest;
import dev.finesieve.v1.CountTokensResponse;
import dev.finesieve.v1.CreateCollectionRequest;
import dev.finesieve.v1.CreateCollectionResponse;
import dev.finesieve.v1.DeleteCollectionRequest;
import dev.finesieve.v1.DeleteCollectionResponse;
import dev.finesieve.v1.DeletePassagesRequest;
import dev.finesieve.v1.DeletePassagesResponse;
import dev.finesieve.v1.EmbedRequest;
import dev.finesieve.v1.EmbedResponse;
import dev.finesieve.v1.EmbeddingServiceGrpc;
import dev.finesieve.v1.ExportTrainingPairsRequest;
import dev.finesieve.v1.ExportTrainingPairsResponse;
import dev.finesieve.v1.FeedbackServiceGrpc;
import dev.finesieve.v1.GetCollectionRequest;
import dev.finesieve.v1.GetCollectionResponse;
import dev.finesieve.v1.GetPassagesRequest;
import dev.finesieve.v1.GetPassagesResponse;
import dev.finesieve.v1.ListCollectionsRequest;
import dev.finesieve.v1.ListCollectionsResponse;
import dev.finesieve.v1.ListModelsRequest;
import dev.finesieve.v1.ListModelsResponse;
import dev.finesieve.v1.ListPassagesRequest;
import dev.finesieve.v1.ListPassagesResponse;
import dev.finesieve.v1.ModelServiceGrpc;
import dev.finesieve.v1.RecordFeedbackRequest;
import dev.finesieve.v1.RecordFeedbackResponse;
import dev.finesieve.v1.RerankRequest;
import dev.finesieve.v1.RerankResponse;
import dev.finesieve.v1.RerankServiceGrpc;
import dev.finesieve.v1.RetrievalServiceGrpc;
import dev.finesieve.v1.RetrieveRequest;
import dev.finesieve.v1.RetrieveResponse;
import dev.finesieve.v1.SearchRequest;
import dev.finesieve.v1.SearchResponse;
import dev.finesieve.v1.SearchServiceGrpc;
import dev.finesieve.v1.StreamRerankRequest;
import dev.finesieve.v1.StreamRerankResponse;
import dev.finesieve.v1.StreamUpsertPassagesRequest;
import dev.finesieve.v1.StreamUpsertPassagesResponse;
import dev.finesieve.v1.UpsertPassagesRequest;
import dev.finesieve.v1.UpsertPassagesResponse;
import io.grpc.ClientCall;
import io.grpc.MethodDescriptor;
import io.grpc.stub.ClientCallStreamObserver;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.ClientResponseObserver;
import io.grpc.stub.StreamObserver;
import java.util.concurrent.CompletableFuture;

/**
 * The calls of a {@link FinesieveClient} for programs that do not wait.
 *
 * <p>A future fails with a {@link FinesieveException}; to cancel it is to cancel its call. Streams
 * go by gRPC's observers, whose {@code onError} gets a {@link FinesieveException}, too; a {@link
 * ClientResponseObserver} controls the flow.
 */
public final class FinesieveAsyncClient {
  private final Route route;

  FinesieveAsyncClient(Route route) {
    this.route = route;
  }

  /** Retrieves many, reranks them, returns few. */
  public CompletableFuture<SearchResponse> search(SearchRequest request) {
    return call(SearchServiceGrpc.getSearchMethod(), request);
  }

  /** Orders documents by their relevance to a query. */
  public CompletableFuture<RerankResponse> rerank(RerankRequest request) {
    return call(RerankServiceGrpc.getRerankMethod(), request);
  }

  /** Finds the passages nearest to a query. */
  public CompletableFuture<RetrieveResponse> retrieve(RetrieveRequest request) {
    return call(RetrievalServiceGrpc.getRetrieveMethod(), request);
  }

  /** Finds the passages nearest to each of many queries. */
  public CompletableFuture<BatchRetrieveResponse> batchRetrieve(BatchRetrieveRequest request) {
    return call(RetrievalServiceGrpc.getBatchRetrieveMethod(), request);
  }

  /** Makes a collection. */
  public CompletableFuture<CreateCollectionResponse> createCollection(
      CreateCollectionRequest request) {
    return call(RetrievalServiceGrpc.getCreateCollectionMethod(), request);
  }

  /** Tells what a collection is. */
  public CompletableFuture<GetCollectionResponse> getCollection(GetCollectionRequest request) {
    return call(RetrievalServiceGrpc.getGetCollectionMethod(), request);
  }

  /** Lists collections, page by page. */
  public CompletableFuture<ListCollectionsResponse> listCollections(
      ListCollectionsRequest request) {
    return call(RetrievalServiceGrpc.getListCollectionsMethod(), request);
  }

  /** Removes a collection with all its passages. */
  public CompletableFuture<DeleteCollectionResponse> deleteCollection(
      DeleteCollectionRequest request) {
    return call(RetrievalServiceGrpc.getDeleteCollectionMethod(), request);
  }

  /** Stores all passages of the request or none; they are durable once this returns. */
  public CompletableFuture<UpsertPassagesResponse> upsertPassages(UpsertPassagesRequest request) {
    return call(RetrievalServiceGrpc.getUpsertPassagesMethod(), request);
  }

  /** Removes passages. */
  public CompletableFuture<DeletePassagesResponse> deletePassages(DeletePassagesRequest request) {
    return call(RetrievalServiceGrpc.getDeletePassagesMethod(), request);
  }

  /** Returns passages by their ids. */
  public CompletableFuture<GetPassagesResponse> getPassages(GetPassagesRequest request) {
    return call(RetrievalServiceGrpc.getGetPassagesMethod(), request);
  }

  /** Lists passages, page by page. */
  public CompletableFuture<ListPassagesResponse> listPassages(ListPassagesRequest request) {
    return call(RetrievalServiceGrpc.getListPassagesMethod(), request);
  }

  /** Embeds texts. */
  public CompletableFuture<EmbedResponse> embed(EmbedRequest request) {
    return call(EmbeddingServiceGrpc.getEmbedMethod(), request);
  }

  /** Counts the tokens of texts without embedding them. */
  public CompletableFuture<CountTokensResponse> countTokens(CountTokensRequest request) {
    return call(EmbeddingServiceGrpc.getCountTokensMethod(), request);
  }

  /** Lists the models that the server runs. */
  public CompletableFuture<ListModelsResponse> listModels(ListModelsRequest request) {
    return call(ModelServiceGrpc.getListModelsMethod(), request);
  }

  /** Records what a user made of a hit. */
  public CompletableFuture<RecordFeedbackResponse> recordFeedback(RecordFeedbackRequest request) {
    return call(FeedbackServiceGrpc.getRecordFeedbackMethod(), request);
  }

  /** Reranks many times over one stream; answers carry their request's id and come in any order. */
  public StreamObserver<StreamRerankRequest> streamRerank(
      StreamObserver<StreamRerankResponse> responses) {
    return stream(RerankServiceGrpc.getStreamRerankMethod(), responses);
  }

  /** Stores one batch of passages after another, and answers each in order. */
  public StreamObserver<StreamUpsertPassagesRequest> streamUpsertPassages(
      StreamObserver<StreamUpsertPassagesResponse> responses) {
    return stream(RetrievalServiceGrpc.getStreamUpsertPassagesMethod(), responses);
  }

  /** Draws training pairs from the searches and the feedback that were recorded. */
  public void exportTrainingPairs(
      ExportTrainingPairsRequest request, StreamObserver<ExportTrainingPairsResponse> responses) {
    ClientCalls.asyncServerStreamingCall(
        route.call(FeedbackServiceGrpc.getExportTrainingPairsMethod()),
        request,
        new Translating<ExportTrainingPairsRequest, ExportTrainingPairsResponse>(responses));
  }

  private <Q, R> CompletableFuture<R> call(MethodDescriptor<Q, R> method, Q request) {
    ClientCall<Q, R> call = route.call(method);
    CompletableFuture<R> answer = new CompletableFuture<>();
    answer.whenComplete(
        (response, error) -> {
          if (error != null) {
            call.cancel("the future has ended", null); // by cancel(), or orTimeout()
          }
        });
    ClientCalls.asyncUnaryCall(call, request, new Completing<>(answer));
    return answer;
  }

  private <Q, R> StreamObserver<Q> stream(
      MethodDescriptor<Q, R> method, StreamObserver<R> responses) {
    return ClientCalls.asyncBidiStreamingCall(route.call(method), new Translating<Q, R>(responses));
  }

  private static final class Completing<R> implements StreamObserver<R> {
    private final CompletableFuture<R> answer;
    private R response;

    private Completing(CompletableFuture<R> answer) {
      this.answer = answer;
    }

    @Override
    public void onNext(R response) {
      this.response = response;
    }

    @Override
    public void onError(Throwable error) {
      answer.completeExceptionally(FinesieveException.of(error));
    }

    @Override
    public void onCompleted() {
      answer.complete(response);
    }
  }

  private record Translating<Q, R>(StreamObserver<R> responses)
      implements ClientResponseObserver<Q, R> {
    @Override
    @SuppressWarnings("unchecked") // An observer of this stream's responses is one of its requests.
    public void beforeStart(ClientCallStreamObserver<Q> requests) {
      if (responses instanceof ClientResponseObserver<?, R> observer) {
        ((ClientResponseObserver<Q, R>) observer).beforeStart(requests);
      }
    }

    @Override
    public void onNext(R response) {
      responses.onNext(response);
    }

    @Override
    public void onError(Throwable error) {
      responses.onError(FinesieveException.of(error));
    }

    @Override
    public void onCompleted() {
      responses.onCompleted();
    }
  }
}
