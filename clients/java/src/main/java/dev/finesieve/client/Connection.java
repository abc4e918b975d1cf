package dev.finesieve.client;

import com.google.gson.Gson;
import com.google.gson.reflect.TypeToken;
import io.grpc.ChannelCredentials;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.ManagedChannelRegistry.ProviderNotFoundException;
import io.grpc.TlsChannelCredentials;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.Reader;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Decide how a server is reached: its address, TLS, retries and limits of the channel. */
final class Connection {
  private static final int MAX_ANSWER_BYTES = 64 * 1024 * 1024;

  /** What calls may hold to be tried again: one, more than the server takes; all together. */
  private static final long MAX_RETRY_BYTES = 64L * 1024 * 1024;

  private static final long MAX_RETRY_BYTES_OF_ALL = 256L * 1024 * 1024;
  private static final String OCTET = "(25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)";
  private static final Pattern IPV4_LOOPBACK = Pattern.compile("127(\\." + OCTET + "){3}");
  private static final Pattern HOST_AND_PORT =
      Pattern.compile("(?:dns:///)?(?:\\[(?<ipv6>[^\\]]+)]|(?<host>[^/:]+))(?::\\d+)?");

  private Connection() {}

  /**
   * Opens a channel; nothing is sent before the first call.
   *
   * @throws IllegalArgumentException where no transport takes the target or the certificates
   */
  static ManagedChannel open(String target, ChannelCredentials credentials, String serverName) {
    ManagedChannelBuilder<?> channel =
        builder(target, credentials)
            .userAgent("finesieve-java/" + version())
            .maxInboundMessageSize(MAX_ANSWER_BYTES)
            .perRpcBufferLimit(MAX_RETRY_BYTES)
            .retryBufferSize(MAX_RETRY_BYTES_OF_ALL)
            .keepAliveTime(60, TimeUnit.SECONDS)
            .keepAliveTimeout(20, TimeUnit.SECONDS)
            .defaultServiceConfig(serviceConfig());
    if (!serverName.isEmpty()) {
      channel.overrideAuthority(serverName);
    }
    return channel.build();
  }

  private static ManagedChannelBuilder<?> builder(String target, ChannelCredentials credentials) {
    try {
      return Grpc.newChannelBuilder(target, credentials);
    } catch (ProviderNotFoundException refusal) {
      throw new IllegalArgumentException(refusal.getMessage(), refusal);
    }
  }

  static ChannelCredentials plaintext() {
    return InsecureChannelCredentials.create();
  }

  /**
   * Reads the PEM files; null stands for one that is not given.
   *
   * @throws UncheckedIOException where one cannot be read
   */
  static ChannelCredentials tls(Path rootCertificates, Path clientCertificate, Path clientKey) {
    TlsChannelCredentials.Builder credentials = TlsChannelCredentials.newBuilder();
    try {
      if (rootCertificates != null) {
        credentials.trustManager(rootCertificates.toFile());
      }
      if (clientCertificate != null) {
        credentials.keyManager(clientCertificate.toFile(), clientKey.toFile());
      }
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
    return credentials.build();
  }

  /** Tells whether a target can only mean this same machine. */
  static boolean isLoopback(String target) {
    if (target.startsWith("unix:")) {
      return true;
    }
    Matcher address = HOST_AND_PORT.matcher(target);
    if (!address.matches()) {
      return false;
    }
    if (address.group("ipv6") == null) {
      String host = address.group("host");
      return host.equals("localhost") || IPV4_LOOPBACK.matcher(host).matches();
    }
    try {
      // Brackets make it an address or nothing: no name is looked up.
      return InetAddress.getByName("[" + address.group("ipv6") + "]").isLoopbackAddress();
    } catch (UnknownHostException error) {
      return false;
    }
  }

  /** gRPC obeys the server's grpc-retry-pushback-ms before any wait of this configuration. */
  private static Map<String, Object> serviceConfig() {
    try (InputStream file = resource("service_config.json");
        Reader reader = new InputStreamReader(file, StandardCharsets.UTF_8)) {
      return new Gson().fromJson(reader, new TypeToken<>() {});
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }

  private static String version() {
    Properties properties = new Properties();
    try (InputStream file = resource("version.properties")) {
      properties.load(file);
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
    return properties.getProperty("version");
  }

  private static InputStream resource(String name) {
    return Connection.class.getResourceAsStream(name);
  }
}
