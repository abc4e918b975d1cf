package dev.finesieve.client;

import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.MethodDescriptor;
import java.time.Duration;

/**
 * The way that calls take, and how long each may take; null: as the channel has it for those that
 * are not streams.
 */
record Route(Channel channel, Duration timeout) {
  CallOptions options() {
    return timeout == null ? CallOptions.DEFAULT : CallOptions.DEFAULT.withDeadlineAfter(timeout);
  }

  <Q, R> ClientCall<Q, R> call(MethodDescriptor<Q, R> method) {
    return channel.newCall(method, options());
  }
}
