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
import io.grpc.Channel;
import io.grpc.ChannelCredentials;
import io.grpc.ClientInterceptors;
import io.grpc.ManagedChannel;
import io.grpc.MethodDescriptor;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.ClientCalls;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Objects;

/**
 * A connection to one server, for any number of threads.
 *
 * <p>Each method is the RPC of that name: it sends the contract's own message, waits, and returns
 * the answer or throws a {@link FinesieveException}. Calls that may be repeated are, up to four
 * times, as the server's pushback allows. A thread that is interrupted cancels its call.
 *
 * <p>{@link #async} has the same methods without the waiting; {@link #channel} is for generated
 * stubs.
 */
public final class FinesieveClient implements AutoCloseable {
  private final ManagedChannel connection;
  private final String target;
  private final Route route;

  private FinesieveClient(ManagedChannel connection, String target, Route route) {
    this.connection = connection;
    this.target = target;
    this.route = route;
  }

  /** Starts to describe a client. */
  public static Builder builder() {
    return new Builder();
  }

  /**
   * Returns a client whose calls, streams too, must end within this time; each call's begins with
   * the call. It shares this one's connection: to close either is to close both.
   */
  public FinesieveClient withTimeout(Duration timeout) {
    return new FinesieveClient(connection, target, new Route(route.channel(), timeout));
  }

  /** Returns the same connection for calls whose answers are futures. */
  public FinesieveAsyncClient async() {
    return new FinesieveAsyncClient(route);
  }

  /**
   * Returns the channel for a stub of the contract, such as {@code
   * SearchServiceGrpc.newFutureStub(client.channel())}. It has the client's deadline, token and
   * retries; what stubs throw, {@link FinesieveException#of(Throwable)} translates.
   */
  public Channel channel() {
    return route.channel();
  }

  /**
   * Returns once the server is reachable and takes calls.
   *
   * @throws FinesieveException DEADLINE_EXCEEDED where that takes longer than {@code timeout}
   */
  public void waitReady(Duration timeout) {
    Readiness.await(route.channel(), target, timeout);
  }

  /** Closes the connection; calls under way end with an error. */
  @Override
  public void close() {
    connection.shutdownNow();
  }

  /** Retrieves many, reranks them, returns few. */
  public SearchResponse search(SearchRequest request) {
    return call(SearchServiceGrpc.getSearchMethod(), request);
  }

  /** Orders documents by their relevance to a query. */
  public RerankResponse rerank(RerankRequest request) {
    return call(RerankServiceGrpc.getRerankMethod(), request);
  }

  /** Finds the passages nearest to a query. */
  public RetrieveResponse retrieve(RetrieveRequest request) {
    return call(RetrievalServiceGrpc.getRetrieveMethod(), request);
  }

  /** Finds the passages nearest to each of many queries. */
  public BatchRetrieveResponse batchRetrieve(BatchRetrieveRequest request) {
    return call(RetrievalServiceGrpc.getBatchRetrieveMethod(), request);
  }

  /** Makes a collection. */
  public CreateCollectionResponse createCollection(CreateCollectionRequest request) {
    return call(RetrievalServiceGrpc.getCreateCollectionMethod(), request);
  }

  /** Tells what a collection is. */
  public GetCollectionResponse getCollection(GetCollectionRequest request) {
    return call(RetrievalServiceGrpc.getGetCollectionMethod(), request);
  }

  /** Lists collections, page by page. */
  public ListCollectionsResponse listCollections(ListCollectionsRequest request) {
    return call(RetrievalServiceGrpc.getListCollectionsMethod(), request);
  }

  /** Removes a collection with all its passages. */
  public DeleteCollectionResponse deleteCollection(DeleteCollectionRequest request) {
    return call(RetrievalServiceGrpc.getDeleteCollectionMethod(), request);
  }

  /** Stores all passages of the request or none; they are durable once this returns. */
  public UpsertPassagesResponse upsertPassages(UpsertPassagesRequest request) {
    return call(RetrievalServiceGrpc.getUpsertPassagesMethod(), request);
  }

  /** Removes passages. */
  public DeletePassagesResponse deletePassages(DeletePassagesRequest request) {
    return call(RetrievalServiceGrpc.getDeletePassagesMethod(), request);
  }

  /** Returns passages by their ids. */
  public GetPassagesResponse getPassages(GetPassagesRequest request) {
    return call(RetrievalServiceGrpc.getGetPassagesMethod(), request);
  }

  /** Lists passages, page by page. */
  public ListPassagesResponse listPassages(ListPassagesRequest request) {
    return call(RetrievalServiceGrpc.getListPassagesMethod(), request);
  }

  /** Embeds texts. */
  public EmbedResponse embed(EmbedRequest request) {
    return call(EmbeddingServiceGrpc.getEmbedMethod(), request);
  }

  /** Counts the tokens of texts without embedding them. */
  public CountTokensResponse countTokens(CountTokensRequest request) {
    return call(EmbeddingServiceGrpc.getCountTokensMethod(), request);
  }

