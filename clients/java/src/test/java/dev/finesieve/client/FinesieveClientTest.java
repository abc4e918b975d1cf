package dev.finesieve.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.finesieve.v1.CreateCollectionRequest;
import dev.finesieve.v1.RerankServiceGrpc;
import dev.finesieve.v1.RetrievalServiceGrpc;
import dev.finesieve.v1.SearchRequest;
import dev.finesieve.v1.SearchResponse;
import dev.finesieve.v1.SearchServiceGrpc;
import dev.finesieve.v1.StreamRerankRequest;
import dev.finesieve.v1.StreamRerankResponse;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.time.Duration;
import java.util.Collections;
import java.util.Iterator;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** The client against a server that does what each test scripts. */
@Timeout(30)
class FinesieveClientTest {
  private static final SearchRequest QUESTION = SearchRequest.newBuilder().setQuery("?").build();
  private static final SearchResponse ANSWER =
      SearchResponse.newBuilder().setSearchId("s-1").build();
  private static final Metadata.Key<String> PUSHBACK =
      Metadata.Key.of("grpc-retry-pushback-ms", Metadata.ASCII_STRING_MARSHALLER);

  private ScriptedServer server;
  private FinesieveClient client;

  @BeforeEach
  void start() throws Exception {
    server = new ScriptedServer();
    client = FinesieveClient.builder().target(server.target()).token("secret").build();
  }

  @AfterEach
  void stop() {
    client.close();
    server.close();
  }

  @Test
  void aCallCarriesTokenUserAgentAndADeadlineOfThirtySeconds() {
    server.answer(SearchServiceGrpc.getSearchMethod(), ANSWER);

    assertEquals(ANSWER, client.search(QUESTION));

    ScriptedServer.Seen call = server.calls().get(0);
    assertEquals("Bearer secret", call.header("authorization"));
    assertTrue(call.header("user-agent").startsWith("finesieve-java/0.1.0 grpc-java"));
    assertTrue(call.secondsLeft() > 28 && call.secondsLeft() <= 30, call::toString);
  }

  @Test
  void aTimeoutOfOnesOwnCounts() {
    server.answer(SearchServiceGrpc.getSearchMethod(), ANSWER);

    client.withTimeout(Duration.ofSeconds(5)).search(QUESTION);

    assertTrue(server.calls().get(0).secondsLeft() <= 5);
  }

  @Test
  void aStreamHasNoDeadlineUnlessItIsGivenOne() {
    server.echo(RerankServiceGrpc.getStreamRerankMethod(), FinesieveClientTest::answer);

    drain(client.streamRerank(List.of(request(1))));
    drain(client.withTimeout(Duration.ofSeconds(5)).streamRerank(List.of(request(1))));

    assertEquals(Double.POSITIVE_INFINITY, server.calls().get(0).secondsLeft());
    assertTrue(server.calls().get(1).secondsLeft() <= 5);
  }

  @Test
  void aStubOverTheChannelHasTheSame() {
    server.answer(SearchServiceGrpc.getSearchMethod(), ANSWER);

    SearchServiceGrpc.newBlockingStub(client.channel()).search(QUESTION);

    assertEquals("Bearer secret", server.calls().get(0).header("authorization"));
    assertTrue(server.calls().get(0).secondsLeft() <= 30);
  }

  @Test
  void aRepeatableCallIsTriedAgainAsThePushbackSays() {
    server.fail(SearchServiceGrpc.getSearchMethod(), Status.UNAVAILABLE, pushback("1"));

    FinesieveException error =
        assertThrows(FinesieveException.class, () -> client.search(QUESTION));

    assertEquals(Status.Code.UNAVAILABLE, error.getCode());
    assertEquals(4, server.calls().size());
  }

  @Test
  void aLargeCallIsTriedAgainToo() {
    server.fail(SearchServiceGrpc.getSearchMethod(), Status.UNAVAILABLE, pushback("1"));
    SearchRequest large = SearchRequest.newBuilder().setQuery("x".repeat(3_000_000)).build();

    assertThrows(FinesieveException.class, () -> client.search(large));

    assertEquals(4, server.calls().size());
  }

  @Test
  void aPushbackBelowZeroIsTheLastWord() {
    server.fail(SearchServiceGrpc.getSearchMethod(), Status.UNAVAILABLE, pushback("-1"));

    assertThrows(FinesieveException.class, () -> client.search(QUESTION));

    assertEquals(1, server.calls().size());
  }

  @Test
  void aCallThatMayNotBeRepeatedIsNot() {
    server.fail(
        RetrievalServiceGrpc.getCreateCollectionMethod(), Status.UNAVAILABLE, pushback("1"));
    CreateCollectionRequest request = CreateCollectionRequest.getDefaultInstance();

    assertThrows(FinesieveException.class, () -> client.createCollection(request));

    assertEquals(1, server.calls().size());
  }

  @Test
  void aFutureBringsTheAnswer() throws Exception {
    server.answer(SearchServiceGrpc.getSearchMethod(), ANSWER);

    assertEquals(ANSWER, client.async().search(QUESTION).get());
  }

  @Test
  void aFutureFailsWithTheClientsOwnException() {
    server.fail(SearchServiceGrpc.getSearchMethod(), Status.NOT_FOUND, new Metadata());

    ExecutionException error =
        assertThrows(ExecutionException.class, () -> client.async().search(QUESTION).get());

    FinesieveException cause = (FinesieveException) error.getCause();
    assertEquals(Status.Code.NOT_FOUND, cause.getCode());
    assertTrue(cause.getCause() instanceof StatusRuntimeException);
  }

