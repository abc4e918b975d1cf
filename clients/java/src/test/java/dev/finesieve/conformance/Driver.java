package dev.finesieve.conformance;

import com.google.protobuf.ByteString;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import dev.finesieve.client.FinesieveClient;
import dev.finesieve.client.FinesieveException;
import dev.finesieve.client.Rag;
import dev.finesieve.client.ResponseStream;
import dev.finesieve.conformance.Methods.Method;
import dev.finesieve.conformance.Methods.Streaming;
import dev.finesieve.conformance.Methods.Unary;
import dev.finesieve.conformance.v1.Call;
import dev.finesieve.conformance.v1.Connection;
import dev.finesieve.conformance.v1.Error;
import dev.finesieve.conformance.v1.Order;
import dev.finesieve.conformance.v1.Outcome;
import dev.finesieve.conformance.v1.Prompt;
import dev.finesieve.conformance.v1.Violation;
import dev.finesieve.v1.CreateCollectionRequest;
import dev.finesieve.v1.SearchHit;
import dev.finesieve.v1.SearchResponse;
import io.grpc.Status;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.Executor;
import java.util.concurrent.TimeUnit;

/**
 * Carries out the orders of the conformance suite, one after another, by this client.
 *
 * <p>What an order says, and an outcome, {@code clients/conformance/proto} tells.
 */
final class Driver {
  private static final int KEPT_RESPONSES = 16;

  private final Map<Connection, FinesieveClient> clients = new HashMap<>();

  private Driver() {}

  public static void main(String[] arguments) throws IOException {
    DataInputStream in = new DataInputStream(System.in);
    DataOutputStream out = new DataOutputStream(System.out);
    warmUp();
    Driver driver = new Driver();
    while (true) {
      byte[] order;
      try {
        order = in.readNBytes(in.readInt());
      } catch (EOFException end) {
        driver.clients.values().forEach(FinesieveClient::close);
        return;
      }
      Outcome outcome = driver.carryOut(Order.parseFrom(order));
      out.writeInt(outcome.getSerializedSize());
      outcome.writeTo(out);
      out.flush();
    }
  }

  /** Makes a call in vain: a JVM's first takes longer than some orders wait before they cancel. */
  private static void warmUp() {
    try (FinesieveClient client = FinesieveClient.builder().target("127.0.0.1:1").build()) {
      client.createCollection(CreateCollectionRequest.getDefaultInstance());
    } catch (FinesieveException error) {
      assert error.getCode() == Status.Code.UNAVAILABLE : error;
    }
  }

  private Outcome carryOut(Order order) throws InvalidProtocolBufferException {
    Outcome.Builder outcome = Outcome.newBuilder();
    try {
      switch (order.getWhatCase()) {
        case CALL -> call(client(order), order.getCall(), outcome);
        case WAIT_READY ->
            client(order).waitReady(Duration.ofMillis(order.getWaitReady().getTimeoutMs()));
        case PROMPT -> prompt(order.getPrompt(), outcome);
        case WHAT_NOT_SET -> throw new IllegalArgumentException("an order of nothing");
      }
    } catch (FinesieveException error) {
      outcome.setError(error(error));
    } catch (CancellationException cancelled) {
      outcome.setError(Error.newBuilder().setCode(Status.CANCELLED.getCode().value()));
    } catch (IllegalArgumentException | UncheckedIOException refusal) {
      outcome.setRefusal(refusal.getMessage());
    }
    return outcome.build();
  }

  private FinesieveClient client(Order order) {
    return clients.computeIfAbsent(order.getConnection(), Driver::connect);
  }

  private static FinesieveClient connect(Connection connection) {
    FinesieveClient.Builder client =
        FinesieveClient.builder().target(connection.getTarget()).token(connection.getToken());
    if (connection.getTls()) {
      client.tls();
    }
    if (!connection.getRootCertificates().isEmpty()) {
      client.rootCertificates(Path.of(connection.getRootCertificates()));
    }
    if (!connection.getClientCertificate().isEmpty() || !connection.getClientKey().isEmpty()) {
      client.clientCertificate(
          path(connection.getClientCertificate()), path(connection.getClientKey()));
    }
    if (!connection.getServerName().isEmpty()) {
      client.serverName(connection.getServerName());
    }
    if (connection.getTimeoutMs() > 0) {
      client.timeout(Duration.ofMillis(connection.getTimeoutMs()));
    }
    return client.build();
  }

