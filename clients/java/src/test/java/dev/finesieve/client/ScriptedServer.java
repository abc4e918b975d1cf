package dev.finesieve.client;

import io.grpc.Context;
import io.grpc.Deadline;
import io.grpc.Grpc;
import io.grpc.HandlerRegistry;
import io.grpc.InsecureServerCredentials;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Server;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerMethodDefinition;
import io.grpc.Status;
import io.grpc.health.v1.HealthCheckResponse.ServingStatus;
import io.grpc.protobuf.services.HealthStatusManager;
import java.io.IOException;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;
import java.util.logging.Level;
import java.util.logging.Logger;

/** A real server on a free port, with health; each method does as the test says. */
final class ScriptedServer implements AutoCloseable {
  /** What came with a call; infinitely many seconds are left where it has no deadline. */
  record Seen(Metadata headers, double secondsLeft) {
    String header(String name) {
      return headers.get(Metadata.Key.of(name, Metadata.ASCII_STRING_MARSHALLER));
    }
  }

  /** Warns of every answer that a client did not wait for. */
  private static final Logger TRANSPORT = Logger.getLogger("io.grpc.netty.shaded");

  static {
    TRANSPORT.setLevel(Level.SEVERE);
  }

  private final Map<String, ServerMethodDefinition<?, ?>> script = new ConcurrentHashMap<>();
  private final List<Seen> calls = new CopyOnWriteArrayList<>();
  private final Semaphore begun = new Semaphore(0);
  private final Semaphore cancelled = new Semaphore(0);
  private final HealthStatusManager health = new HealthStatusManager();
  private final Server server;

  ScriptedServer() throws IOException {
    HandlerRegistry methods =
        new HandlerRegistry() {
          @Override
          public ServerMethodDefinition<?, ?> lookupMethod(String method, String authority) {
            return script.get(method);
          }
        };
    server =
        Grpc.newServerBuilderForPort(0, InsecureServerCredentials.create())
            .addService(health.getHealthService())
            .fallbackHandlerRegistry(methods)
            .build()
            .start();
  }

  String target() {
    return "localhost:" + server.getPort();
  }

  List<Seen> calls() {
    return calls;
  }

  <Q, R> void answer(MethodDescriptor<Q, R> method, R answer) {
    echo(method, request -> answer);
  }

  /** Answers each request as it comes; reads the next one when the answer is out. */
  <Q, R> void echo(MethodDescriptor<Q, R> method, Function<Q, R> answer) {
    on(
        method,
        call ->
            new Listener<Q, R>(call) {
              private boolean begun;

              @Override
              public void onMessage(Q request) {
                if (!begun) {
                  begun = true;
                  call.sendHeaders(new Metadata());
                }
                call.sendMessage(answer.apply(request));
                readOn();
              }

              @Override
              public void onReady() {
                readOn();
              }

              @Override
              public void onHalfClose() {
                call.close(Status.OK, new Metadata());
              }

              private void readOn() {
                if (call.isReady()) {
                  call.request(1);
                }
              }
            });
  }

  <Q, R> void fail(MethodDescriptor<Q, R> method, Status status, Metadata trailers) {
    on(
        method,
        call ->
            new Listener<Q, R>(call) {
              @Override
              public void onHalfClose() {
                call.close(status, trailers);
              }
            });
  }

  /** Never answers. */
  <Q, R> void hang(MethodDescriptor<Q, R> method) {
    on(method, Listener::new);
  }

  void setServing(boolean serving) {
    health.setStatus("", serving ? ServingStatus.SERVING : ServingStatus.NOT_SERVING);
  }

  void awaitCall() throws InterruptedException {
    begun.acquire();
  }

  void awaitCancellation() throws InterruptedException {
    cancelled.acquire();
  }

  @Override
  public void close() {
    server.shutdownNow();
  }

  private <Q, R> void on(
      MethodDescriptor<Q, R> method, Function<ServerCall<Q, R>, ServerCall.Listener<Q>> listen) {
    ServerCallHandler<Q, R> handler =
        (call, headers) -> {
          Deadline deadline = Context.current().getDeadline();
          calls.add(
              new Seen(
                  headers,
                  deadline == null
                      ? Double.POSITIVE_INFINITY
                      : deadline.timeRemaining(TimeUnit.MILLISECONDS) / 1e3));
          begun.release();
          call.request(1);
          return listen.apply(call);
        };
    script.put(method.getFullMethodName(), ServerMethodDefinition.create(method, handler));
  }

  private class Listener<Q, R> extends ServerCall.Listener<Q> {
    final ServerCall<Q, R> call;

    private Listener(ServerCall<Q, R> call) {
      this.call = call;
    }

    @Override
    public void onCancel() {
      cancelled.release();
    }
  }
}