  @Test
  void toCancelAFutureIsToCancelItsCall() throws Exception {
    server.hang(SearchServiceGrpc.getSearchMethod());
    CompletableFuture<SearchResponse> answer = client.async().search(QUESTION);
    server.awaitCall();

    answer.cancel(true);

    server.awaitCancellation();
  }

  @Test
  void aThreadThatIsInterruptedCancelsItsCall() throws Exception {
    server.hang(SearchServiceGrpc.getSearchMethod());
    CompletableFuture<Boolean> interrupted = new CompletableFuture<>();
    Thread waiting =
        new Thread(
            () -> {
              assertThrows(FinesieveException.class, () -> client.search(QUESTION));
              interrupted.complete(Thread.currentThread().isInterrupted());
            });
    waiting.start();
    server.awaitCall();

    waiting.interrupt();

    server.awaitCancellation();
    assertTrue(interrupted.get());
  }

  @Test
  void aStreamSendsAndReceivesAtTheSameTime() {
    server.echo(RerankServiceGrpc.getStreamRerankMethod(), FinesieveClientTest::answer);
    List<StreamRerankRequest> large = Collections.nCopies(2_000, request(10_000));

    assertEquals(2_000, drain(client.streamRerank(large)));
  }

  @Test
  void aStreamThatIsClosedIsCancelled() throws Exception {
    server.hang(RerankServiceGrpc.getStreamRerankMethod());
    ResponseStream<StreamRerankResponse> answers = client.streamRerank(List.of(request(1)));
    server.awaitCall();

    answers.close();

    server.awaitCancellation();
    FinesieveException end = assertThrows(FinesieveException.class, answers::hasNext);
    assertEquals(Status.Code.CANCELLED, end.getCode());
  }

  @Test
  void aStreamWhoseRequestsFailEndsWithTheirException() throws Exception {
    server.hang(RerankServiceGrpc.getStreamRerankMethod());
    IllegalStateException broken = new IllegalStateException("broken");
    Iterable<StreamRerankRequest> requests =
        () -> {
          throw broken;
        };

    try (ResponseStream<StreamRerankResponse> answers = client.streamRerank(requests)) {
      assertSame(broken, assertThrows(IllegalStateException.class, answers::hasNext));
    }
  }

  @Test
  void aStreamThatIsOverLetsGoOfItsRequests() throws Exception {
    server.hang(RerankServiceGrpc.getStreamRerankMethod());
    CompletableFuture<Thread> waiting = new CompletableFuture<>();
    Iterable<StreamRerankRequest> never =
        () -> {
          waiting.complete(Thread.currentThread());
          try {
            TimeUnit.HOURS.sleep(1);
          } catch (InterruptedException interrupt) {
            Thread.currentThread().interrupt();
          }
          return Collections.emptyIterator();
        };
    ResponseStream<StreamRerankResponse> answers =
        client.withTimeout(Duration.ofSeconds(1)).streamRerank(never);
    Thread sender = waiting.get();

    FinesieveException end = assertThrows(FinesieveException.class, answers::hasNext);

    assertEquals(Status.Code.DEADLINE_EXCEEDED, end.getCode());
    sender.join(10_000);
    assertFalse(sender.isAlive());
  }

  @Test
  void aStreamHoldsTheServerBackWhileNobodyReads() throws Exception {
    AtomicInteger taken = new AtomicInteger();
    server.echo(RerankServiceGrpc.getStreamRerankMethod(), FinesieveClientTest::answer);
    Iterator<StreamRerankRequest> endless =
        new Iterator<>() {
          @Override
          public boolean hasNext() {
            return true;
          }

          @Override
          public StreamRerankRequest next() {
            taken.incrementAndGet();
            return request(100_000);
          }
        };

    try (ResponseStream<StreamRerankResponse> answers = client.streamRerank(() -> endless)) {
      assertTrue(answers.hasNext());
      int before;
      do {
        before = taken.get();
        TimeUnit.MILLISECONDS.sleep(500);
      } while (taken.get() > before);
      assertTrue(taken.get() < 1_000, () -> taken + " requests were taken");
    }
  }

  @Test
  void aServerThatCannotBeReachedIsToldWithTheReason() {
    server.close();

    FinesieveException error =
        assertThrows(FinesieveException.class, () -> client.search(QUESTION));

    assertEquals(Status.Code.UNAVAILABLE, error.getCode());
    assertTrue(error.getMessage().contains("Connection refused"), error::getMessage);
  }

  @Test
  void waitingForAServerEndsOnceItServes() {
    server.setServing(false);
    CompletableFuture.delayedExecutor(300, TimeUnit.MILLISECONDS)
        .execute(() -> server.setServing(true));

    client.waitReady(Duration.ofSeconds(20));
  }

  @Test
  void waitingForAServerEndsInTime() {
    server.setServing(false);

    FinesieveException error =
        assertThrows(FinesieveException.class, () -> client.waitReady(Duration.ofMillis(300)));

    assertEquals(Status.Code.DEADLINE_EXCEEDED, error.getCode());
    assertEquals(
        "the server at " + server.target() + " was not ready within 0.3 s", error.getMessage());
  }

  private static Metadata pushback(String milliseconds) {
    Metadata trailers = new Metadata();
    trailers.put(PUSHBACK, milliseconds);
    return trailers;
  }

  private static StreamRerankRequest request(int length) {
    return StreamRerankRequest.newBuilder().setRequestId("x".repeat(length)).build();
  }

  private static StreamRerankResponse answer(StreamRerankRequest request) {
    return StreamRerankResponse.newBuilder().setRequestId(request.getRequestId()).build();
  }

  private static int drain(ResponseStream<StreamRerankResponse> stream) {
    int count = 0;
    try (stream) {
      while (stream.hasNext()) {
        stream.next();
        count++;
      }
      assertFalse(stream.hasNext());
    }
    return count;
  }
}
