package dev.finesieve.client;

import io.grpc.ClientCall;
import io.grpc.Status;
import io.grpc.stub.ClientCallStreamObserver;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.ClientResponseObserver;
import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;

/**
 * The responses of a stream, as they come; for one thread.
 *
 * <p>{@link #hasNext} waits and throws what the call failed with, or what its requests threw, which
 * ends the stream. The server is held back while nobody asks. Close a stream that is not read to
 * its end: that cancels the call. The thread that takes the requests is interrupted once the call
 * is over.
 */
public final class ResponseStream<R> implements Iterator<R>, AutoCloseable {
  /** How many responses may wait here to be read. */
  private static final int PREFETCH = 16;

  private sealed interface Event<R> {}

  private record Response<R>(R message) implements Event<R> {}

  /** The call is over; {@code error} is null where it went well. */
  private record End<R>(Throwable error) implements Event<R> {
    void rethrow() {
      if (error instanceof RuntimeException exception) {
        throw exception;
      }
      if (error instanceof Error fatal) {
        throw fatal;
      }
    }
  }

  private final BlockingQueue<Event<R>> events = new LinkedBlockingQueue<>();
  private ClientCallStreamObserver<?> call;
  private Thread sender;
  private Event<R> next;
  private volatile boolean closed;

  private ResponseStream() {}

  /** Sends one request. */
  static <Q, R> ResponseStream<R> ofOne(ClientCall<Q, R> call, Q request) {
    ResponseStream<R> stream = new ResponseStream<>();
    ClientCalls.asyncServerStreamingCall(call, request, stream.new Receiver<Q>());
    return stream;
  }

  /** Sends many requests, from a thread of their own, as fast as the server takes them. */
  static <Q, R> ResponseStream<R> ofMany(ClientCall<Q, R> call, Iterable<Q> requests) {
    ResponseStream<R> stream = new ResponseStream<>();
    ResponseStream<R>.Receiver<Q> receiver = stream.new Receiver<>();
    stream.sender = new Thread(() -> receiver.send(requests), "finesieve-stream-sender");
    stream.sender.setDaemon(true);
    ClientCalls.asyncBidiStreamingCall(call, receiver);
    stream.sender.start();
    return stream;
  }

  /**
   * Waits for the next response; returns whether there is one.
   *
   * @throws FinesieveException what the call failed with
   * @throws RuntimeException what the requests threw
   */
  @Override
  public boolean hasNext() {
    if (next == null) {
      next = take();
    }
    if (next instanceof End<R> end) {
      end.rethrow();
    }
    return next instanceof Response<R>;
  }

  @Override
  public R next() {
    if (!hasNext()) {
      throw new NoSuchElementException("the stream is at its end");
    }
    R message = ((Response<R>) next).message();
    next = null;
    return message;
  }

  /** Cancels the call, where it is not over, and ends the stream; any thread may do so. */
  @Override
  public void close() {
    closed = true;
    call.cancel("the stream was closed", null);
    if (sender != null) {
      sender.interrupt();
    }
  }

  private Event<R> take() {
    try {
      Event<R> event = events.take();
      while (closed && event instanceof Response<R>) {
        event = events.take();
      }
      if (event instanceof Response<R>) {
        call.request(1);
      }
      return event;
    } catch (InterruptedException interrupt) {
      close();
      Thread.currentThread().interrupt();
      return new End<>(
          FinesieveException.of(
              Status.CANCELLED.withDescription("interrupted").withCause(interrupt)));
    }
  }

  private final class Receiver<Q> implements ClientResponseObserver<Q, R> {
    private final Object readiness = new Object();
    private ClientCallStreamObserver<Q> requests;
    private volatile boolean over;
    private volatile Throwable broken;

    @Override
    public void beforeStart(ClientCallStreamObserver<Q> requests) {
      this.requests = requests;
      call = requests;
      requests.disableAutoRequestWithInitial(PREFETCH);
      requests.setOnReadyHandler(this::wake);
    }

    @Override
    public void onNext(R message) {
      events.add(new Response<>(message));
    }

    @Override
    public void onError(Throwable error) {
      end(broken != null ? broken : FinesieveException.of(error));
    }

    @Override
    public void onCompleted() {
      end(null);
    }

    /** Sends each request once there is room for it, until the call is over. */
    void send(Iterable<Q> messages) {
      if (over) { // before this thread could be interrupted
        return;
      }
      try {
        for (Q message : messages) {
          if (!awaitRoom()) {
            return;
          }
          requests.onNext(message);
        }
        requests.onCompleted();
      } catch (InterruptedException ended) {
        // The call is over, or close() has cancelled it.
      } catch (RuntimeException | Error error) {
        if (!closed) {
          broken = error;
        }
        requests.cancel("the requests of the stream ended with an error", error);
      }
    }

    private boolean awaitRoom() throws InterruptedException {
      synchronized (readiness) {
        while (!over && !requests.isReady()) {
          readiness.wait();
        }
        return !over;
      }
    }

    private void wake() {
      synchronized (readiness) {
        readiness.notifyAll();
      }
    }

    private void end(Throwable error) {
      events.add(new End<>(error));
      synchronized (readiness) {
        over = true;
        readiness.notifyAll();
      }
      if (sender != null) {
        sender.interrupt(); // it may wait for a request
      }
    }
  }
}