  /** Lists the models that the server runs. */
  public ListModelsResponse listModels(ListModelsRequest request) {
    return call(ModelServiceGrpc.getListModelsMethod(), request);
  }

  /** Records what a user made of a hit. */
  public RecordFeedbackResponse recordFeedback(RecordFeedbackRequest request) {
    return call(FeedbackServiceGrpc.getRecordFeedbackMethod(), request);
  }

  /**
   * Reranks many times over one stream; answers carry their request's id and come in any order. The
   * requests are read in a thread of their own. There is no deadline but that of {@link
   * #withTimeout}.
   */
  public ResponseStream<StreamRerankResponse> streamRerank(Iterable<StreamRerankRequest> requests) {
    return stream(RerankServiceGrpc.getStreamRerankMethod(), requests);
  }

  /**
   * Stores one batch of passages after another, and answers each in order: stored whole or, where
   * the answer has a failure, not at all. Threads and deadline are as with {@link #streamRerank}.
   */
  public ResponseStream<StreamUpsertPassagesResponse> streamUpsertPassages(
      Iterable<StreamUpsertPassagesRequest> requests) {
    return stream(RetrievalServiceGrpc.getStreamUpsertPassagesMethod(), requests);
  }

  /** Draws training pairs from the searches and the feedback that were recorded. */
  public ResponseStream<ExportTrainingPairsResponse> exportTrainingPairs(
      ExportTrainingPairsRequest request) {
    return ResponseStream.ofOne(
        route.call(FeedbackServiceGrpc.getExportTrainingPairsMethod()), request);
  }

  private <Q, R> R call(MethodDescriptor<Q, R> method, Q request) {
    try {
      return ClientCalls.blockingUnaryCall(route.channel(), method, route.options(), request);
    } catch (StatusRuntimeException error) {
      throw FinesieveException.of(error);
    }
  }

  private <Q, R> ResponseStream<R> stream(MethodDescriptor<Q, R> method, Iterable<Q> requests) {
    return ResponseStream.ofMany(route.call(method), requests);
  }

  /** What a client is made of. Naming any file, or the server, means TLS. */
  public static final class Builder {
    private String target = "localhost:50051";
    private String token = "";
    private Duration timeout = Duration.ofSeconds(30);
    private boolean tls;
    private Path rootCertificates;
    private Path clientCertificate;
    private Path clientKey;
    private String serverName = "";

    private Builder() {}

    /**
     * "host:port", or any target of gRPC's; "localhost:50051" by default. Calls take turns over all
     * addresses of its name.
     */
    public Builder target(String target) {
      this.target = Objects.requireNonNull(target);
      return this;
    }

    /** Travels as a bearer token, and only over TLS or to this same machine. */
    public Builder token(String token) {
      this.token = Objects.requireNonNull(token);
      return this;
    }

    /** How long a call that is not a stream may take; 30 seconds by default. */
    public Builder timeout(Duration timeout) {
      this.timeout = Objects.requireNonNull(timeout);
      return this;
    }

    /**
     * Speaks TLS and trusts the system's authorities, unless {@link #rootCertificates} are named.
     */
    public Builder tls() {
      this.tls = true;
      return this;
    }

    /** Trusts these authorities instead (a PEM file). */
    public Builder rootCertificates(Path rootCertificates) {
      this.rootCertificates = Objects.requireNonNull(rootCertificates);
      return tls();
    }

    /** Proves who the client is (PEM files; the key as PKCS #8). */
    public Builder clientCertificate(Path certificate, Path key) {
      if (certificate == null || key == null) {
        throw new IllegalArgumentException(
            "a client's certificate and key belong together; one is missing");
      }
      this.clientCertificate = certificate;
      this.clientKey = key;
      return tls();
    }

    /** What the server's certificate must name, where that is not the host in the target. */
    public Builder serverName(String serverName) {
      this.serverName = Objects.requireNonNull(serverName);
      return tls();
    }

    /**
     * Makes the client; nothing is sent before the first call.
     *
     * @throws IllegalArgumentException where a token would travel in the clear, or a target or a
     *     certificate makes no sense
     * @throws UncheckedIOException where a file cannot be read
     */
    public FinesieveClient build() {
      if (!token.isEmpty() && !tls && !Connection.isLoopback(target)) {
        throw new IllegalArgumentException(
            "a token would travel to " + target + " in the clear; speak TLS");
      }
      ChannelCredentials credentials =
          tls
              ? Connection.tls(rootCertificates, clientCertificate, clientKey)
              : Connection.plaintext();
      ManagedChannel connection = Connection.open(target, credentials, serverName);
      Channel channel =
          ClientInterceptors.intercept(
              connection, Interceptors.token(token), Interceptors.deadline(timeout));
      return new FinesieveClient(connection, target, new Route(channel, null));
    }
  }
}
