package dev.finesieve.client;

import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.MethodDescriptor.MethodType;
import io.grpc.stub.MetadataUtils;
import java.time.Duration;

/** What every call gets on its way out, whichever stub makes it. */
final class Interceptors {
  private static final Metadata.Key<String> AUTHORIZATION =
      Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

  private Interceptors() {}

  /** Sends the token with every call; none where it is empty. */
  static ClientInterceptor token(String token) {
    Metadata headers = new Metadata();
    if (!token.isEmpty()) {
      headers.put(AUTHORIZATION, "Bearer " + token);
    }
    return MetadataUtils.newAttachHeadersInterceptor(headers);
  }

  /** Gives calls that are not streams a deadline, where they have none of their own. */
  static ClientInterceptor deadline(Duration timeout) {
    return new ClientInterceptor() {
      @Override
      public <Q, R> ClientCall<Q, R> interceptCall(
          MethodDescriptor<Q, R> method, CallOptions options, Channel next) {
        boolean needsOne = method.getType() == MethodType.UNARY && options.getDeadline() == null;
        return next.newCall(method, needsOne ? options.withDeadlineAfter(timeout) : options);
      }
    };
  }
}