  private static Path path(String name) {
    return name.isEmpty() ? null : Path.of(name);
  }

  private static void call(FinesieveClient client, Call call, Outcome.Builder outcome)
      throws InvalidProtocolBufferException {
    Method method = Methods.BY_PATH.get(call.getMethod());
    if (call.hasTimeoutMs()) {
      client = client.withTimeout(Duration.ofMillis(call.getTimeoutMs()));
    }
    if (method instanceof Unary<?, ?> unary) {
      callUnary(unary, client, call, outcome);
    } else if (method instanceof Streaming<?, ?> streaming) {
      callStreaming(streaming, client, call, outcome);
    } else {
      throw new IllegalArgumentException("unknown method " + call.getMethod());
    }
  }

  private static <Q extends Message, R extends Message> void callUnary(
      Unary<Q, R> method, FinesieveClient client, Call call, Outcome.Builder outcome)
      throws InvalidProtocolBufferException {
    Q request = method.parser().parseFrom(call.getRequests(0));
    R response;
    if (call.hasCancelAfterMs()) {
      CompletableFuture<R> answer = method.callAsync().apply(client.async(), request);
      after(call.getCancelAfterMs()).execute(() -> answer.cancel(true));
      response = join(answer);
    } else {
      response = method.call().apply(client, request);
    }
    outcome.addResponses(response.toByteString()).setResponseCount(1);
  }

  private static <R> R join(CompletableFuture<R> answer) {
    try {
      return answer.join();
    } catch (CompletionException error) {
      throw FinesieveException.of(error.getCause());
    }
  }

  private static <Q extends Message, R extends Message> void callStreaming(
      Streaming<Q, R> method, FinesieveClient client, Call call, Outcome.Builder outcome)
      throws InvalidProtocolBufferException {
    List<Q> requests = new ArrayList<>();
    for (ByteString request : call.getRequestsList()) {
      requests.add(method.parser().parseFrom(request));
    }
    Queue<ByteString> kept = new ArrayDeque<>();
    try (ResponseStream<R> responses =
        method.open().apply(client, repeated(requests, Math.max(call.getRepeat(), 1)))) {
      if (call.hasCancelAfterMs()) {
        after(call.getCancelAfterMs()).execute(responses::close);
      }
      while (responses.hasNext()) {
        kept.add(responses.next().toByteString());
        if (kept.size() > KEPT_RESPONSES) {
          kept.remove();
        }
        outcome.setResponseCount(outcome.getResponseCount() + 1);
        if (call.hasCancelAfterResponses()
            && outcome.getResponseCount() == call.getCancelAfterResponses()) {
          throw new CancellationException(); // to leave the stream is to cancel it
        }
      }
    } finally {
      outcome.addAllResponses(kept);
    }
  }

  private static <Q> Iterable<Q> repeated(List<Q> requests, int times) {
    return () -> Collections.nCopies(times, requests).stream().flatMap(List::stream).iterator();
  }

  private static Executor after(int milliseconds) {
    return CompletableFuture.delayedExecutor(milliseconds, TimeUnit.MILLISECONDS);
  }

  private static void prompt(Prompt prompt, Outcome.Builder outcome)
      throws InvalidProtocolBufferException {
    List<SearchHit> hits = SearchResponse.parseFrom(prompt.getSearchResponse()).getHitsList();
    outcome.setPrompt(Rag.prompt(prompt.getQuestion(), hits));
    outcome.addAllCitedIds(Rag.cited(prompt.getAnswer(), hits));
  }

  private static Error error(FinesieveException error) {
    Error.Builder told =
        Error.newBuilder()
            .setCode(error.getCode().value())
            .setMessage(error.getMessage())
            .setReason(error.getReason())
            .putAllMetadata(error.getMetadata())
            .setRequestId(error.getRequestId());
    for (FinesieveException.Violation violation : error.getViolations()) {
      told.addViolations(
          Violation.newBuilder()
              .setField(violation.field())
              .setDescription(violation.description()));
    }
    error.getRetryDelay().ifPresent(delay -> told.setRetryDelayS(delay.toNanos() / 1e9));
    return told.build();
  }
}
