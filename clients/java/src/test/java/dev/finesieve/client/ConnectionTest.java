package dev.finesieve.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class ConnectionTest {
  @ParameterizedTest
  @ValueSource(
      strings = {
        "localhost",
        "localhost:50051",
        "dns:///localhost:50051",
        "127.0.0.1:50051",
        "127.255.0.9",
        "[::1]:50051",
        "[0:0:0:0:0:0:0:1]",
        "unix:///run/finesieve.sock",
      })
  void aLoopbackTargetIsOne(String target) {
    assertTrue(Connection.isLoopback(target));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "search.example.com:443",
        "localhost.example.com:443",
        "127.0.0.1.example.com:443",
        "127.0.0.999:443",
        "128.0.0.1:443",
        "[::2]:443",
        "[localhost]:443",
        "dns:///example.com:443#/localhost:50051",
        "dns://localhost/example.com:443",
        "dns://example.com/localhost:443",
        "dns:///example.com:443?/localhost:1",
        "example.com:443/localhost",
        "127.0.0.1@example.com:443",
      })
  void anyOtherTargetIsNot(String target) {
    assertFalse(Connection.isLoopback(target));
  }

  @Test
  void aTokenIsRefusedInTheClear() {
    FinesieveClient.Builder client =
        FinesieveClient.builder().target("search.example.com:443").token("secret");

    Exception refusal = assertThrows(IllegalArgumentException.class, client::build);

    assertEquals(
        "a token would travel to search.example.com:443 in the clear; speak TLS",
        refusal.getMessage());
  }

  @Test
  void aTokenMayTravelOverTls() {
    FinesieveClient.builder()
        .target("search.example.com:443")
        .tls()
        .token("secret")
        .build()
        .close();
  }

  @Test
  void aFileThatCannotBeReadIsNamed(@TempDir Path folder) {
    FinesieveClient.Builder client =
        FinesieveClient.builder().rootCertificates(folder.resolve("none.pem"));

    Exception refusal = assertThrows(UncheckedIOException.class, client::build);

    assertTrue(refusal.getMessage().contains("none.pem"), refusal::getMessage);
  }

  @Test
  void aFileThatIsNoCertificateIsRefused(@TempDir Path folder) throws IOException {
    Path file = Files.writeString(folder.resolve("root.pem"), "no certificate");
    FinesieveClient.Builder client = FinesieveClient.builder().rootCertificates(file);

    assertThrows(IllegalArgumentException.class, client::build);
  }

  @Test
  void aClientKeyWithoutItsCertificateIsRefused() {
    FinesieveClient.Builder client = FinesieveClient.builder();

    assertThrows(
        IllegalArgumentException.class, () -> client.clientCertificate(null, Path.of("key.pem")));
  }
}
