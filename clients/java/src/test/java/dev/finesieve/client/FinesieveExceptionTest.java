package dev.finesieve.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;

import com.google.protobuf.Any;
import com.google.protobuf.Duration;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RequestInfo;
import com.google.rpc.RetryInfo;
import dev.finesieve.client.FinesieveException.Violation;
import dev.finesieve.v1.Failure;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.ObjectInputStream;
import java.io.ObjectOutputStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class FinesieveExceptionTest {
  private static final Metadata.Key<byte[]> DETAILS =
      Metadata.Key.of("grpc-status-details-bin", Metadata.BINARY_BYTE_MARSHALLER);
  private static final Metadata.Key<String> REQUEST_ID =
      Metadata.Key.of("x-request-id", Metadata.ASCII_STRING_MARSHALLER);

  @Test
  void allThatTheServerToldIsThere() {
    Metadata trailers = new Metadata();
    trailers.put(
        DETAILS,
        com.google.rpc.Status.newBuilder()
            .addDetails(
                Any.pack(
                    ErrorInfo.newBuilder()
                        .setReason("OVERLOADED")
                        .putMetadata("queue", "full")
                        .build()))
            .addDetails(Any.pack(RetryInfo.newBuilder().setRetryDelay(halfASecond()).build()))
            .addDetails(Any.pack(RequestInfo.newBuilder().setRequestId("r-1").build()))
            .addDetails(Any.pack(badRequest("top_k", "is 0")))
            .build()
            .toByteArray());
    StatusRuntimeException original =
        Status.RESOURCE_EXHAUSTED.withDescription("come back").asRuntimeException(trailers);

    FinesieveException error = FinesieveException.of(original);

    assertEquals(Status.Code.RESOURCE_EXHAUSTED, error.getCode());
    assertEquals("OVERLOADED", error.getReason());
    assertEquals("come back", error.getMessage());
    assertEquals(Map.of("queue", "full"), error.getMetadata());
    assertEquals(List.of(new Violation("top_k", "is 0")), error.getViolations());
    assertEquals(Optional.of(java.time.Duration.ofMillis(500)), error.getRetryDelay());
    assertEquals("r-1", error.getRequestId());
    assertSame(original, error.getCause());
    assertEquals(
        FinesieveException.class.getName() + ": RESOURCE_EXHAUSTED (OVERLOADED): come back",
        error.toString());
  }

  @Test
  void anErrorSurvivesSerialization() throws Exception {
    Metadata trailers = new Metadata();
    trailers.put(
        DETAILS,
        com.google.rpc.Status.newBuilder()
            .addDetails(Any.pack(ErrorInfo.newBuilder().setReason("OVERLOADED").build()))
            .addDetails(Any.pack(RetryInfo.newBuilder().setRetryDelay(halfASecond()).build()))
            .addDetails(Any.pack(badRequest("top_k", "is 0")))
            .build()
            .toByteArray());
    FinesieveException error =
        FinesieveException.of(
            Status.RESOURCE_EXHAUSTED.withDescription("come back").asRuntimeException(trailers));
    ByteArrayOutputStream written = new ByteArrayOutputStream();
    try (ObjectOutputStream out = new ObjectOutputStream(written)) {
      out.writeObject(error);
    }

    FinesieveException read;
    try (ObjectInputStream in =
        new ObjectInputStream(new ByteArrayInputStream(written.toByteArray()))) {
      read = (FinesieveException) in.readObject();
    }

    assertEquals(error.toString(), read.toString());
    assertEquals(error.getViolations(), read.getViolations());
    assertEquals(error.getMetadata(), read.getMetadata());
    assertEquals(error.getRetryDelay(), read.getRetryDelay());
    assertEquals(Status.Code.RESOURCE_EXHAUSTED, read.getStatus().getCode());
    assertEquals("come back", read.getStatus().getDescription());
  }

  @Test
  void detailsThatCannotBeReadDoNotHideTheError() {
    Metadata trailers = new Metadata();
    trailers.put(DETAILS, "a proxy's garbage".getBytes(StandardCharsets.UTF_8));
    trailers.put(REQUEST_ID, "r-2");

    FinesieveException error = FinesieveException.of(Status.INTERNAL.asRuntimeException(trailers));

    assertEquals(Status.Code.INTERNAL, error.getCode());
    assertEquals("", error.getMessage());
    assertEquals("r-2", error.getRequestId());
  }

  @Test
  void anyOtherExceptionIsUnknown() {
    Exception original = new IllegalStateException("broken");

    FinesieveException error = FinesieveException.of(original);

    assertEquals(Status.Code.UNKNOWN, error.getCode());
    assertSame(original, error.getCause());
    assertSame(error, FinesieveException.of((Throwable) error));
  }

  @Test
  void aFailureOfOneItemIsTranslated() {
    Failure failure =
        Failure.newBuilder()
            .setCode(Status.Code.INVALID_ARGUMENT.value())
            .setReason("EMPTY_FIELD")
            .setMessage("text is empty")
            .setField("documents[1].text")
            .setRetryDelay(halfASecond())
            .build();

    FinesieveException error = FinesieveException.of(failure);

    assertEquals(Status.Code.INVALID_ARGUMENT, error.getCode());
    assertEquals("EMPTY_FIELD", error.getReason());
    assertEquals(
        List.of(new Violation("documents[1].text", "text is empty")), error.getViolations());
    assertEquals(Optional.of(java.time.Duration.ofMillis(500)), error.getRetryDelay());
  }

  private static Duration halfASecond() {
    return Duration.newBuilder().setNanos(500_000_000).build();
  }

  private static BadRequest badRequest(String field, String description) {
    return BadRequest.newBuilder()
        .addFieldViolations(
            BadRequest.FieldViolation.newBuilder().setField(field).setDescription(description))
        .build();
  }
}
