package dev.finesieve.client;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RequestInfo;
import com.google.rpc.RetryInfo;
import dev.finesieve.v1.Failure;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusException;
import io.grpc.StatusRuntimeException;
import java.io.Serializable;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;

/**
 * A call, or one item of it, that the server did not answer as asked, with all that it told.
 *
 * <p>{@link #getMessage} is for people; programs go by {@link #getCode} and {@link #getReason}.
 */
public final class FinesieveException extends RuntimeException {
  private static final long serialVersionUID = 1;

  private static final Metadata.Key<byte[]> DETAILS =
      Metadata.Key.of("grpc-status-details-bin", Metadata.BINARY_BYTE_MARSHALLER);
  private static final Metadata.Key<String> REQUEST_ID =
      Metadata.Key.of("x-request-id", Metadata.ASCII_STRING_MARSHALLER);

  private final Status.Code code;
  private final Details details;

  /** Null after serialization. */
  private final transient Status status;

  /** One field at fault: its path, such as "passages[3].id", and what is wrong with it. */
  public record Violation(String field, String description) implements Serializable {}

  /** {@code retryDelay} is null where there is none: an Optional does not serialize. */
  private record Details(
      String reason,
      Map<String, String> metadata,
      List<Violation> violations,
      Duration retryDelay,
      String requestId)
      implements Serializable {}

  private FinesieveException(Status status, Details details, Throwable cause) {
    super(message(status), cause);
    this.code = status.getCode();
    this.status = status;
    this.details = details;
  }

  /**
   * Translates what a generated stub throws, or hands to {@code onError}. Any other exception
   * becomes one of code UNKNOWN; one that is translated already stays.
   */
  public static FinesieveException of(Throwable error) {
    if (error instanceof FinesieveException translated) {
      return translated;
    }
    Metadata trailers = null;
    if (error instanceof StatusRuntimeException unchecked) {
      trailers = unchecked.getTrailers();
    } else if (error instanceof StatusException checked) {
      trailers = checked.getTrailers();
    }
    return of(
        Status.fromThrowable(error), Objects.requireNonNullElseGet(trailers, Metadata::new), error);
  }

  /** Translates the failure of one item of a call that itself went on. */
  public static FinesieveException of(Failure failure) {
    List<Violation> violations =
        failure.getField().isEmpty()
            ? List.of()
            : List.of(new Violation(failure.getField(), failure.getMessage()));
    Duration retryDelay = failure.hasRetryDelay() ? duration(failure.getRetryDelay()) : null;
    return new FinesieveException(
        Status.fromCodeValue(failure.getCode()).withDescription(failure.getMessage()),
        new Details(failure.getReason(), Map.of(), violations, retryDelay, ""),
        null);
  }

  /** Makes an error that this client found by itself. */
  static FinesieveException of(Status status) {
    return of(status, new Metadata(), status.getCause());
  }

  private static FinesieveException of(Status status, Metadata trailers, Throwable cause) {
    List<Any> told = details(trailers);
    ErrorInfo info = find(told, ErrorInfo.getDefaultInstance());
    RetryInfo retry = find(told, RetryInfo.getDefaultInstance());
    String requestId = find(told, RequestInfo.getDefaultInstance()).getRequestId();
    if (requestId.isEmpty()) {
      requestId = Objects.requireNonNullElse(trailers.get(REQUEST_ID), "");
    }
    return new FinesieveException(
        status,
        new Details(
            info.getReason(),
            Map.copyOf(info.getMetadataMap()),
            find(told, BadRequest.getDefaultInstance()).getFieldViolationsList().stream()
                .map(violation -> new Violation(violation.getField(), violation.getDescription()))
                .toList(),
            retry.hasRetryDelay() ? duration(retry.getRetryDelay()) : null,
            requestId),
        cause);
  }

  /** Returns the status' code. */
  public Status.Code getCode() {
    return code;
  }

  /** Returns the stable reason in UPPER_SNAKE, or "". */
  public String getReason() {
    return details.reason();
  }

  /** Returns the values that the message speaks of, by name. */
  public Map<String, String> getMetadata() {
    return details.metadata();
  }

  /** Returns the fields at fault. */
  public List<Violation> getViolations() {
    return details.violations();
  }

  /** Returns how long to wait before another try, where waiting helps. */
  public Optional<Duration> getRetryDelay() {
    return Optional.ofNullable(details.retryDelay());
  }

  /** Returns what to quote when you report an error, or "". */
  public String getRequestId() {
    return details.requestId();
  }

  /** Returns the call's own status; the exception that brought it is the cause. */
  public Status getStatus() {
    return status != null ? status : Status.fromCode(code).withDescription(getMessage());
  }

  /** Returns code, reason and message in one line. */
  @Override
  public String toString() {
    String reason = getReason().isEmpty() ? "" : " (" + getReason() + ")";
    return getClass().getName() + ": " + getCode() + reason + ": " + getMessage();
  }

  /** Serialized, it has no cause: gRPC's exceptions hold what cannot be. */
  private Object writeReplace() {
    FinesieveException copy = new FinesieveException(getStatus(), details, null);
    copy.setStackTrace(getStackTrace());
    return copy;
  }

  /** Returns the description; where no server was reached, gRPC's says little without its cause. */
  private static String message(Status status) {
    String description = Objects.requireNonNullElse(status.getDescription(), "");
    Throwable cause = status.getCode() == Status.Code.UNAVAILABLE ? status.getCause() : null;
    return cause == null || cause.getMessage() == null
        ? description
        : description + ": " + cause.getMessage();
  }

  private static List<Any> details(Metadata trailers) {
    byte[] encoded = trailers.get(DETAILS);
    if (encoded == null) {
      return List.of();
    }
    try {
      return com.google.rpc.Status.parseFrom(encoded).getDetailsList();
    } catch (InvalidProtocolBufferException garbage) {
      return List.of(); // a proxy's garbage must not hide the error itself
    }
  }

  /** Returns the first detail of this kind, or the empty one. */
  private static <T extends Message> T find(List<Any> details, T empty) {
    for (Any detail : details) {
      if (detail.isSameTypeAs(empty)) {
        try {
          return detail.unpackSameTypeAs(empty);
        } catch (InvalidProtocolBufferException garbage) {
          return empty;
        }
      }
    }
    return empty;
  }

  private static Duration duration(com.google.protobuf.Duration duration) {
    return Duration.ofSeconds(duration.getSeconds(), duration.getNanos());
  }
}
