package dev.finesieve.client;

import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.Deadline;
import io.grpc.Status;
import io.grpc.health.v1.HealthCheckRequest;
import io.grpc.health.v1.HealthCheckResponse;
import io.grpc.health.v1.HealthCheckResponse.ServingStatus;
import io.grpc.health.v1.HealthGrpc;
import java.time.Duration;
import java.util.concurrent.TimeUnit;

/** Decide, from what gRPC's health service says, when a server takes calls. */
final class Readiness {
  /** Before watching again, where a server that starts or stops ended the watch. */
  private static final Duration PAUSE = Duration.ofMillis(200);

  private Readiness() {}

  static void await(Channel channel, String target, Duration timeout) {
    Deadline end = Deadline.after(timeout.toNanos(), TimeUnit.NANOSECONDS);
    CallOptions options = CallOptions.DEFAULT.withWaitForReady().withDeadline(end);
    try {
      while (!watch(channel, options)) {
        Thread.sleep(PAUSE.toMillis());
      }
    } catch (InterruptedException interrupt) {
      Thread.currentThread().interrupt();
      throw FinesieveException.of(
          Status.CANCELLED.withDescription("interrupted").withCause(interrupt));
    } catch (FinesieveException error) {
      if (error.getCode() != Status.Code.DEADLINE_EXCEEDED) {
        throw error;
      }
      double seconds = timeout.toNanos() / 1e9;
      String inVain = "the server at " + target + " was not ready within " + seconds + " s";
      throw FinesieveException.of(
          Status.DEADLINE_EXCEEDED.withDescription(inVain).withCause(error));
    }
  }

  /** Returns true once the server takes calls, false where watching again may help. */
  private static boolean watch(Channel channel, CallOptions options) {
    HealthCheckRequest wholeServer = HealthCheckRequest.getDefaultInstance();
    try (ResponseStream<HealthCheckResponse> answers =
        ResponseStream.ofOne(channel.newCall(HealthGrpc.getWatchMethod(), options), wholeServer)) {
      while (answers.hasNext()) {
        if (answers.next().getStatus() == ServingStatus.SERVING) {
          return true;
        }
      }
      return false;
    } catch (FinesieveException error) {
      if (error.getCode() != Status.Code.UNAVAILABLE) {
        throw error;
      }
      return false;
    }
  }
}
